//! What a runtime and its migrators share.

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{Secret, Slot};

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) app: String,
    pub(super) directory: String,
    pub(super) ports: [u16; 2],
    pub(super) names: [String; 2],
    pub(super) node_host: String,
    pub(super) epmd_port: u16,
    pub(super) environment: BTreeMap<String, Secret>,
    pub(super) cookie: Option<Secret>,
    pub(super) keep_releases: usize,
    pub(super) logs: [Option<String>; 2],
    pub(super) boot_deadline: Duration,
}

impl Settings {
    pub(super) fn port(&self, slot: Slot) -> u16 {
        self.ports[slot as usize]
    }

    /// The full name of the slot's node.
    pub(super) fn node(&self, slot: Slot) -> String {
        format!("{}@{}", self.names[slot as usize], self.node_host)
    }

    pub(super) fn log(&self, slot: Slot) -> &str {
        self.logs[slot as usize].as_deref().unwrap_or_default()
    }

    /// Erlang calls a host name without a dot short, and nodes of one kind do not talk to those of the other.
    pub(super) fn distribution(&self) -> &'static str {
        if self.node_host.contains('.') { "name" } else { "sname" }
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.node_host == "localhost" || self.node_host.starts_with("127.")
    }
}
