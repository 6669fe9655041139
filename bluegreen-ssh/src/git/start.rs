//! Bringing a release onto the web root, and off it.

use std::time::Duration;

use bluegreen_core::host::Script;
use bluegreen_core::{Error, ErrorKind, Instance, Result, Slot, Target};

use super::GitRuntime;
use super::script::{self, Reply};

/// How many lines of its log an error about a deploy that failed shows.
const LOG_LINES: usize = 30;

/// How often a turn that someone else was faster to take is asked for anew.
const TURNS: usize = 10;

fn late() -> Error {
    Error::new(ErrorKind::Conflict, "others change the slot all the time").not_applied().retryable(true)
}

impl GitRuntime {
    pub(super) async fn start_release(&self, target: &Target) -> Result<Instance> {
        let slot = target.slot;
        let host = &self.settings.server(slot).host;
        let args = [target.version().to_string(), LOG_LINES.to_string()];
        let reply = self.change(slot, &script::START, self.settings.deadline, &args).await?;
        let error = match reply.word() {
            "running" => return Ok(self.running(slot, Some(target.version().clone()))),
            "occupied" => {
                let message = format!("another release is served in {slot}: version {}", reply.rest());
                Error::new(ErrorKind::Conflict, message)
                    .not_applied()
                    .with_hint("`retire_now` stops it, where it has no traffic")
            }
            "taken" => script::taken(&reply),
            "late" => late(),
            "absent" => Error::new(ErrorKind::NotFound, "the release is not on the server")
                .not_applied()
                .with_hint("deploy this version again: a deploy prepares it"),
            // The web root is as it was, but commands have run.
            "failed" => script::failed("the deploy failed on the server, and the web root is as it was", &reply),
            _ => reply.unexpected(),
        };
        Err(error.with("host", host))
    }

    /// How long asking for a turn and the deploy itself may take.
    pub(super) fn longest_start(&self) -> Duration {
        script::limit(Duration::ZERO).saturating_add(script::limit(self.settings.deadline))
    }

    /// Changes a slot, in a turn that is asked for before. A script that goes on when its caller was cut off, and comes
    /// behind what was done since, would undo that otherwise.
    async fn change(&self, slot: Slot, script: &Script, patience: Duration, args: &[String]) -> Result<Reply> {
        let host = &*self.settings.server(slot).host;
        let mut reply = Reply::default();
        for _ in 0..TURNS {
            reply = script::run(&self.script(slot, script::TURN, Duration::ZERO), host).await?;
            if reply.word() != "turn" {
                break;
            }
            let script = self.script(slot, script.clone(), patience).arg(reply.rest()).args(args);
            reply = script::run(&script, host).await?;
            if reply.word() != "late" {
                break;
            }
        }
        Ok(reply)
    }

    pub(super) async fn end(&self, slot: Slot, grace: Duration) -> Result<()> {
        let host = &self.settings.server(slot).host;
        let seconds = grace.as_secs().max(1).to_string();
        let reply = self.change(slot, &script::STOP, grace, &[seconds]).await?;
        let error = match reply.word() {
            "stopped" | "nothing" | "absent" => return Ok(()),
            "taken" => script::taken(&reply),
            "late" => late(),
            "failed" => script::failed("the web root is empty, but the command of on_stop failed", &reply),
            _ => reply.unexpected(),
        };
        Err(error.with("host", host))
    }
}
