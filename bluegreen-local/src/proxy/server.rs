//! Accepting connections, and ending in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrival::Arrival;
use super::core::Core;
use super::workers::Workers;

/// How often idle connections to the slots are looked through.
const SWEEP: Duration = Duration::from_secs(15);

/// How long to wait when the system has no descriptor left for a new connection.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(50);

/// Serves connections until `shutdown`, then lets those requests end that are in flight, for as long as the settings
/// allow. With no `threads` of its own it serves on those of the runtime.
///
/// # Errors
/// The threads could not be started.
pub(super) async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    threads: usize,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    // Those that an earlier call left may belong to a runtime that has ended.
    core.routing.close_idle_connections();
    let _idle = Idle(core.clone());
    let mut server = Server::new(core, threads)?;
    // Connections do not outlive this call, also when it is cut off.
    let _cut = server.cut.clone().drop_guard();
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let accept = async {
            // Whoever is over the limit waits in the listener's queue.
            let permit = server.places.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            _ = sweep.tick() => server.core.routing.close_expired_connections(),
            Some(_) = server.connections.join_next() => {}
            (permit, accepted) = accept => server.take(permit, accepted).await,
        }
    }
    server.drain.cancel();
    // Those that have connected already, and were not accepted yet, count as in flight too.
    while let Ok(accepted) = timeout(Duration::ZERO, listener.accept()).await {
        let Ok(permit) = server.places.clone().try_acquire_owned() else { break };
        server.take(Some(permit), accepted).await;
    }
    drop(listener);
    if timeout(server.core.settings.shutdown_grace, server.end()).await.is_err() {
        let in_flight: u64 = bluegreen_core::Slot::BOTH.into_iter().map(|slot| server.core.in_flight(slot)).sum();
        tracing::warn!(in_flight, "requests were cut off at the end of the shutdown grace");
        server.cut.cancel();
        server.connections.shutdown().await;
        server.end().await;
    }
    Ok(())
}

/// The idle connections to the slots: they are closed when serving ends, however it does.
struct Idle(Arc<Core>);

impl Drop for Idle {
    fn drop(&mut self) {
        self.0.routing.close_idle_connections();
    }
}

struct Server {
    core: Arc<Core>,
    places: Arc<Semaphore>,
    workers: Workers,
    /// The connections that no worker has.
    connections: JoinSet<()>,
    /// The workers, and the requests of clients that speak HTTP/2.
    tasks: TaskTracker,
    /// No new requests on connections that are open.
    drain: CancellationToken,
    /// No connections at all.
    cut: CancellationToken,
}

impl Server {
    fn new(core: Arc<Core>, threads: usize) -> Result<Self> {
        let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
        Ok(Self {
            places: Arc::new(Semaphore::new(core.settings.most_connections)),
            core,
            workers: Workers::start(threads, &tasks, &cut)?,
            connections: JoinSet::new(),
            tasks,
            drain: CancellationToken::new(),
            cut,
        })
    }

    async fn take(&mut self, permit: Option<OwnedSemaphorePermit>, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match (permit, accepted) {
            (Some(place), Ok((stream, peer))) => {
                let arrival = Arrival {
                    core: self.core.clone(),
                    place,
                    tasks: self.tasks.clone(),
                    // One of its own, so that connections do not wait for each other's locks.
                    drain: self.drain.child_token(),
                    cut: self.cut.clone(),
                };
                if self.workers.is_empty() {
                    self.connections.spawn(arrival.serve(stream, peer));
                } else {
                    self.workers.hand(stream, peer, arrival);
                }
            }
            (_, Err(error)) => {
                // A client that has gone again is its own affair; a lack of descriptors passes. Neither ends the proxy.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
            }
            (None, Ok(_)) => {}
        }
    }

    /// Waits until all connections have ended.
    async fn end(&mut self) {
        self.workers = Workers::default();
        while self.connections.join_next().await.is_some() {}
        self.tasks.close();
        self.tasks.wait().await;
    }
}
