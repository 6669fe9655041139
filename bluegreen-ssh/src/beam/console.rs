//! A console on a running node.

use std::path::Path;

use bluegreen_core::{Error, ErrorKind, Instance, Result, Slot};

use super::{BeamRuntime, nothing_there, script};
use crate::SshHost;

impl BeamRuntime {
    /// Opens a console on the running node of a slot, by `bin/<app> remote`, on the terminal of this process, and returns
    /// when it is left. `host` is the server that this runtime runs on.
    ///
    /// # Errors
    /// `NotFound` when nothing was ever started in the slot; `Unhealthy` when its node does not run; `Config` when this
    /// process has no terminal; `Unexpected` with the exit status when the console did not open or end well: what it
    /// said is on the terminal. Else as [`SshHost::console`].
    pub async fn console(&self, host: &SshHost, slot: Slot) -> Result<()> {
        self.console_on(Path::new("/dev/tty"), host, slot).await
    }

    /// As [`console`](Self::console), on the terminal with this device file.
    ///
    /// # Errors
    /// As [`console`](Self::console).
    pub async fn console_on(&self, terminal: &Path, host: &SshHost, slot: Slot) -> Result<()> {
        let opened = self.open(terminal, host, slot).await;
        opened.map_err(|error| error.with_operation(format!("open a console on the node of {slot}")))
    }

    async fn open(&self, terminal: &Path, host: &SshHost, slot: Slot) -> Result<()> {
        match self.look(slot).await? {
            Instance::Absent => return Err(nothing_there(slot).with("host", host)),
            Instance::Stopped { reason, .. } => {
                let reason = reason.unwrap_or_else(|| "it ended".to_owned());
                return Err(Error::new(ErrorKind::Unhealthy, format!("the node does not run: {reason}"))
                    .not_applied()
                    .with("node", self.node(slot))
                    .with("host", host));
            }
            Instance::Running { .. } | Instance::Degraded { .. } => {}
        }
        let output = host.console_on(terminal, &self.remote(slot)).await?;
        match (output.status, output.signal.as_deref()) {
            // Ctrl-C and Ctrl-\ reach the shell of the release too, and are the ways out of a console.
            (Some(0), _) | (None, Some("INT" | "QUIT")) => Ok(()),
            (Some(script::NO_RELEASE), _) => Err(nothing_there(slot).with("host", host)),
            _ => Err(script::failed(host, &output)
                .with("node", self.node(slot))
                .with_hint("what it said is on the terminal above")),
        }
    }
}
