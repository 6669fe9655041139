//! What a runtime knows of its repository, its servers and what to run on them.

use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::{PerSlot, Slot};

use super::server::GitServer;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) repository: PathBuf,
    pub(super) servers: PerSlot<GitServer>,
    pub(super) branch: String,
    pub(super) commands: Vec<String>,
    pub(super) restart: Option<String>,
    pub(super) stop: Option<String>,
    pub(super) keep_releases: usize,
    pub(super) deadline: Duration,
    pub(super) force: bool,
    pub(super) take_over: bool,
    pub(super) unfiltered: Vec<String>,
}

impl Settings {
    pub(super) fn server(&self, slot: Slot) -> &GitServer {
        &self.servers[slot]
    }
}
