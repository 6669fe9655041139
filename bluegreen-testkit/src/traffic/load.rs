//! Clients that ask without a pause until they are told to stop, and count.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;
use tokio::task::JoinSet;

use super::client::{Client, Response, UNSENT};

/// What clients got.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub answers: BTreeMap<String, u64>,
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    pub fn requests(&self) -> u64 {
        self.answers.values().chain(self.failures.values()).sum()
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub fn of(&self, slot: &str) -> u64 {
        self.answers.get(slot).copied().unwrap_or(0)
    }

    fn count(&mut self, answer: Result<Response, String>) {
        let counter = match answer {
            Ok(answer) if answer.status == StatusCode::OK => self.answers.entry(answer.body),
            Ok(answer) => self.failures.entry(format!("status {}", answer.status)),
            Err(error) => self.failures.entry(error),
        };
        *counter.or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
    }
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

impl Load {
    /// So many clients that keep their connection, and so many that open one for each request.
    pub fn start(address: &str, host: &str, keeping: usize, opening: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..keeping + opening {
            let (stop, address, host) = (stop.clone(), address.to_owned(), host.to_owned());
            clients.spawn(async move {
                let stopped = || stop.load(Ordering::Relaxed);
                ask(&address, &host, "/", number < keeping, u64::MAX, stopped).await
            });
        }
        Self { stop, clients }
    }

    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            all.add(tally.unwrap());
        }
        all
    }

    /// A fixed number of requests for a path over this many connections.
    pub async fn fixed(address: &str, host: &str, path: &'static str, connections: u64, requests: u64) -> Tally {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let (address, host) = (address.to_owned(), host.to_owned());
            clients.spawn(async move { ask(&address, &host, path, true, requests / connections, || false).await });
        }
        let mut all = Tally::default();
        while let Some(tally) = clients.join_next().await {
            all.add(tally.unwrap());
        }
        all
    }
}

async fn ask(address: &str, host: &str, path: &str, keep: bool, requests: u64, stopped: impl Fn() -> bool) -> Tally {
    let mut tally = Tally::default();
    let mut connection: Option<Client> = None;
    while tally.requests() < requests && !stopped() {
        let kept = connection.is_some();
        let mut client = match connection.take() {
            Some(client) => client,
            None => match Client::connect(address, host).await {
                Ok(client) => client,
                Err(error) => {
                    tally.count(Err(error));
                    continue;
                }
            },
        };
        let answer = client.get(path).await;
        // A client that sees its connection closed before it writes takes another one, and has lost nothing.
        if kept && answer.as_ref().is_err_and(|error| error.starts_with(UNSENT)) {
            continue;
        }
        if keep && answer.as_ref().is_ok_and(|answer| !answer.closes()) {
            connection = Some(client);
        }
        tally.count(answer);
    }
    tally
}
