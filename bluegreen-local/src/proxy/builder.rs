//! How a [`Proxy`] is made.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Result};
use hyper::header::HeaderName;
use rustix::process::{Resource, getrlimit};

use super::Proxy;
use super::core::{Core, Settings};
use super::exchange::Limits;
use super::sticky::StickyCookie;

/// How long opening a connection to a slot may take unless set: the slot is on this machine or near it.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a slot may take to begin its answer unless set, counted from the last byte of the request that moved: what
/// nginx allows (`proxy_read_timeout`).
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take to send the head of a request, and how long its connection may be idle, unless set: what
/// nginx allows (`keepalive_timeout`).
pub const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(75);

/// How long requests in flight may take to end when the proxy is shut down, unless set: the drain of a deploy.
pub const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// How many clients may be connected unless set, however many descriptors there are.
const MOST_CONNECTIONS: u64 = 10_000;

/// The descriptors that are left for everything else.
const SPARE_DESCRIPTORS: u64 = 64;

/// Configures a [`Proxy`]; see [`Proxy::builder`].
#[derive(Debug)]
#[must_use]
pub struct ProxyBuilder {
    listen: Option<SocketAddr>,
    control_socket: Option<PathBuf>,
    state_file: Option<PathBuf>,
    limits: Limits,
    client_timeout: Duration,
    shutdown_grace: Duration,
    most_connections: Option<usize>,
    sticky_cookie: Option<String>,
    slot_header: Option<String>,
    trust_forwarded: bool,
}

impl ProxyBuilder {
    pub(super) fn new() -> Self {
        Self {
            listen: None,
            control_socket: None,
            state_file: None,
            limits: Limits { connect: DEFAULT_CONNECT_TIMEOUT, response: DEFAULT_RESPONSE_TIMEOUT },
            client_timeout: DEFAULT_CLIENT_TIMEOUT,
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
            most_connections: None,
            sticky_cookie: None,
            slot_header: None,
            trust_forwarded: false,
        }
    }

    /// The address on which [`Proxy::run`] listens.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Lets other processes of this user steer the proxy through a Unix socket at this path; see
    /// [`ProxyRouter::at`](crate::ProxyRouter::at). Its directory must exist.
    ///
    /// The socket has mode 0600 from its first moment. A file left by a proxy that died is replaced; while a proxy
    /// lives that has the socket, [`Proxy::serve`] fails.
    pub fn control_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.control_socket = Some(path.into());
        self
    }

    /// Keeps split and addresses in this file, so that they survive a restart of the proxy. Its directory must exist.
    ///
    /// Without it, a proxy begins with nothing routed, and answers 503 until traffic is shifted.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// How long opening a connection to a slot may take; [`DEFAULT_CONNECT_TIMEOUT`] unless set.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How long a slot may take to begin its answer, counted from the last byte of the request that moved;
    /// [`DEFAULT_RESPONSE_TIMEOUT`] unless set. How long the answer itself takes is not limited.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.limits.response = limit;
        self
    }

    /// How long a client may take to send the head of a request, and how long its connection may be idle;
    /// [`DEFAULT_CLIENT_TIMEOUT`] unless set.
    pub fn client_timeout(mut self, limit: Duration) -> Self {
        self.client_timeout = limit;
        self
    }

    /// How long requests in flight may take to end when the proxy is shut down; [`DEFAULT_SHUTDOWN_GRACE`] unless set.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// How many clients may be connected at a time; those beyond wait in the listener's queue. Unless set: as many as
    /// the process has file descriptors for, at most 10,000. Each can take two.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.most_connections = Some(count);
        self
    }

    /// Keeps a client on its slot while traffic is divided, by a cookie of this name.
    ///
    /// A client stays where it is as long as that slot has a share, also when the canary grows; it moves when the share
    /// of its slot goes to 0. Clients without the cookie are given out so that the split over all requests comes out
    /// right, as far as there are enough of them. The cookie is set only while traffic is divided, and forgotten when
    /// it is whole again.
    pub fn sticky_cookie(mut self, name: impl Into<String>) -> Self {
        self.sticky_cookie = Some(name.into());
        self
    }

    /// Names the slot that answered in a response header of this name. Not done unless set: it is nobody's business.
    pub fn slot_header(mut self, name: impl Into<String>) -> Self {
        self.slot_header = Some(name.into());
        self
    }

    /// Believes the `X-Forwarded-*` headers of clients, and adds to them. Only for a proxy behind another one of yours:
    /// otherwise any client could pass for another. Unless set, what clients say is dropped.
    pub fn trust_forwarded_headers(mut self, trust: bool) -> Self {
        self.trust_forwarded = trust;
        self
    }

    /// Makes the proxy, with the routes from its state file.
    ///
    /// # Errors
    /// `Config` when a name or a limit is not valid; `Corrupt` when the state file cannot be trusted.
    pub fn build(self) -> Result<Proxy> {
        let most_connections = self.most_connections.unwrap_or_else(connections_for_descriptors);
        let zero = self.limits.connect.is_zero() || self.limits.response.is_zero() || self.client_timeout.is_zero();
        if zero || most_connections == 0 {
            return Err(Error::config("a proxy with a time limit or a connection limit of zero would serve nobody"));
        }
        let slot_header = match &self.slot_header {
            None => None,
            Some(name) => Some(
                HeaderName::try_from(name)
                    .map_err(|error| Error::config(format!("{name:?} is not the name of a header")).because(error))?,
            ),
        };
        let settings = Settings {
            limits: self.limits,
            client_header_limit: self.client_timeout,
            most_connections: most_connections.min(tokio::sync::Semaphore::MAX_PERMITS),
            shutdown_grace: self.shutdown_grace,
            sticky: self.sticky_cookie.map(StickyCookie::new).transpose()?,
            slot_header,
            trust_forwarded: self.trust_forwarded,
        };
        let core = Core::new(settings, self.state_file)?;
        Ok(Proxy { core: Arc::new(core), listen: self.listen, control_socket: self.control_socket })
    }
}

fn connections_for_descriptors() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = (descriptors.saturating_sub(SPARE_DESCRIPTORS) / 2).clamp(16, MOST_CONNECTIONS);
    usize::try_from(connections).unwrap_or(16)
}
