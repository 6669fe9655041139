use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::Version;

/// What a runtime sees in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Instance {
    /// Nothing was ever started there, or all of it is removed.
    Absent,
    /// Something is there and does not run.
    Stopped {
        /// The version that was started there, where the runtime knows it.
        version: Option<Version>,
        /// Why it does not run, where the runtime knows it: "exit status 1", "killed by signal 9".
        reason: Option<String>,
    },
    /// It runs. Whether it is healthy is the health check's business.
    Running {
        /// The version that was started there, where the runtime knows it.
        version: Option<Version>,
        /// Where it can be reached; several when a slot spans processes or hosts.
        endpoints: Vec<Endpoint>,
    },
    /// It runs in part: something that was started there has ended, or ends again and again. It counts as running, so it
    /// is not overwritten, and traffic may be on it; a new release that comes to this under traffic has failed.
    Degraded {
        /// The version that was started there, where the runtime knows it.
        version: Option<Version>,
        /// Where what is left of it can be reached.
        endpoints: Vec<Endpoint>,
        /// What does not run, and why: "api: exit status 1".
        reason: String,
    },
}

impl Instance {
    /// Whether it runs, be it in part.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Degraded { .. })
    }

    /// Whether it runs in part only.
    pub fn is_degraded(&self) -> bool {
        matches!(self, Self::Degraded { .. })
    }

    /// The version, where it is known.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Self::Absent => None,
            Self::Stopped { version, .. } | Self::Running { version, .. } | Self::Degraded { version, .. } => {
                version.as_ref()
            }
        }
    }

    /// The endpoints of an instance that runs; empty otherwise.
    pub fn endpoints(&self) -> &[Endpoint] {
        match self {
            Self::Running { endpoints, .. } | Self::Degraded { endpoints, .. } => endpoints,
            _ => &[],
        }
    }

    /// The endpoint of this name, or the first one when no name is asked for.
    pub fn endpoint(&self, name: Option<&str>) -> Option<&Endpoint> {
        let mut endpoints = self.endpoints().iter();
        match name {
            None => endpoints.next(),
            Some(name) => endpoints.find(|endpoint| endpoint.name == name),
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, version) = match self {
            Self::Absent => return f.write_str("absent"),
            Self::Stopped { version, .. } => ("stopped", version),
            Self::Running { version, .. } => ("running", version),
            Self::Degraded { version, .. } => ("degraded", version),
        };
        match version {
            Some(version) => write!(f, "{word} {version}")?,
            None => write!(f, "{word} (version unknown)")?,
        }
        if let Self::Stopped { reason: Some(reason), .. } | Self::Degraded { reason, .. } = self {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

/// One address at which an instance can be reached, as seen from the host it runs on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// What it is for: `"http"`, `"api"`, `"web"`.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// The host it runs on, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

impl Endpoint {
    /// An endpoint named `"http"` at `host:port`.
    pub fn http(address: impl Into<String>) -> Self {
        Self::named("http", address)
    }

    /// An endpoint with a name of its own.
    pub fn named(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { name: name.into(), address: address.into(), host: None }
    }

    /// Says which host it runs on.
    #[must_use]
    pub fn on(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)?;
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        Ok(())
    }
}
