//! How a [`DetachedRuntime`] is made.

use std::sync::Arc;

use bluegreen_core::{Error, Host, Result};

use super::DetachedRuntime;
use crate::slots::{SlotsBuilder, slots_setters};

/// How many bytes a file of a slot's log holds before the next one is begun, unless set: 10 MiB.
pub const DEFAULT_LOG_LIMIT: u64 = 10 << 20;

/// Settings of a [`DetachedRuntime`]; begun by [`DetachedRuntime::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DetachedRuntimeBuilder {
    slots: SlotsBuilder,
    log_limit: u64,
}

impl DetachedRuntimeBuilder {
    pub(super) fn new(host: Arc<dyn Host>, service: String) -> Self {
        Self { slots: SlotsBuilder::new(host, service), log_limit: DEFAULT_LOG_LIMIT }
    }

    slots_setters!("in the `PATH`");

    /// Sets how many bytes a file of a slot's log holds before the next one is begun; [`DEFAULT_LOG_LIMIT`] (10 MiB) unless
    /// set. A file exceeds it by at most 1 MiB. Two files are kept of what runs, and one of what ran before it.
    pub fn log_limit(mut self, bytes: u64) -> Self {
        self.log_limit = bytes;
        self
    }

    /// The runtime. Nothing is done on the server yet.
    ///
    /// # Errors
    /// `Config` when a name, a path, the command or a variable cannot be what it has to be, or the slots share a port.
    pub fn build(self) -> Result<DetachedRuntime> {
        let about = |error: Error| error.with_operation("set up the detached runtime");
        let command = &self.slots.settings.command;
        if command.first().is_none_or(String::is_empty) {
            return Err(about(Error::config("a command needs a program")));
        }
        Ok(DetachedRuntime { slots: self.slots.build().map_err(about)?, log_limit: self.log_limit })
    }
}
