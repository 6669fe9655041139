//! What a [`SystemdRuntime`](super::SystemdRuntime) was built with, beside the settings of all slots.

use std::time::Duration;

use bluegreen_core::{PerSlot, Slot};

use super::hardening::Hardening;
use crate::slots::SlotSettings;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) scope: Scope,
    /// The user's own units, instead of ours.
    pub(super) units: Option<PerSlot<String>>,
    pub(super) notify: bool,
    pub(super) stop_timeout: Duration,
    pub(super) start_deadline: Duration,
    pub(super) restarts_allowed: u32,
    pub(super) hardening: Hardening,
    /// Further lines of the section `[Service]`.
    pub(super) directives: Vec<(String, String)>,
}

/// Whose systemd it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The system's, and the user that the program runs as.
    System { user: String },
    /// That of the user who deploys.
    User,
}

impl Settings {
    pub(super) fn unit(&self, slots: &SlotSettings, slot: Slot) -> String {
        match &self.units {
            Some(units) => units[slot].clone(),
            None => format!("{}-{slot}.service", slots.service),
        }
    }

    /// The option of systemctl and journalctl.
    pub(super) fn scope_option(&self) -> &'static str {
        match self.scope {
            Scope::System { .. } => "",
            Scope::User => "--user",
        }
    }
}
