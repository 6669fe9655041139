//! One entry of a service's `ports:`, as `config` prints it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::slot::free_ports::in_words;

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Port {
    Long(Long),
    /// `[[address:]published:]target[/protocol]`; v1 prints these.
    Short(String),
    Number(u32),
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(crate) struct Long {
    target: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_ip: Option<String>,
    /// What else there is stays as it is.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Which port of the engine's machine an entry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Whichever the engine chooses.
    Any,
    /// One of these.
    Within(RangeInclusive<u16>),
    /// This one.
    Fixed(u16),
}

impl Port {
    /// Whether it publishes this TCP port of the container.
    pub(crate) fn covers(&self, port: u16) -> bool {
        let port = u32::from(port);
        match self {
            Self::Number(target) => *target == port,
            Self::Long(Long { target, protocol, .. }) => {
                *target == port && protocol.as_deref().is_none_or(|name| name == "tcp")
            }
            Self::Short(text) => {
                let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
                let target = ports.rsplit(':').next().unwrap_or_default();
                let (first, last) = target.split_once('-').unwrap_or((target, target));
                let range = first.parse::<u32>().ok().zip(last.parse::<u32>().ok());
                protocol == "tcp" && range.is_some_and(|(first, last)| (first..=last).contains(&port))
            }
        }
    }

    /// What it asks for; `None` where that is not understood.
    pub(crate) fn wish(&self) -> Option<Wish> {
        let published = match self {
            Self::Number(_) => return Some(Wish::Any),
            Self::Short(text) => text.rsplit(':').nth(1).unwrap_or_default().to_owned(),
            Self::Long(Long { published: None, .. }) => return Some(Wish::Any),
            Self::Long(Long { published: Some(Value::String(text)), .. }) => text.clone(),
            Self::Long(Long { published: Some(other), .. }) => other.to_string(),
        };
        if matches!(published.as_str(), "" | "0") {
            return Some(Wish::Any);
        }
        let Some((first, last)) = published.split_once('-') else { return published.parse().ok().map(Wish::Fixed) };
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(if first == last { Wish::Fixed(first) } else { Wish::Within(first..=last) })
    }

    /// The port inside the container.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Number(target) => target.to_string(),
            Self::Long(long) => long.target.to_string(),
            Self::Short(text) => text.rsplit(':').next().unwrap_or_default().to_owned(),
        }
    }

    /// The same on the loopback, on a port that the engine chooses. `None` for what only v1 prints.
    pub(crate) fn open(&self) -> Option<Self> {
        match self {
            Self::Long(long) => Some(Self::Long(Long {
                published: None,
                host_ip: Some(Ipv4Addr::LOCALHOST.to_string()),
                ..long.clone()
            })),
            _ => None,
        }
    }

    /// The address that it is published at; all of them unless the file says one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Long(Long { host_ip: Some(text), .. }) => text.parse().ok(),
            _ => None,
        }
    }

    /// The same, on these ports at this address. `None` for what only v1 prints.
    pub(crate) fn pinned(&self, address: Option<IpAddr>, ports: &RangeInclusive<u16>) -> Option<Self> {
        match self {
            Self::Long(long) => Some(Self::Long(Long {
                published: Some(Value::String(in_words(ports))),
                host_ip: address.map(|address| address.to_string()),
                ..long.clone()
            })),
            _ => None,
        }
    }
}

/// As people write it: `127.0.0.1:80:3000/tcp`, without what goes without saying.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let long = match self {
            Self::Number(target) => return write!(f, "{target}"),
            Self::Short(text) => return f.write_str(text),
            Self::Long(long) => long,
        };
        match long.host_ip.as_deref() {
            Some(address) if address.contains(':') => write!(f, "[{address}]:")?,
            Some(address) => write!(f, "{address}:")?,
            None => {}
        }
        match &long.published {
            Some(Value::String(text)) => write!(f, "{text}:")?,
            Some(other) => write!(f, "{other}:")?,
            None if long.host_ip.is_some() => f.write_str(":")?,
            None => {}
        }
        write!(f, "{}", long.target)?;
        match long.protocol.as_deref() {
            None | Some("tcp") => Ok(()),
            Some(protocol) => write!(f, "/{protocol}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(entry: &str) -> Option<Wish> {
        serde_json::from_str::<Port>(entry).unwrap().wish()
    }

    #[test]
    fn what_an_entry_asks_for_is_understood_in_each_form() {
        for any in ["3000", r#""3000""#, r#""127.0.0.1::3000/tcp""#, r#"{"target": 3000}"#, r#""0:3000""#] {
            assert_eq!(wish(any), Some(Wish::Any), "{any}");
        }
        for fixed in [r#""80:3000""#, r#"{"target": 3000, "published": "80"}"#, r#"{"target": 3000, "published": 80}"#]
        {
            assert_eq!(wish(fixed), Some(Wish::Fixed(80)), "{fixed}");
        }
        for range in [r#""127.0.0.1:80-81:3000/tcp""#, r#"{"target": 3000, "published": "80-81"}"#] {
            assert_eq!(wish(range), Some(Wish::Within(80..=81)), "{range}");
        }
        assert_eq!(wish(r#"{"target": 3000, "published": "81-80"}"#), None);
    }

    #[test]
    fn a_pinned_entry_keeps_all_else_that_it_says() {
        let entry = r#"{"target":3000,"published":"80-81","protocol":"tcp","host_ip":"::1","mode":"ingress","x":1}"#;
        let pinned = serde_json::from_str::<Port>(entry).unwrap().pinned("::1".parse().ok(), &(81..=81)).unwrap();
        assert_eq!(serde_json::to_string(&pinned).unwrap(), entry.replace("80-81", "81"));
        assert_eq!(pinned.address(), Some("::1".parse().unwrap()));
    }
}
