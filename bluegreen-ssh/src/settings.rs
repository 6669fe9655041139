//! All that a connection needs to know, put together by the builder.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::destination::Address;
use crate::host_key::HostKeyCheck;
use crate::identity::Identity;

/// One server, and how to get to it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) user: String,
    /// The name or address to connect to.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) host_key: HostKeyCheck,
    pub(crate) identities: Vec<Identity>,
    pub(crate) certificates: Vec<PathBuf>,
    /// The server to connect through.
    pub(crate) jump: Option<Box<Settings>>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Keepalive,
    pub(crate) max_sessions: usize,
}

/// How a peer that does not answer any more is noticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keepalive {
    pub(crate) interval: Duration,
    pub(crate) max: usize,
}

impl Keepalive {
    /// After how long a silent peer counts as gone, at most.
    pub(crate) fn patience(self) -> Duration {
        self.interval.saturating_mul(u32::try_from(self.max).unwrap_or(u32::MAX).saturating_add(1))
    }
}

/// `user@host`, with the port where it is not 22.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, Address(&self.host, self.port))
    }
}

/// The user who runs this, as the environment says.
pub(crate) fn local_user() -> Option<String> {
    ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
}
