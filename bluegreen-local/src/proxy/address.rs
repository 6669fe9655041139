use std::fmt;

use bluegreen_core::{Error, Result, host_port};
use serde::{Deserialize, Serialize};

/// Where a slot's instance listens: `host:port`, `[::1]:port` for IPv6.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Address(String);

impl Address {
    pub(crate) fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if host_port(&text).is_some() {
            return Ok(Self(text));
        }
        Err(Error::config(format!("{text:?} is not an address"))
            .with_hint("write host:port, and an IPv6 address in brackets: [::1]:4001"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_with_a_port_is_an_address() {
        for good in ["127.0.0.1:80", "localhost:4001", "[::1]:4001", "app_1.internal:65535"] {
            assert_eq!(Address::new(good).unwrap().as_str(), good);
        }
        for bad in
            ["", ":80", "host", "host:", "host:0", "host:65536", "::1:80", "[::1:80", "a b:80", "a/b:80", "a\n:80"]
        {
            assert!(Address::new(bad).is_err(), "{bad:?}");
        }
    }
}
