//! Connections to one slot's instance: opening them, keeping them, giving them out again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::address::Address;
use super::body::RequestBody;
use super::failure::Failure;

/// How long a connection may be idle before it is closed: less than the keep-alive of most servers that have a long
/// one (nginx 75 s).
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How long a connection may have been idle to carry a request that cannot be repeated. A server that closes idle
/// connections may do so at the very moment we send, and then only a repetition helps. The shortest keep-alive among
/// common servers is gunicorn's 2 s (Node, uvicorn, Apache: 5 s), so below 1 s this does not happen.
const IDLE_LIMIT_UNREPEATABLE: Duration = Duration::from_secs(1);

/// How many idle connections are kept.
const MOST_IDLE: usize = 256;

/// How long a connection may take to become free after its response has ended. One whose request is still being sent
/// when the response has come is not worth waiting for.
const FREE_LIMIT: Duration = Duration::from_secs(1);

/// The sending side of one connection.
pub(super) type Sender = http1::SendRequest<RequestBody>;

/// One slot's instance. Its idle connections close when the last holder lets go of it.
#[derive(Debug)]
pub(super) struct Backend {
    address: Address,
    /// The one used last is at the end, and is given out first: so those not needed under the present load expire.
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

impl Backend {
    pub(super) fn new(address: Address) -> Self {
        Self { address, idle: Mutex::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// An idle connection, if there is one on which the request can be risked.
    pub(super) fn take_idle(&self, repeatable: bool) -> Option<Sender> {
        let limit = if repeatable { IDLE_LIMIT } else { IDLE_LIMIT_UNREPEATABLE };
        let mut idle = self.lock();
        while let Some(newest) = idle.last() {
            if newest.sender.is_ready() && newest.since.elapsed() >= limit {
                // All others have been idle for longer.
                return None;
            }
            let Idle { sender, .. } = idle.pop()?;
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Opens a connection.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Sender, Failure> {
        let connecting = TcpStream::connect(self.address.as_str());
        let stream = match tokio::time::timeout(limit, connecting).await {
            Err(_) => return Err(Failure::ConnectTimeout),
            Ok(stream) => stream.map_err(Failure::Connect)?,
        };
        // Without it small writes wait for acknowledgements; a stream that is dead already shows itself soon enough.
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(Failure::Broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to a slot ended");
            }
        });
        Ok(sender)
    }

    /// Keeps a connection whose response has ended.
    pub(super) fn give_back(self: &Arc<Self>, mut sender: Sender) {
        if sender.is_closed() {
            return;
        }
        if sender.is_ready() {
            return self.keep(sender);
        }
        let backend = Arc::downgrade(self);
        tokio::spawn(async move {
            let free = tokio::time::timeout(FREE_LIMIT, sender.ready()).await;
            if let (Ok(Ok(())), Some(backend)) = (free, backend.upgrade()) {
                backend.keep(sender);
            }
        });
    }

    pub(super) fn close_expired(&self) {
        self.lock().retain(|idle| idle.since.elapsed() < IDLE_LIMIT && !idle.sender.is_closed());
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.lock();
        if idle.len() < MOST_IDLE {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
