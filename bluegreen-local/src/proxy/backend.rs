//! Connections to one slot's instance: opening them, keeping them, giving them out again.

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use bluegreen_core::Version;

use super::address::Address;
use super::failure::Failure;
use super::keepalive::keep_alive;

/// How long a connection may be idle before it is closed: less than the keep-alive of most servers that have a long
/// one (nginx 75 s).
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How long a connection may have been idle to carry a request that cannot be repeated. A server that closes idle
/// connections may do so at the very moment we send, and then only a repetition helps. The shortest keep-alive among
/// common servers is gunicorn's 2 s (Node, uvicorn, Apache: 5 s), so below 1 s this does not happen.
const IDLE_LIMIT_UNREPEATABLE: Duration = Duration::from_secs(1);

/// How many idle connections are kept in each pool.
const MOST_IDLE: usize = 256;

/// How many pools there are. Each thread has one, so that a connection is used by the thread that opened it.
const POOLS: usize = 16;

thread_local! {
    static POOL: Cell<usize> = const { Cell::new(0) };
}

/// Gives this thread the pool of this number.
pub(super) fn use_pool_of_thread(number: usize) {
    POOL.set(number % POOLS);
}

/// One connection to a slot.
#[derive(Debug)]
pub(super) struct SlotConnection {
    pub(super) stream: TcpStream,
    /// Held as long as the socket is open.
    _permit: OwnedSemaphorePermit,
}

/// One slot's instance. Its idle connections close when the last holder lets go of it.
#[derive(Debug)]
pub(super) struct Backend {
    address: Address,
    version: Option<Version>,
    /// The one used last is at the end, and is given out first: so those not needed under the present load expire.
    idle: [Mutex<Vec<Idle>>; POOLS],
}

#[derive(Debug)]
struct Idle {
    connection: SlotConnection,
    since: Instant,
}

impl Backend {
    pub(super) fn new(address: Address, version: Option<Version>) -> Self {
        Self { address, version, idle: Default::default() }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The version that was attached.
    pub(super) fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// An idle connection, if there is one on which the request can be risked.
    pub(super) fn take_idle(&self, repeatable: bool) -> Option<SlotConnection> {
        let limit = if repeatable { IDLE_LIMIT } else { IDLE_LIMIT_UNREPEATABLE };
        loop {
            let newest = {
                let mut idle = self.pool();
                // All others have been idle for longer.
                idle.pop_if(|newest| newest.since.elapsed() < limit)?
            };
            if newest.connection.is_quiet() {
                return Some(newest.connection);
            }
        }
    }

    /// Opens a connection.
    pub(super) async fn connect(
        &self,
        permit: OwnedSemaphorePermit,
        limit: Duration,
    ) -> Result<SlotConnection, Failure> {
        let connecting = TcpStream::connect(self.address.as_str());
        let stream = match tokio::time::timeout(limit, connecting).await {
            Err(_) => return Err(Failure::ConnectTimeout),
            Ok(stream) => stream.map_err(Failure::Connect)?,
        };
        // Without it small writes wait for acknowledgements; a stream that is dead already shows itself soon enough.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        Ok(SlotConnection { stream, _permit: permit })
    }

    /// Keeps a connection whose response has ended.
    pub(super) fn give_back(&self, connection: SlotConnection) {
        let mut idle = self.pool();
        if idle.len() < MOST_IDLE {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    pub(super) fn close_expired(&self) {
        for pool in &self.idle {
            lock(pool).retain(|idle| idle.since.elapsed() < IDLE_LIMIT && idle.connection.is_quiet());
        }
    }

    pub(super) fn close_all(&self) {
        self.idle.iter().for_each(|pool| lock(pool).clear());
    }

    /// Closes a connection that was idle for long, to make room for one that is needed.
    pub(super) fn close_one(&self) -> bool {
        self.idle.iter().any(|pool| {
            let mut idle = lock(pool);
            let some = !idle.is_empty();
            if some {
                idle.remove(0);
            }
            some
        })
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Idle>> {
        lock(&self.idle[POOL.get()])
    }
}

fn lock(pool: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SlotConnection {
    /// Whether it is open, and the slot has said nothing without being asked.
    fn is_quiet(&self) -> bool {
        self.stream.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
