//! Starting a release, and what can come of it.

use bluegreen_core::{Error, ErrorKind, Instance, Result, Target};
use futures::future::BoxFuture;

use super::{SystemdRuntime, script};
use crate::slots::{LOG_LINES, WATCH, hundredths, last_lines, settings_digest};

impl SystemdRuntime {
    pub(super) async fn start_release(&self, target: &Target) -> Result<Instance> {
        let digest = self.slots.digest(target).await?;
        let deadline = self.settings.start_deadline;
        let script = self.on_slot(target.slot, script::START, deadline).args([
            target.version().to_string(),
            digest.clone(),
            settings_digest(target),
            hundredths(deadline),
            LOG_LINES.to_string(),
        ]);
        let reply = script.run(&*self.slots.host).await?;
        let error = match reply.word() {
            "running" => return Ok(self.slots.running(target.slot, Some(target.version().clone()))),
            "late" => {
                let message =
                    format!("it had not started within {deadline:?}, and was stopped. {}", last_lines(&reply));
                Error::new(ErrorKind::Timeout, message).retryable(false).with("host", &self.slots.host).with_hint(
                    "if it needs longer, set start_deadline; with `notify`, it has to tell systemd that it is ready",
                )
            }
            _ => self.slots.refused(target, &digest, &reply),
        };
        Err(error.with("unit", self.unit(target.slot)))
    }

    /// Waits for health, and ends the wait when the program has ended for good, or too often.
    pub(super) async fn supervise_release(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        let watch = self
            .on_slot(target.slot, script::WATCH, WATCH)
            .args([self.settings.restarts_allowed.to_string(), LOG_LINES.to_string()]);
        let healthy = self.slots.supervise(watch, healthy).await;
        healthy.map_err(|error| error.with("unit", self.unit(target.slot)))
    }
}
