//! [`Slots`]: two slots with releases as directories, whatever runs them.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::host::{Reply, Script};
use bluegreen_core::{
    Command, Endpoint, Error, ErrorKind, Host, Instance, Ownership, Result, Slot, Target, Version, sha256_hex,
};
use futures::future::{BoxFuture, Either};

use super::settings::SlotSettings;
use crate::directory::{ReleaseDirectory, other_content};
use crate::script::waiting;

const EXEC: Script =
    Script::new("run in a release", include_str!("scripts/exec.sh")).library(include_str!("scripts/lib.sh"));

/// The exit status of a command in a release when there is none.
pub(crate) const NO_RELEASE: i32 = 44;

/// How many lines of a log an error shows.
pub(crate) const LOG_LINES: usize = 30;

/// Longer than any wait for health.
pub(crate) const WATCH: Duration = Duration::from_secs(24 * 60 * 60);

/// Two slots with releases as directories on a host.
#[derive(Debug, Clone)]
pub struct Slots {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) settings: Arc<SlotSettings>,
    pub(crate) releases: ReleaseDirectory,
    pub(crate) ownership: Ownership,
}

impl Slots {
    /// A script with the places of a slot as the first arguments.
    pub(crate) fn script(&self, slot: Slot, script: Script, waits: Duration) -> Script {
        waiting(script, waits).args([self.settings.directory.clone(), slot.to_string()])
    }

    /// A command that runs these words in a version, or in the one that was started last.
    pub(crate) fn exec(&self, slot: Slot, version: Option<&Version>) -> Command {
        let version = version.map(ToString::to_string).unwrap_or_default();
        self.script(slot, EXEC, bluegreen_core::host::DEFAULT_TIMEOUT).arg(version).command()
    }

    /// Refuses a directory of another service.
    pub(crate) async fn verify(&self) -> Result<()> {
        self.ownership.verify(&*self.host, &self.settings.directory).await
    }

    /// As [`verify`](Self::verify), for a call that writes.
    pub(crate) async fn claim(&self, target: &Target) -> Result<()> {
        self.ownership.claim_for(&target.service, &*self.host, &self.settings.directory).await
    }

    /// Makes the checks of a release that touch nothing.
    pub(crate) async fn check(&self, target: &Target) -> Result<()> {
        self.settings.environment(target).await?;
        self.releases.check(target).await
    }

    /// Brings the release, and has its environment stored beside that.
    pub(crate) async fn prepare<S>(&self, target: &Target, store: impl FnOnce(String) -> S) -> Result<()>
    where
        S: Future<Output = Result<()>>,
    {
        let environment = self.settings.environment(target).await?;
        self.claim(target).await?;
        self.releases.prepare_beside(target, store(environment)).await
    }

    /// The digest of the content to start; empty where any will do.
    pub(crate) async fn digest(&self, target: &Target) -> Result<String> {
        Ok(self.releases.digest(target).await?.unwrap_or_default())
    }

    pub(crate) fn running(&self, slot: Slot, version: Option<Version>) -> Instance {
        let endpoint = Endpoint::http(format!("127.0.0.1:{}", self.settings.ports[slot])).on(self.host.to_string());
        Instance::Running { version, endpoints: vec![endpoint] }
    }

    /// What a script says is in a slot: `absent`, `running`, `degraded` or `stopped`, with a version and a reason.
    pub(crate) fn instance(&self, slot: Slot, reply: &Reply) -> Result<Instance> {
        let (version, reason) = reply.rest().split_once(' ').unwrap_or((reply.rest(), ""));
        let known = || if version == "?" { Ok(None) } else { Version::new(version).map(Some) };
        match reply.word() {
            "absent" => Ok(Instance::Absent),
            "running" => Ok(self.running(slot, known()?)),
            "degraded" => {
                let endpoints = self.running(slot, None).endpoints().to_vec();
                Ok(Instance::Degraded { version: known()?, endpoints, reason: reason.to_owned() })
            }
            "stopped" => Ok(Instance::Stopped { version: known()?, reason: Some(reason.to_owned()) }),
            _ => Err(reply.unexpected()),
        }
    }

    /// The error of a start that was refused or failed, by its reply.
    pub(crate) fn refused(&self, target: &Target, digest: &str, reply: &Reply) -> Error {
        let slot = target.slot;
        let error = match reply.word() {
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
            _ => reply.unexpected(),
        };
        error.with("host", &self.host)
    }

    /// Waits for health, and ends the wait when this script replies that the program has ended.
    pub(crate) async fn supervise(&self, watch: Script, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        let watch = Box::pin(watch.run(&*self.host));
        match futures::future::select(healthy, watch).await {
            Either::Left((healthy, _)) => healthy,
            Either::Right((Ok(reply), _)) if reply.word() == "ended" => {
                Err(Error::new(ErrorKind::Unhealthy, format!("it ended: {}. {}", reply.rest(), last_lines(&reply)))
                    .with("host", &self.host))
            }
            // It cannot be watched; health is what counts.
            Either::Right((_, healthy)) => healthy.await,
        }
    }
}

/// What tells two starts of one version with different settings apart.
pub(crate) fn settings_digest(target: &Target) -> String {
    let settings: String = target.release.settings().map(|(name, value)| format!("{name}={value}\0")).collect();
    sha256_hex(settings)
}

/// A time as the scripts count it.
pub(crate) fn hundredths(duration: Duration) -> String {
    (duration.as_millis() / 10).to_string()
}

pub(crate) fn last_lines(reply: &Reply) -> String {
    let lines: Vec<_> = reply.after("log").iter().filter(|line| !line.trim().is_empty()).collect();
    match lines.is_empty() {
        true => "It wrote nothing".to_owned(),
        false => format!("Its last lines:{}", lines.iter().map(|line| format!("\n  {line}")).collect::<String>()),
    }
}
