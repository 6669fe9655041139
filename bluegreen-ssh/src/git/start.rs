//! Bringing a release onto the web root, and off it.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Instance, Result, Slot, Target};

use super::{GitRuntime, script};

/// How many lines of its log an error about a deploy that failed shows.
const LOG_LINES: usize = 30;

impl GitRuntime {
    pub(super) async fn start_release(&self, target: &Target) -> Result<Instance> {
        let slot = target.slot;
        let host = &self.settings.server(slot).host;
        let command = self
            .script(slot, script::START, self.settings.deadline)
            .args([target.version().to_string(), LOG_LINES.to_string()]);
        let reply = script::run(&**host, &command).await?;
        let error = match reply.word() {
            "running" => return Ok(self.running(slot, Some(target.version().clone()))),
            "occupied" => {
                let message = format!("another release is served in {slot}: version {}", reply.rest());
                Error::new(ErrorKind::Conflict, message).not_applied().advice("stop it first")
            }
            "taken" => script::taken(&reply),
            "absent" => Error::new(ErrorKind::NotFound, "the release is not on the server")
                .not_applied()
                .advice("prepare it first"),
            // The web root is as it was, but commands have run.
            "failed" => script::failed("the deploy failed on the server, and the web root is as it was", &reply),
            _ => reply.unexpected(&**host),
        };
        Err(error.with("host", host))
    }

    pub(super) async fn end(&self, slot: Slot, grace: Duration) -> Result<()> {
        let host = &self.settings.server(slot).host;
        let seconds = grace.as_secs().max(1).to_string();
        let reply = script::run(&**host, &self.script(slot, script::STOP, grace).arg(seconds)).await?;
        let error = match reply.word() {
            "stopped" | "nothing" => return Ok(()),
            "taken" => script::taken(&reply),
            "failed" => script::failed("the web root is empty, but the command of on_stop failed", &reply),
            _ => reply.unexpected(&**host),
        };
        Err(error.with("host", host))
    }
}
