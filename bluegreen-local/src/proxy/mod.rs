//! [`Proxy`]: the reverse proxy that divides traffic between the slots.

mod address;
mod backend;
mod body;
mod builder;
mod control_client;
mod control_socket;
mod core;
mod exchange;
mod failure;
mod forward;
mod headers;
mod router;
mod routes;
mod routing;
mod server;
mod state_file;
mod sticky;
mod tunnel;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bluegreen_core::{Error, Result};
use tokio::net::TcpListener;

use self::core::Core;
pub use builder::{
    DEFAULT_CLIENT_TIMEOUT, DEFAULT_CONNECT_TIMEOUT, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_SHUTDOWN_GRACE, ProxyBuilder,
};
use control_socket::ControlSocket;
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
///   one, when nothing of it was sent yet or it may be repeated; others are not risked on a connection that was idle
///   for a second.
/// - Split and addresses survive a restart, when there is a [state file](ProxyBuilder::state_file).
///
/// # What it answers itself
///
/// With a [`Proxy-Status`](https://www.rfc-editor.org/rfc/rfc9209) header that names `bluegreen-proxy`: 503 when nothing is
/// routed, 502 when the slot cannot be reached or breaks off, 504 when it takes too long, 400 and 501 for requests that
/// cannot be passed on.
///
/// # What it adds and removes
///
/// `Host` is passed through. `X-Forwarded-For`, `-Proto` and `-Host` are set; what clients say in them, in `Forwarded`
/// and in `X-Real-IP` is dropped, unless [trusted](ProxyBuilder::trust_forwarded_headers). Headers that mean one
/// connection only are removed.
///
/// It does not do TLS; put it behind something that does, or use it where none is needed.
#[derive(Debug, Clone)]
pub struct Proxy {
    core: Arc<Core>,
    listen: Option<SocketAddr>,
    control_socket: Option<PathBuf>,
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
        let address = self
            .listen
            .ok_or_else(|| Error::config("no address to listen on").advice("give one: Proxy::builder().listen(..)"))?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| Error::from(error).not_applied().trying("listen for clients").with("address", address))?;
        self.serve(listener, shutdown).await
    }

    /// Serves clients on this listener, and the control socket if one was configured, until `shutdown`.
    ///
    /// Then it accepts nobody any more, lets the requests in flight end (WebSockets too) for at most the
    /// [shutdown grace](ProxyBuilder::shutdown_grace), and returns. Dropping the future ends it at once.
    ///
    /// # Errors
    /// `Conflict` when another proxy is steered through the control socket; those of the file system.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let serving = server::serve(self.core.clone(), listener, shutdown);
        let Some(path) = &self.control_socket else {
            serving.await;
            return Ok(());
        };
        let control = ControlSocket::bind(path)?;
        tokio::select! {
            () = serving => Ok(()),
            never = control.serve(self.core.clone()) => match never {},
        }
    }
}
