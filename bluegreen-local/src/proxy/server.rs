//! Accepting connections, and ending in good order.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core::Core;
use super::forward::{Connection, forward};

/// What a client that speaks HTTP/2 without being asked begins with: RFC 9113, section 3.4. No HTTP/1.1 method has
/// this name, so the first bytes are enough.
const HTTP_2_PREFACE: &[u8] = b"PRI ";

/// How often idle connections to the slots are looked through.
const SWEEP: Duration = Duration::from_secs(15);

/// How long to wait when the system has no descriptor left for a new connection.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(50);

/// How long a client that has just connected gets to send its request when the proxy is about to end.
const LAST_REQUEST_PATIENCE: Duration = Duration::from_millis(500);

/// How often a silent HTTP/2 client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Serves connections until `shutdown`, then lets those requests end that are in flight, for as long as the settings
/// allow.
pub(super) async fn serve(core: Arc<Core>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let server = Server::new(core);
    // Connections do not outlive this call, also when it is cut off.
    let _cut = server.cut.clone().drop_guard();
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let accept = async {
            // Whoever is over the limit waits in the listener's queue.
            let permit = server.slots.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            _ = sweep.tick() => server.core.routing.close_expired_connections(),
            (permit, accepted) = accept => server.take(permit, accepted).await,
        }
    }
    server.drain.cancel();
    // Those that have connected already, and were not accepted yet, count as in flight too.
    while let Ok(accepted) = timeout(Duration::ZERO, listener.accept()).await {
        let Ok(permit) = server.slots.clone().try_acquire_owned() else { break };
        server.take(Some(permit), accepted).await;
    }
    drop(listener);
    server.tasks.close();
    if timeout(server.core.settings.shutdown_grace, server.tasks.wait()).await.is_err() {
        let in_flight: u64 = bluegreen_core::Slot::BOTH.into_iter().map(|slot| server.core.in_flight(slot)).sum();
        tracing::warn!(in_flight, "requests were cut off at the end of the shutdown grace");
        server.cut.cancel();
        server.tasks.wait().await;
    }
}

struct Server {
    core: Arc<Core>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    /// No new requests on connections that are open.
    drain: CancellationToken,
    /// No connections at all.
    cut: CancellationToken,
}

impl Server {
    fn new(core: Arc<Core>) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(core.settings.most_connections)),
            core,
            tasks: TaskTracker::new(),
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    async fn take(&self, permit: Option<OwnedSemaphorePermit>, accepted: std::io::Result<(TcpStream, SocketAddr)>) {
        match (permit, accepted) {
            (Some(permit), Ok((stream, peer))) => {
                let connection = Arc::new(Connection {
                    core: self.core.clone(),
                    client: peer.ip(),
                    tasks: self.tasks.clone(),
                    cut: self.cut.clone(),
                    _permit: permit,
                });
                let serving = serve_connection(connection, stream, self.drain.clone());
                let cut = self.cut.clone();
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = serving => {}
                        () = cut.cancelled() => {}
                    }
                });
            }
            (_, Err(error)) => {
                // A client that has gone again is its own affair; a lack of descriptors passes. Neither ends the proxy.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
            }
            (None, Ok(_)) => {}
        }
    }
}

async fn serve_connection(connection: Arc<Connection>, stream: TcpStream, drain: CancellationToken) {
    let header_limit = connection.core.settings.client_header_limit;
    let version = tokio::select! {
        biased;
        version = timeout(header_limit, detect(&stream)) => version.ok().flatten(),
        () = async { drain.cancelled().await; sleep(LAST_REQUEST_PATIENCE).await } => None,
    };
    let Some(version) = version else { return };
    // A stream that is dead already shows itself soon enough.
    let _ = stream.set_nodelay(true);
    // Below, what has arrived is read before the connection is told to end: a request that is there is answered.
    let io = TokioIo::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let connection = connection.clone();
        async move { Ok::<_, Infallible>(forward(connection, request).await) }
    });
    let ended = match version {
        Version::Http1 => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(header_limit);
            let mut serving = pin!(builder.serve_connection(io, service).with_upgrades());
            tokio::select! {
                biased;
                ended = serving.as_mut() => ended,
                () = drain.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            }
        }
        Version::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
            let mut serving = pin!(builder.serve_connection(io, service));
            tokio::select! {
                biased;
                ended = serving.as_mut() => ended,
                () = drain.cancelled() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended");
    }
}

enum Version {
    Http1,
    Http2,
}

/// Looks at the first bytes without taking them. `None`: the client has gone.
async fn detect(stream: &TcpStream) -> Option<Version> {
    let mut first = [0; HTTP_2_PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await.ok()?;
        if count == 0 {
            return None;
        }
        if first[..count] != HTTP_2_PREFACE[..count] {
            return Some(Version::Http1);
        }
        if count == first.len() {
            return Some(Version::Http2);
        }
        // Fewer bytes than tell: rare enough that looking again is good enough.
        sleep(Duration::from_millis(5)).await;
    }
}
