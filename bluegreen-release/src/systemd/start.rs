//! Starting a release, and what can come of it.

use std::time::Duration;

use bluegreen_core::host::Reply;
use bluegreen_core::{Error, ErrorKind, Instance, Result, Target, sha256_hex};
use futures::future::{BoxFuture, Either};

use super::{SystemdRuntime, script};
use crate::directory::other_content;

/// How many lines of the journal an error shows.
const LOG_LINES: usize = 30;

/// Longer than any wait for health.
const WATCH: Duration = Duration::from_secs(24 * 60 * 60);

impl SystemdRuntime {
    pub(super) async fn start_release(&self, target: &Target) -> Result<Instance> {
        let digest = self.releases.digest(target).await?.unwrap_or_default();
        let deadline = self.settings.start_deadline;
        let script = self.on_slot(target.slot, script::START, deadline).args([
            target.version().to_string(),
            digest.clone(),
            settings_digest(target),
            script::hundredths(deadline),
            LOG_LINES.to_string(),
        ]);
        let reply = script.run(&*self.host).await?;
        match reply.word() {
            "running" => Ok(self.running(target.slot, Some(target.version().clone()))),
            word => Err(self.refused(word, target, &digest, &reply)),
        }
    }

    fn refused(&self, word: &str, target: &Target, digest: &str, reply: &Reply) -> Error {
        let slot = target.slot;
        let error = match word {
            "occupied" => {
                let what = if reply.rest() == target.version().as_str() {
                    "this version, with other content or settings,"
                } else {
                    "another release"
                };
                Error::new(ErrorKind::Conflict, format!("{what} runs in {slot}: version {}", reply.rest()))
                    .not_applied()
                    .with_hint("`retire_now` stops it, where it has no traffic")
            }
            "absent" => Error::new(ErrorKind::NotFound, "the release is not on the server")
                .not_applied()
                .with_hint("deploy this version again: a deploy prepares it"),
            "other" => other_content(target, digest, reply.rest()),
            "failed" => {
                let message = format!("it ended while it started: {}. {}", reply.rest(), last_lines(reply));
                Error::new(ErrorKind::Unexpected, message)
            }
            "late" => {
                let deadline = self.settings.start_deadline;
                let message = format!("it had not started within {deadline:?}, and was stopped. {}", last_lines(reply));
                Error::new(ErrorKind::Timeout, message).retryable(false).with_hint(
                    "if it needs longer, set start_deadline; with `notify`, it has to tell systemd that it is ready",
                )
            }
            _ => reply.unexpected(),
        };
        error.with("unit", self.settings.unit(slot)).with("host", &self.host)
    }

    /// Waits for health, and ends the wait when the program has ended for good, or too often.
    pub(super) async fn supervise_release(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        let script = self
            .on_slot(target.slot, script::WATCH, WATCH)
            .args([self.settings.restarts_allowed.to_string(), LOG_LINES.to_string()]);
        let watch = Box::pin(script.run(&*self.host));
        match futures::future::select(healthy, watch).await {
            Either::Left((healthy, _)) => healthy,
            Either::Right((Ok(reply), _)) if reply.word() == "ended" => {
                Err(Error::new(ErrorKind::Unhealthy, format!("it ended: {}. {}", reply.rest(), last_lines(&reply)))
                    .with("unit", self.settings.unit(target.slot))
                    .with("host", &self.host))
            }
            // It cannot be watched; health is what counts.
            Either::Right((_, healthy)) => healthy.await,
        }
    }
}

/// What tells two starts of one version with different settings apart.
fn settings_digest(target: &Target) -> String {
    let settings: String = target.release.settings().map(|(name, value)| format!("{name}={value}\0")).collect();
    sha256_hex(settings)
}

fn last_lines(reply: &Reply) -> String {
    let lines: Vec<_> = reply.after("log").iter().filter(|line| !line.trim().is_empty()).collect();
    match lines.is_empty() {
        true => "It wrote nothing".to_owned(),
        false => format!("Its last lines:{}", lines.iter().map(|line| format!("\n  {line}")).collect::<String>()),
    }
}
