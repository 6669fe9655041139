//! Clients that write and read customers all the while, and compare each answer with what they wrote.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Clients at work.
const CLIENTS: i64 = 4;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(8);

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every so many customers belong to one client: nobody else writes them, so that it knows what to read.
const OWN: i64 = 1_000_000;

/// What the clients have seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Names that were written.
    pub written: u64,
    /// Names that were read.
    pub read: u64,
    /// Answers by version.
    pub answered: BTreeMap<String, u64>,
    /// Requests without a good answer, and reads that told another name than the last one written.
    pub trouble: Vec<String>,
    /// The names that are to be found.
    pub names: BTreeMap<i64, String>,
}

/// Clients that are writing and reading.
#[derive(Debug)]
pub struct Clients {
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    clients: Vec<JoinHandle<()>>,
}

/// The customers that are there before the first client comes: number and name.
pub fn first_customers(count: i64) -> impl Iterator<Item = (i64, String)> {
    (1..=count).map(|id| (id, format!("Customer of-old-{id}")))
}

impl Clients {
    /// Begins; the first customers are read and changed too.
    pub fn start(public: SocketAddr, first_customers: impl Iterator<Item = (i64, String)>) -> Self {
        let seen = Arc::new(Mutex::new(Seen { names: first_customers.collect(), ..Seen::default() }));
        let stop = CancellationToken::new();
        let clients = (0..CLIENTS).map(|number| tokio::spawn(work(public, number, seen.clone(), stop.clone())));
        Self { clients: clients.collect(), seen, stop }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Lets each client end its request, then reads every name once more.
    pub async fn stop(self, public: SocketAddr) -> Seen {
        self.stop.cancel();
        for client in self.clients {
            // A client that panicked has counted nothing more; the others still count.
            let _ = client.await;
        }
        let mut client = Client { public, kept: None, seen: self.seen.clone() };
        let ids: Vec<i64> = lock(&self.seen).names.keys().copied().collect();
        for id in ids {
            client.read(id).await;
        }
        lock(&self.seen).clone()
    }
}

/// Whose client a customer is: every customer belongs to one.
fn owner(id: i64) -> i64 {
    if id < OWN { id % CLIENTS } else { id / OWN - 1 }
}

async fn work(public: SocketAddr, number: i64, seen: Arc<Mutex<Seen>>, stop: CancellationToken) {
    let own: Vec<i64> = lock(&seen).names.keys().copied().filter(|id| owner(*id) == number).collect();
    let mut client = Client { public, kept: None, seen };
    let mut created = 0;
    for round in 0.. {
        if stop.is_cancelled() {
            return;
        }
        let old = own.get((round * 7) % own.len().max(1)).copied();
        let id = match (round % 4, old) {
            // One that was there before, a new one, and the same once more.
            (0 | 1, Some(old)) => old,
            (2, _) => {
                created += 1;
                (number + 1) * OWN + created
            }
            _ => (number + 1) * OWN + 1 + (round as i64 * 5) % i64::max(created, 1),
        };
        if round % 4 != 0 {
            client.write(id, &format!("Round-{round} Of-client-{number}")).await;
        }
        client.read(id).await;
        tokio::time::sleep(PAUSE).await;
    }
}

struct Client {
    public: SocketAddr,
    kept: Option<SendRequest<Full<Bytes>>>,
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    async fn write(&mut self, id: i64, name: &str) {
        let answer = self.ask(Method::PUT, id, name).await;
        let mut seen = lock(&self.seen);
        match answer {
            Ok((StatusCode::OK, _)) => {
                seen.written += 1;
                seen.names.insert(id, name.to_owned());
            }
            Ok((status, text)) => seen.trouble.push(format!("{name:?} for {id} was not kept: {status} {text}")),
            Err(error) => seen.trouble.push(format!("{name:?} for {id} was not kept: {error}")),
        }
    }

    async fn read(&mut self, id: i64) {
        let answer = self.ask(Method::GET, id, "").await;
        let mut seen = lock(&self.seen);
        let expected = seen.names.get(&id).cloned();
        match answer {
            Ok((StatusCode::OK, name)) if Some(&name) == expected.as_ref() => seen.read += 1,
            Ok((status, text)) => seen.trouble.push(format!("{id} is {expected:?}, and was read as {status} {text}")),
            Err(error) => seen.trouble.push(format!("{id} was not read: {error}")),
        }
    }

    /// One request. No retries: what fails once has failed.
    async fn ask(&mut self, method: Method, id: i64, body: &str) -> Result<(StatusCode, String), String> {
        let asked = tokio::time::timeout(PATIENCE, self.exchange(method, id, body)).await;
        asked.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn exchange(&mut self, method: Method, id: i64, body: &str) -> Result<(StatusCode, String), String> {
        let failed = |error: hyper::Error| error.to_string();
        let kept = match self.kept.take() {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut connection = match kept {
            Some(kept) => kept,
            None => {
                let stream = TcpStream::connect(self.public).await.map_err(|error| error.to_string())?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
                tokio::spawn(connection);
                sender
            }
        };
        let request = Request::builder().method(method).uri(format!("/customers/{id}"));
        let request = request.header("host", self.public.to_string()).body(Full::from(body.to_owned()));
        let response = connection.send_request(request.map_err(|error| error.to_string())?).await.map_err(failed)?;
        let status = response.status();
        if let Some(version) = response.headers().get("x-version").and_then(|version| version.to_str().ok()) {
            *lock(&self.seen).answered.entry(version.to_owned()).or_default() += 1;
        }
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
        self.kept = Some(connection);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
