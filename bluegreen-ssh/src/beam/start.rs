//! Starting a release, and what can come of it.

use bluegreen_core::{Error, ErrorKind, Instance, Result, Target};

use super::script::{self, Reply};
use super::{BeamRuntime, archive, prepare};

/// How many lines of its log an error about a node that did not boot shows.
const LOG_LINES: usize = 30;

impl BeamRuntime {
    pub(super) async fn start_release(&self, target: &Target) -> Result<Instance> {
        let content = match target.release.artifact() {
            // It may be gone from here since the release was prepared.
            Some(artifact) if tokio::fs::try_exists(artifact).await.unwrap_or(false) => {
                archive::digest(artifact).await?
            }
            _ => String::new(),
        };
        let settings = &self.settings;
        let deadline = settings.boot_deadline;
        let script = self.script(target.slot, script::START, deadline).args([
            target.version().to_string(),
            content.clone(),
            settings.port(target.slot).to_string(),
            settings.node(target.slot),
            hundredths(deadline),
            LOG_LINES.to_string(),
            settings.log(target.slot).to_owned(),
        ]);
        let reply = script.run(&*self.host).await?;
        match reply.word() {
            "running" => {
                let port = reply.rest().split(' ').next().and_then(|port| port.parse().ok());
                let port = port.ok_or_else(|| reply.unexpected())?;
                Ok(self.running(target.version().clone(), port))
            }
            word => Err(self.refused(word, target, &content, &reply)),
        }
    }

    fn refused(&self, word: &str, target: &Target, content: &str, reply: &Reply) -> Error {
        let slot = target.slot;
        let node = self.settings.node(slot);
        let log = reply.after("log");
        let name_is_taken = log.iter().any(|line| line.contains("seems to be in use by another Erlang node"));
        let error = match word {
            "occupied" => conflict(format!("another release runs in {slot}: version {}", reply.rest()))
                .not_applied()
                .with_hint("`retire_now` stops it, where it has no traffic"),
            "absent" => Error::new(ErrorKind::NotFound, "the release is not on the server")
                .not_applied()
                .with_hint("deploy this version again: a deploy prepares it"),
            "other" => prepare::other_content(target, content, reply.rest()),
            "taken" => conflict(format!("another node on the server has the name {}", reply.rest()))
                .not_applied()
                .with_hint("`epmd -names` there shows it; stop it, or give this slot another name with node_name"),
            "failed" if name_is_taken => conflict(format!("another node on the server has the name {node}"))
                .with_hint("`epmd -names` there shows it; stop it, or give this slot another name with node_name"),
            "failed" => {
                let message =
                    format!("it ended while it booted, and nothing of it runs. Its last lines:{}", indent(log));
                Error::new(ErrorKind::Unexpected, message)
            }
            "late" => {
                let deadline = self.settings.boot_deadline;
                let message =
                    format!("it had not booted within {deadline:?}, and was ended. Its last lines:{}", indent(log));
                Error::new(ErrorKind::Timeout, message)
                    .retryable(false)
                    .with_hint("if it needs longer, set boot_deadline; its env.sh must not replace ERL_ZFLAGS")
            }
            "named" => Error::config(format!("it calls itself {} and not {node}, and was ended", reply.rest()))
                .maybe_applied()
                .with_hint(
                    "its env.sh must set neither RELEASE_NODE nor RELEASE_DISTRIBUTION: they differ from slot to slot",
                ),
            _ => reply.unexpected(),
        };
        error.with("node", node).with("port", self.settings.port(slot)).with("host", &self.host)
    }
}

fn conflict(message: String) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

pub(super) fn hundredths(duration: std::time::Duration) -> String {
    (duration.as_millis() / 10).to_string()
}

fn indent(lines: &[String]) -> String {
    let lines: Vec<_> = lines.iter().filter(|line| !line.trim().is_empty()).collect();
    match lines.is_empty() {
        true => " none".to_owned(),
        false => lines.iter().map(|line| format!("\n  {line}")).collect(),
    }
}
