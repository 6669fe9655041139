//! What a runtime and its migrators share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::{Error, PerSlot, Result, Secret, Slot};

use super::environment;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) app: String,
    pub(super) directory: String,
    pub(super) ports: PerSlot<u16>,
    pub(super) names: PerSlot<String>,
    pub(super) node_host: String,
    pub(super) epmd_port: u16,
    /// What is set one by one.
    pub(super) variables: BTreeMap<String, Secret>,
    pub(super) env_files: Vec<PathBuf>,
    pub(super) cookie: Option<Secret>,
    pub(super) keep_releases: usize,
    pub(super) logs: PerSlot<Option<String>>,
    pub(super) boot_deadline: Duration,
    pub(super) overwrite_changes: bool,
}

impl Settings {
    /// The service's environment, with what its files say now.
    ///
    /// # Errors
    /// Those of reading a file, which never show what is in it.
    pub(super) async fn environment(&self) -> Result<BTreeMap<String, Secret>> {
        let mut environment = self.variables.clone();
        for file in &self.env_files {
            let variables = bluegreen_release::read_env_file(file).await?;
            environment::check(&variables).map_err(|error: Error| error.not_applied().with("file", file.display()))?;
            for (name, value) in variables {
                environment.entry(name).or_insert(value);
            }
        }
        Ok(environment)
    }

    pub(super) fn port(&self, slot: Slot) -> u16 {
        self.ports[slot]
    }

    /// The full name of the slot's node.
    pub(super) fn node(&self, slot: Slot) -> String {
        format!("{}@{}", self.names[slot], self.node_host)
    }

    pub(super) fn log(&self, slot: Slot) -> &str {
        self.logs[slot].as_deref().unwrap_or_default()
    }

    /// Erlang calls a host name without a dot short, and nodes of one kind do not talk to those of the other.
    pub(super) fn distribution(&self) -> &'static str {
        if self.node_host.contains('.') { "name" } else { "sname" }
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.node_host == "localhost" || self.node_host.starts_with("127.")
    }
}
