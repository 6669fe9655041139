//! How a [`Proxy`] is made.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Result, SLOT_HEADER, VERSION_HEADER};
use hyper::header::HeaderName;
use rustix::process::{Resource, getrlimit};

use super::Proxy;
use super::core::{Core, Limits, Settings};
use super::sticky::StickyCookie;
use super::trusted_peers::TrustedPeers;

/// Default for how long opening a connection to a slot may take: 5 s. The slot is on this machine or near it.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Default for how long a slot may take to begin its answer, counted from the last byte of the request that moved: 60 s, as
/// nginx allows (`proxy_read_timeout`).
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Default for how long a slot may pause in the middle of an answer: 60 s, as nginx allows (`proxy_read_timeout`). A program
/// that sends events says something in between, such as the comment that the HTML standard recommends every 15 seconds.
pub const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Default for how long a client may take to send the head of a request, and how long its connection may be idle: 75 s, as
/// nginx allows (`keepalive_timeout`).
pub const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(75);

/// Default for how long a client that sends the body of its request may pause: 60 s, as nginx allows
/// (`client_body_timeout`).
pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Default for how long a client may take nothing of its answer: 60 s, as nginx allows (`send_timeout`).
pub const DEFAULT_SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Default for how long a client that has ended its side of the connection is waited for: 10 s. It may still want its answer,
/// or be gone: the two cannot be told apart. HAProxy has no limit of its own for it unless `timeout client-fin` is set,
/// nginx takes it for gone at once.
pub const DEFAULT_HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Default for how many bytes the head of a request may have: 32 KiB, as nginx allows (`large_client_header_buffers`, four of
/// 8 KiB). HAProxy takes 16 KiB (`tune.bufsize`).
pub const DEFAULT_HEADER_LIMIT: usize = 32 << 10;

/// Default for how long requests in flight may take to end when the proxy is shut down: 30 s, the drain of a deploy.
pub const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(30);

/// How many clients may be connected unless set, however many descriptors there are.
const MOST_CONNECTIONS: usize = 10_000;

/// The descriptors that are left for everything else: the control socket, its peers, and files.
const SPARE_DESCRIPTORS: u64 = 64;

/// What a client can take: its own connection, one to a slot, and one more to a slot when it speaks HTTP/2.
const DESCRIPTORS_PER_CLIENT: u64 = 3;

/// No limit is longer than this, so that a time can always be told.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Configures a [`Proxy`]; see [`Proxy::builder`].
#[derive(Debug)]
#[must_use]
pub struct ProxyBuilder {
    listen: Option<SocketAddr>,
    control_socket: Option<PathBuf>,
    state_file: Option<PathBuf>,
    limits: Limits,
    answer_timeout: Duration,
    client_timeout: Duration,
    body_timeout: Duration,
    send_timeout: Duration,
    half_close_timeout: Duration,
    header_limit: usize,
    shutdown_grace: Duration,
    most_connections: Option<usize>,
    threads: Option<usize>,
    sticky_cookie: Option<String>,
    slot_header: Option<String>,
    release_headers: bool,
    trusted_peers: Vec<String>,
}

impl ProxyBuilder {
    pub(super) fn new() -> Self {
        Self {
            listen: None,
            control_socket: None,
            state_file: None,
            limits: Limits { connect: DEFAULT_CONNECT_TIMEOUT, response: DEFAULT_RESPONSE_TIMEOUT },
            answer_timeout: DEFAULT_ANSWER_TIMEOUT,
            client_timeout: DEFAULT_CLIENT_TIMEOUT,
            body_timeout: DEFAULT_BODY_TIMEOUT,
            send_timeout: DEFAULT_SEND_TIMEOUT,
            half_close_timeout: DEFAULT_HALF_CLOSE_TIMEOUT,
            header_limit: DEFAULT_HEADER_LIMIT,
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
            most_connections: None,
            threads: None,
            sticky_cookie: None,
            slot_header: None,
            release_headers: false,
            trusted_peers: Vec::new(),
        }
    }

    /// The address on which [`Proxy::run`] listens.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Lets other processes of this user steer the proxy through a Unix socket at this path; see
    /// [`ProxyRouter::new`](crate::ProxyRouter::new). Its directory must exist.
    ///
    /// The socket has mode 0600 from its first moment. A file left by a proxy that died is replaced; while a proxy
    /// lives that has the socket, [`Proxy::serve`] fails.
    pub fn control_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.control_socket = Some(path.into());
        self
    }

    /// Keeps split and addresses in this file, so that they survive a restart of the proxy. Its directory must exist.
    ///
    /// Default: no file; a proxy begins with nothing routed, and answers 503 until traffic is shifted.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// How long opening a connection to a slot may take. Default: 5 s ([`DEFAULT_CONNECT_TIMEOUT`]).
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How long a slot may take to begin its answer, counted from the last byte of the request that moved.
    /// Default: 60 s ([`DEFAULT_RESPONSE_TIMEOUT`]). How long the whole answer takes is not limited.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.limits.response = limit;
        self
    }

    /// How long a slot that has all of a request may pause in the middle of its answer. Default: 60 s
    /// ([`DEFAULT_ANSWER_TIMEOUT`]). The client's connection is closed then, so that it sees that the answer is not complete, and that counts as a
    /// failure of the slot. WebSockets may pause for as long as they like.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.answer_timeout = limit;
        self
    }

    /// How long a client may take to send the head of a request, and how long its connection may be idle.
    /// Default: 75 s ([`DEFAULT_CLIENT_TIMEOUT`]).
    pub fn client_timeout(mut self, limit: Duration) -> Self {
        self.client_timeout = limit;
        self
    }

    /// How long a client that sends the body of its request may pause. Default: 60 s ([`DEFAULT_BODY_TIMEOUT`]). It
    /// is answered with 408 then, which does not count as a failure of the slot. Where the answer comes while the request is
    /// being sent, it is how long both may pause.
    pub fn body_timeout(mut self, limit: Duration) -> Self {
        self.body_timeout = limit;
        self
    }

    /// How long a client may take nothing of its answer before its connection is closed. Default: 60 s
    /// ([`DEFAULT_SEND_TIMEOUT`]).
    pub fn send_timeout(mut self, limit: Duration) -> Self {
        self.send_timeout = limit;
        self
    }

    /// How long a client that has ended its side of the connection gets its answer: counted from that end, or from the
    /// last of the answer that it took. Default: 10 s ([`DEFAULT_HALF_CLOSE_TIMEOUT`]). Zero takes it for gone at once.
    pub fn half_close_timeout(mut self, limit: Duration) -> Self {
        self.half_close_timeout = limit;
        self
    }

    /// How many bytes the head of a request may have. Default: 32 KiB ([`DEFAULT_HEADER_LIMIT`]). It may have 1,000 lines, as
    /// with nginx (`max_headers`). What has more is answered with 431.
    pub fn header_limit(mut self, bytes: usize) -> Self {
        self.header_limit = bytes;
        self
    }

    /// How long requests in flight may take to end when the proxy is shut down. Default: 30 s
    /// ([`DEFAULT_SHUTDOWN_GRACE`]).
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// How many clients may be connected at a time; those beyond wait in the listener's queue. Default: as many as
    /// the process has file descriptors for, at most 10,000. Each can take two, and as many requests again may be open
    /// on HTTP/2 connections beyond the first of each; what finds no place there within the
    /// [connect timeout](Self::connect_timeout) is answered with 503. The control socket has descriptors of its own,
    /// which neither clients nor slots can take, whatever is set here.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.most_connections = Some(count);
        self
    }

    /// How many threads of its own the proxy serves on, each with a runtime of its own; with 0 it serves on the runtime
    /// that it is called from. Default: [`Proxy::run`] takes one for each processor, as nginx and HAProxy do, and
    /// [`Proxy::serve`] takes 0: within another program, the proxy is a guest.
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = Some(count);
        self
    }

    /// Keeps a client on its slot while traffic is divided, by a cookie of this name. Default: no.
    ///
    /// A client stays where it is as long as that slot has a share, also when the canary grows; it moves when the share
    /// of its slot goes to 0. Clients without the cookie are given out so that the split over all requests comes out
    /// right, as far as there are enough of them. The cookie is set only while traffic is divided, and forgotten when
    /// it is whole again.
    pub fn sticky_cookie(mut self, name: impl Into<String>) -> Self {
        self.sticky_cookie = Some(name.into());
        self
    }

    /// Names the slot that answered in a response header of this name, and drops what the slot says under that name. Default:
    /// no, since clients need not know it.
    pub fn slot_header(mut self, name: impl Into<String>) -> Self {
        self.slot_header = Some(name.into());
        self
    }

    /// Names the slot and its version on each answer, as [`SLOT_HEADER`] and [`VERSION_HEADER`]. Default: no.
    /// What the slot itself says under these names is dropped. A check of the public address can confirm a deploy by them where the
    /// program cannot tell its version: `HttpCheck::builder(url).version_from_router()`. Whoever can reach the proxy can read
    /// them.
    ///
    /// An answer of the proxy itself, such as 502, names the slot alone.
    pub fn release_headers(mut self, yes: bool) -> Self {
        self.release_headers = yes;
        self
    }

    /// Believes what these peers say about whom they speak for, and adds to it: another proxy of yours, by its address
    /// (`10.0.0.7`, `fd00::7`) or its network (`10.0.0.0/8`). Default: nobody, because any client could pass for
    /// another.
    ///
    /// What others say is dropped: all of `X-Forwarded-*` and `X-Original-*`, `Forwarded`, `X-Real-IP`, and the other
    /// names under which services expect the address, the protocol, the host or the path that a client asked for, such as
    /// `Client-IP`, `True-Client-IP`, `CF-Connecting-IP`, `Front-End-HTTPS`, `X-Host` and `X-Rewrite-URL`.
    pub fn trust_forwarded_headers_of<P: Into<String>>(mut self, peers: impl IntoIterator<Item = P>) -> Self {
        self.trusted_peers.extend(peers.into_iter().map(Into::into));
        self
    }

    /// Makes the proxy, with the routes from its state file.
    ///
    /// # Errors
    /// `Config` when a name or a limit is not valid; `Corrupt` when the state file cannot be trusted.
    pub fn build(self) -> Result<Proxy> {
        let affordable = connections_for_descriptors();
        let most_connections = self.most_connections.unwrap_or(MOST_CONNECTIONS).min(affordable);
        if self.most_connections.is_some_and(|wanted| wanted > affordable) {
            tracing::warn!(most_connections, "there are descriptors for fewer connections than the limit allows");
        }
        let limits = [
            self.limits.connect,
            self.limits.response,
            self.answer_timeout,
            self.client_timeout,
            self.body_timeout,
            self.send_timeout,
        ];
        if limits.iter().any(Duration::is_zero) || most_connections == 0 || self.header_limit == 0 {
            return Err(Error::config("a proxy with a time limit or a connection limit of zero would serve nobody"));
        }
        let slot_header =
            match &self.slot_header {
                None if self.release_headers => Some(HeaderName::from_static(SLOT_HEADER)),
                None => None,
                Some(name) => Some(HeaderName::try_from(name).map_err(|error| {
                    Error::config(format!("{name:?} is not the name of a header")).with_source(error)
                })?),
            };
        let version_header = self.release_headers.then(|| HeaderName::from_static(VERSION_HEADER));
        let settings = Settings {
            limits: Limits { connect: self.limits.connect.min(LONGEST), response: self.limits.response.min(LONGEST) },
            answer_timeout: self.answer_timeout.min(LONGEST),
            client_timeout: self.client_timeout.min(LONGEST),
            body_timeout: self.body_timeout.min(LONGEST),
            send_timeout: self.send_timeout.min(LONGEST),
            half_close_timeout: self.half_close_timeout.min(LONGEST),
            header_limit: self.header_limit,
            most_connections,
            shutdown_grace: self.shutdown_grace.min(LONGEST),
            sticky: self.sticky_cookie.map(StickyCookie::new).transpose()?,
            own_headers: slot_header.clone().into_iter().chain(version_header).collect(),
            slot_header,
            release_headers: self.release_headers,
            trusted_peers: TrustedPeers::new(&self.trusted_peers)?,
        };
        let core = Core::new(settings, self.state_file)?;
        Ok(Proxy {
            core: Arc::new(core),
            listen: self.listen,
            control_socket: self.control_socket,
            threads: self.threads,
        })
    }
}

/// How many clients the descriptors that are left suffice for.
fn connections_for_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
    let left = limit.saturating_sub(SPARE_DESCRIPTORS).saturating_sub(open);
    let most = u64::try_from(tokio::sync::Semaphore::MAX_PERMITS).unwrap_or(u64::MAX) / 2;
    usize::try_from((left / DESCRIPTORS_PER_CLIENT).clamp(1, most)).unwrap_or(1)
}
