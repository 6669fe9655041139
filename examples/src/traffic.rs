//! Clients that send traffic and count every answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the clients have seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests sent.
    pub sent: u64,
    /// Answers by version, errors of the release's own included.
    pub answered: BTreeMap<String, u64>,
    /// Of those, the ones that the release itself answered with a server error.
    pub own_errors: BTreeMap<String, u64>,
    /// Requests without an answer of any release: refused, cut off, or answered by the proxy in its own name.
    pub failed: u64,
    /// What went wrong first, if something did.
    pub first_failure: Option<String>,
}

impl Counts {
    /// Reads what [`run`] has written.
    ///
    /// # Errors
    /// When there is no such file, or it is not what was written.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(temporary, path)
    }
}

/// Clients that send requests to one address.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Where to.
    pub address: SocketAddr,
    /// How many keep their connection.
    pub keeping: u32,
    /// How many open a connection for each request.
    pub fresh: u32,
    /// Requests per second, all clients together; as many as get answered unless set.
    pub per_second: Option<u32>,
}

/// Clients that are sending.
#[derive(Debug)]
pub struct Running {
    counts: Arc<Mutex<Counts>>,
    stop: CancellationToken,
    clients: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Begins to send.
    pub fn start(&self) -> Running {
        let (counts, stop) = (Arc::new(Mutex::new(Counts::default())), CancellationToken::new());
        let all = self.keeping + self.fresh;
        let pace = self.per_second.map(|rate| Duration::from_secs(1) * all / rate.max(1));
        let clients = (0..all).map(|number| {
            let client = Client { address: self.address, keeps: number < self.keeping, kept: None };
            tokio::spawn(send(client, pace, counts.clone(), stop.clone()))
        });
        Running { clients: clients.collect(), counts, stop }
    }
}

impl Running {
    /// What was seen so far.
    pub fn seen(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets each client end its request, and returns what was seen.
    pub async fn stop(self) -> Counts {
        self.stop.cancel();
        for client in self.clients {
            // A client that panicked has counted nothing more; the others still count.
            let _ = client.await;
        }
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends until `stop` is cancelled or `at_most` has passed, and writes the counts to a file ten times a second.
///
/// # Errors
/// When the counts cannot be written.
pub async fn run(clients: &Clients, at_most: Duration, file: &Path, stop: CancellationToken) -> std::io::Result<()> {
    let running = clients.start();
    let end = Instant::now() + at_most;
    while !stop.is_cancelled() && Instant::now() < end {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = stop.cancelled() => {}
        }
        running.seen().write(file)?;
    }
    running.stop().await.write(file)
}

async fn send(mut client: Client, pace: Option<Duration>, counts: Arc<Mutex<Counts>>, stop: CancellationToken) {
    let mut ticks = pace.map(tokio::time::interval);
    if let Some(ticks) = &mut ticks {
        // A burst after a slow answer would be load that no user makes.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    while !stop.is_cancelled() {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let answer = tokio::time::timeout(PATIENCE, client.get()).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.sent += 1;
        match answer {
            Ok((version, status)) => {
                if status.is_server_error() {
                    *counts.own_errors.entry(version.clone()).or_default() += 1;
                }
                *counts.answered.entry(version).or_default() += 1;
            }
            Err(error) => {
                counts.failed += 1;
                counts.first_failure.get_or_insert(error);
            }
        }
    }
}

struct Client {
    address: SocketAddr,
    keeps: bool,
    kept: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// One request. No retries: what fails once has failed.
    async fn get(&mut self) -> Result<(String, StatusCode), String> {
        let kept = match self.kept.take().filter(|kept| self.keeps && !kept.is_closed()) {
            Some(mut kept) => kept.ready().await.is_ok().then_some(kept),
            None => None,
        };
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let close = if self.keeps { "keep-alive" } else { "close" };
        let request = Request::get("/")
            .header("host", self.address.to_string())
            .header("connection", close)
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let response = connection.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
        let status = response.status();
        let version = response.headers().get("x-version").and_then(|version| version.to_str().ok()).map(str::to_owned);
        response.into_body().collect().await.map_err(|error| format!("cut off: {error}"))?;
        self.kept = self.keeps.then_some(connection);
        version.map(|version| (version, status)).ok_or_else(|| format!("{status} from the proxy, not from a release"))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| format!("no connection: {error}"))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| format!("no connection: {error}"))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
