//! Where to connect to, as people write it.

use std::fmt;
use std::str::FromStr;

use bluegreen_core::{Error, Result};

/// The port of SSH (RFC 4253, section 4.2).
pub(crate) const DEFAULT_PORT: u16 = 22;

/// `[user@]host[:port]`, also as `ssh://[user@]host[:port]` and with an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| Err(Error::config(format!("{text:?} is not an SSH destination: {why}")));
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        // The last @ counts, as in OpenSSH: a user name may hold one.
        let (user, address) = match rest.rsplit_once('@') {
            Some(("", _)) => return refuse("the user is empty"),
            Some((user, address)) => (Some(user.to_owned()), address),
            None => (None, rest),
        };
        let (host, port) = match address.strip_prefix('[') {
            Some(bracketed) => match bracketed.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) => match port.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None => return refuse("after the bracket comes :port or nothing"),
                },
                None => return refuse("the bracket is not closed"),
            },
            None if address.matches(':').count() > 1 => (address, None),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return refuse("the port is a number from 1 to 65535"),
        };
        let harmless = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
        if host.is_empty() || host.starts_with('-') || !host.chars().all(harmless) {
            return refuse("a host is a name or an address");
        }
        if user.as_ref().is_some_and(|user| user.chars().any(|c| c.is_control() || c.is_whitespace())) {
            return refuse("a user has no white space");
        }
        Ok(Self { user, host: host.to_owned(), port })
    }
}

/// `host`, or `host:port` where the port is not 22.
pub(crate) struct Address<'a>(pub(crate) &'a str, pub(crate) u16);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        match (*port, host.contains(':')) {
            (DEFAULT_PORT, _) => f.write_str(host),
            (port, false) => write!(f, "{host}:{port}"),
            (port, true) => write!(f, "[{host}]:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_understood_and_printed_back() {
        let cases = [
            ("web1", (None, "web1", None)),
            ("deploy@web1", (Some("deploy"), "web1", None)),
            ("deploy@web1:2222", (Some("deploy"), "web1", Some(2222))),
            ("a@b@web1", (Some("a@b"), "web1", None)),
            ("ssh://deploy@web1:2222", (Some("deploy"), "web1", Some(2222))),
            ("::1", (None, "::1", None)),
            ("[::1]:2222", (None, "::1", Some(2222))),
            ("root@[fe80::1%eth0]", (Some("root"), "fe80::1%eth0", None)),
        ];
        for (text, (user, host, port)) in cases {
            let parsed: Destination = text.parse().unwrap();
            assert_eq!((parsed.user.as_deref(), parsed.host.as_str(), parsed.port), (user, host, port), "{text}");
        }
        assert_eq!(Address("::1", 2222).to_string(), "[::1]:2222");
        assert_eq!(Address("web1", 22).to_string(), "web1");
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in
            ["", "@web1", "web1:", "web1:0", "web1:70000", "web1:x", "-oProxyCommand=x", "we b1", "[::1", "a b@web1"]
        {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }
}
