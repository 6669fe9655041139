//! [`Proxy`]: the reverse proxy that divides traffic between the slots.

mod address;
mod alarm;
mod arrival;
mod backend;
mod builder;
mod client;
mod control_client;
mod control_socket;
mod conversation;
mod core;
mod exchange;
mod failure;
mod http1;
mod http2;
mod keepalive;
mod pace;
mod relay;
mod replay;
mod router;
mod routes;
mod routing;
mod server;
mod state_file;
mod sticky;
mod trusted_peers;
mod tunnel;
mod upload;
mod wire;
mod workers;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bluegreen_core::{Error, Result};
use tokio::net::TcpListener;

use self::core::Core;
pub use builder::{
    DEFAULT_ANSWER_TIMEOUT, DEFAULT_BODY_TIMEOUT, DEFAULT_CLIENT_TIMEOUT, DEFAULT_CONNECT_TIMEOUT,
    DEFAULT_HALF_CLOSE_TIMEOUT, DEFAULT_HEADER_LIMIT, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_SEND_TIMEOUT,
    DEFAULT_SHUTDOWN_GRACE, ProxyBuilder,
};
use control_socket::ControlSocket;
pub use keepalive::TCP_KEEPALIVE;
pub use router::ProxyRouter;

/// A reverse proxy in front of the two slots of one service: HTTP/1.1 and cleartext HTTP/2 (by prior knowledge) in
/// front, HTTP/1.1 behind.
///
/// # Guarantees
///
/// - A shift neither fails nor cuts a request. Each request claims its slot, and counts as in flight there, in one
///   step; it counts until its response has ended, a WebSocket until it is closed.
/// - Of any 100 requests in a row, a slot with a share of n gets exactly n, evenly spread. (With a
///   [sticky cookie](ProxyBuilder::sticky_cookie) this holds for the clients that are not bound yet.)
/// - Bodies are passed on piece by piece in both directions, as fast as the slower side takes them. A slow client holds
///   up nobody but itself.
/// - A connection that the slot closed while it was idle does not fail a request: the request is sent again on a new
///   one, when nothing of it was sent yet, or when it may be repeated and nothing came back; others are not risked on a
///   connection that was idle for a second.
/// - An answer that the slot gives early, before it has taken all of a request, is delivered, also when the slot closes
///   its connection then. The slot gets the rest for as long as it takes it; up to 256 KiB that it does not take are thrown
///   away, so that the client's connection is kept, and beyond that it is closed after the answer, and not reset. An answer
///   is delivered to a client that has ended its side of the connection, too.
/// - What a client can take is limited: its place among the [connections](ProxyBuilder::max_connections), the
///   [head](ProxyBuilder::header_limit) of its requests, some 50 KiB of memory for a request, and the time for which
///   it may be [silent](ProxyBuilder::client_timeout), [pause](ProxyBuilder::body_timeout) in a request, or
///   [take nothing](ProxyBuilder::send_timeout) of an answer. The system asks clients that are silent whether they are still
///   there ([`TCP_KEEPALIVE`]), so that one that has vanished does not hold a WebSocket for ever. The control socket
///   answers whatever clients do.
/// - What a client causes never counts as a failure of the slot; see [`ProxyRouter`].
/// - Split and addresses survive a restart, when there is a [state file](ProxyBuilder::state_file).
///
/// # What it answers itself
///
/// With a [`Proxy-Status`](https://www.rfc-editor.org/rfc/rfc9209) header that names `bluegreen-proxy`: 503 when nothing is
/// routed, or when all connections to the slots are in use; 502 when the slot cannot be reached or breaks off; 504 when
/// it takes too long; 400, 408, 431 and 501 for requests that cannot be passed on.
///
/// # What it adds and removes
///
/// `Host` is passed through. `X-Forwarded-For`, `-Proto` and `-Host` are set; what clients say in them, and in all other
/// headers in which proxies say for whom they speak, is dropped, unless they are
/// [trusted](ProxyBuilder::trust_forwarded_headers_of). Headers that mean one connection only are removed.
///
/// It does not do TLS; put it behind something that does, or use it where none is needed.
#[derive(Debug, Clone)]
pub struct Proxy {
    core: Arc<Core>,
    listen: Option<SocketAddr>,
    control_socket: Option<PathBuf>,
    threads: Option<usize>,
}

impl Proxy {
    /// Begins the configuration of a proxy.
    pub fn builder() -> ProxyBuilder {
        ProxyBuilder::new()
    }

    /// A router that steers this proxy from within its process.
    pub fn router(&self) -> ProxyRouter {
        ProxyRouter::embedded(self.core.clone())
    }

    /// Listens on the configured [address](ProxyBuilder::listen), and serves until `shutdown`; see
    /// [`serve`](Self::serve).
    ///
    /// This is all that a process needs which is nothing but the proxy:
    ///
    /// ```no_run
    /// # async fn example() -> bluegreen_core::Result<()> {
    /// use bluegreen_local::Proxy;
    ///
    /// Proxy::builder()
    ///     .listen(([0, 0, 0, 0], 8080).into())
    ///     .control_socket("/run/shop/proxy.sock")
    ///     .state_file("/var/lib/shop/proxy.json")
    ///     .build()?
    ///     .run(async { drop(tokio::signal::ctrl_c().await) })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Config` when no address was configured; `Conflict` when the address or the control socket is taken.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let address = self.listen.ok_or_else(|| {
            Error::config("no address to listen on").with_hint("give one: Proxy::builder().listen(..)")
        })?;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Error::from(error).not_applied().with_operation("listen for clients").with("address", address)
        })?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        self.serve_on(listener, self.threads.unwrap_or(threads), shutdown).await
    }

    /// Serves clients on this listener, and the control socket if one was configured, until `shutdown`.
    ///
    /// Then it accepts nobody any more, lets the requests in flight end (WebSockets too) for at most the
    /// [shutdown grace](ProxyBuilder::shutdown_grace), and returns. Dropping the future ends it at once.
    ///
    /// # Errors
    /// `Conflict` when another proxy is steered through the control socket; those of the file system.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        self.serve_on(listener, self.threads.unwrap_or(0), shutdown).await
    }

    async fn serve_on(
        &self,
        listener: TcpListener,
        threads: usize,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let serving = server::serve(self.core.clone(), listener, threads, shutdown);
        let Some(path) = &self.control_socket else {
            return serving.await;
        };
        let control = ControlSocket::bind(path)?;
        tokio::select! {
            served = serving => served,
            never = control.serve(self.core.clone()) => match never {},
        }
    }
}
