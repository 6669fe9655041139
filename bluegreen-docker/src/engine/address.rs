//! Where an engine listens, as `DOCKER_HOST` says it.

use std::fmt;
use std::str::FromStr;

use bluegreen_core::{Error, Result, host_port};

/// Where an engine listens, as seen from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// The path of a socket.
    Unix(String),
    /// `host:port`.
    Tcp(String),
    /// The engine of a server.
    Ssh {
        /// `[user@]host[:port]`
        server: String,
        /// The path of the engine's socket there, where it is given.
        socket: Option<String>,
    },
}

impl Address {
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// As `Host::tunnel` takes it; `None` for what is not on the host itself.
    pub(crate) fn for_tunnel(&self) -> Option<String> {
        match self {
            Self::Unix(path) => Some(format!("unix:{path}")),
            Self::Tcp(address) => Some(address.clone()),
            Self::Ssh { .. } => None,
        }
    }

    /// What a tunnel is reached at from here.
    pub(crate) fn of_tunnel(address: &str) -> Self {
        match address.strip_prefix("unix:") {
            Some(path) => Self::Unix(path.to_owned()),
            None => Self::Tcp(address.to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Ssh { server, socket } => write!(f, "ssh://{server}{}", socket.as_deref().unwrap_or_default()),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |why: &str| Error::config(format!("{text:?} is not an engine's address: {why}"));
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.to_owned())),
            Some(("unix", _)) => Err(refused("the path of a socket is absolute")),
            Some(("tcp" | "http", address)) => {
                let address = address.trim_end_matches('/');
                match host_port(address) {
                    Some(_) => Ok(Self::Tcp(address.to_owned())),
                    None => Err(refused("a TCP address is host:port")),
                }
            }
            Some(("ssh", there)) => {
                let (server, socket) = there.split_once('/').unwrap_or((there, ""));
                let (user, host) = server.rsplit_once('@').unwrap_or(("", server));
                if host.is_empty() || host.starts_with([':', '-']) {
                    return Err(refused("ssh:// is followed by [user@]host[:port]"));
                }
                if user.contains(':') {
                    // It is not repeated: what follows the colon is a secret.
                    return Err(Error::config("an engine's address must not hold a password"));
                }
                let socket = (!socket.is_empty()).then(|| format!("/{socket}"));
                Ok(Self::Ssh { server: server.to_owned(), socket })
            }
            _ => Err(refused("it begins with unix://, tcp:// or ssh://")),
        }
    }
}

#[cfg(test)]
mod tests {
    use bluegreen_core::ErrorKind;

    use super::*;

    #[test]
    fn what_docker_host_may_say_is_understood_or_refused_with_a_reason() {
        for good in [
            "unix:///var/run/docker.sock",
            "tcp://127.0.0.1:2375",
            "tcp://[::1]:2376",
            "ssh://me@far",
            "ssh://far:2222",
            "ssh://me@[::1]:2222/run/docker.sock",
        ] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", "unix://relative", "tcp://host", "tcp://host:port", "/var/run/docker.sock", "npipe:////./x"] {
            assert_eq!(bad.parse::<Address>().unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
        for bad in ["ssh://", "ssh:///run/docker.sock", "ssh://me@", "ssh://:22", "ssh://me@-oProxyCommand=x"] {
            assert_eq!(bad.parse::<Address>().unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
        let told = "ssh://me:hunter2@far".parse::<Address>().unwrap_err().chain();
        assert!(told.contains("password") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn an_address_survives_its_way_through_a_tunnel() {
        for text in ["unix:///x/docker.sock", "tcp://127.0.0.1:2375"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(Address::of_tunnel(&address.for_tunnel().unwrap()), address);
        }
    }
}
