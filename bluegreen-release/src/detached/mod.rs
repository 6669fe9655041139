//! [`DetachedRuntime`]: each slot is a program in a session of its own.

mod builder;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{
    Command, Error, ErrorKind, Host, Instance, Preview, Result, Runtime, ServiceName, Slot, Stopped, Target,
};
use futures::future::BoxFuture;

pub use builder::{DEFAULT_LOG_LIMIT, DetachedRuntimeBuilder};

use crate::migrator::sealed::HasSlots;
use crate::slots::{LOG_LINES, Slots, WATCH, hundredths, settings_digest};

/// What a start may take beyond its lock: for the end of what an earlier program has left.
const START: Duration = Duration::from_secs(30);

/// Runs each slot as a program in a session of its own on any [`Host`], where there is no systemd: containers, Alpine, minimal
/// images.
///
/// ```no_run
/// use bluegreen_core::{LocalHost, Secret};
/// use bluegreen_release::DetachedRuntime;
///
/// # fn example(host: LocalHost) -> bluegreen_core::Result<()> {
/// let runtime = DetachedRuntime::builder(host, "shop")
///     .command(["python3", "server.py", "--port", "{port}"])
///     .ports((4001, 4002))
///     .env("DATABASE_URL", Secret::from_env("DATABASE_URL")?)
///     .shared_directory("uploads")
///     .build()?;
/// # Ok(()) }
/// ```
///
/// # Guarantees
///
/// - **A program outlives what started it**: the connection, the SSH session, and a signal to the session's process group. It
///   leads no terminal, and runs as the user who deploys, with a fresh environment.
/// - **A program is known** by its pid, its start time and the boot of the machine. A pid that was used again is never taken
///   for it. What it starts is known by the session, and by a mark in the environment (`BLUEGREEN_INSTANCE`).
/// - **Start** is atomic: of two starts, one runs the program, and the other finds it. It returns when the program is
///   recorded. One that has ended is told while the pipeline waits for health, with its exit status or signal and last lines.
/// - **Stop** sends SIGTERM to all that belongs to the slot, and SIGKILL to what is left after the grace. It returns when all of
///   it is gone, and names what was killed. A stop that was cut off is brought to its end by the next stop or start.
/// - **Exit status.** A supervisor, a small shell, writes down how the program ended. When the supervisor is killed, the program
///   goes on, and its end is still seen, without the status.
/// - **Logs** are bounded: see [`log_limit`](DetachedRuntimeBuilder::log_limit). A full disk loses lines, and blocks nothing.
/// - **Secrets** are in no list of processes: the environment comes from a file with mode 0600. What runs as the same user can
///   see them, as always.
///
/// # What it does not do
///
/// A program that has ended stays down, also after a reboot. `Pipeline::restore` starts it again; have it run at boot.
/// [`SystemdRuntime`](crate::SystemdRuntime) is the choice where there is a systemd.
///
/// SIGINT and SIGQUIT are ignored in the program until it handles them, as in every background process of a shell.
///
/// # Files
///
/// Those of [`ReleaseDirectory`](crate::ReleaseDirectory), and for each slot `slots/<slot>/` with `release` (a link), `env`,
/// `env-<version>`, `record`, `leader`, `program`, `ended`, `supervise`, `log`, `log.1` and `log.previous`.
///
/// # Needs
///
/// Linux with `/proc`, `setsid` and `dd`, and what [`ReleaseDirectory`](crate::ReleaseDirectory) needs; busybox will do.
#[derive(Debug, Clone)]
pub struct DetachedRuntime {
    slots: Slots,
    log_limit: u64,
}

impl DetachedRuntime {
    /// Begins the configuration of a runtime for the service of this name.
    pub fn builder(host: impl Host, service: impl Into<String>) -> DetachedRuntimeBuilder {
        DetachedRuntimeBuilder::new(Arc::new(host), service.into())
    }

    /// A command that runs these words in the release that was started last in a slot, with its environment: see
    /// [`SystemdRuntime::exec`](crate::SystemdRuntime::exec).
    pub fn exec<W: Into<String>>(&self, slot: Slot, words: impl IntoIterator<Item = W>) -> Command {
        self.slots.exec(slot, None).args(words)
    }

    async fn check_host(&self) -> Result<()> {
        let reply = script::CHECK.run(&*self.slots.host).await?;
        match reply.word() {
            "ready" => Ok(()),
            "missing" => {
                Err(Error::new(ErrorKind::Unsupported, format!("there is no `{}` on the server", reply.rest()))
                    .not_applied()
                    .with("host", &self.slots.host)
                    .with_hint("setsid and flock come with util-linux, or with busybox"))
            }
            _ => Err(reply.unexpected()),
        }
    }

    async fn prepare_release(&self, target: &Target) -> Result<()> {
        self.check_host().await?;
        self.slots
            .prepare(target, async |environment: String| {
                let script = self.slots.script(target.slot, script::PREPARE, Duration::ZERO);
                let words = [target.version().to_string(), environment.len().to_string()];
                let reply = script.args(words).stdin(environment).run(&*self.slots.host).await?;
                if reply.word() == "ready" { Ok(()) } else { Err(reply.unexpected()) }
            })
            .await
    }

    async fn start_release(&self, target: &Target) -> Result<Instance> {
        let digest = self.slots.digest(target).await?;
        let words = [
            target.version().to_string(),
            digest.clone(),
            settings_digest(target),
            self.log_limit.to_string(),
            LOG_LINES.to_string(),
        ];
        let command = self.slots.settings.command.iter().map(|word| self.slots.settings.filled(word, target.slot));
        let script = self.slots.script(target.slot, script::START, START).args(words).args(command);
        let reply = script.variable("supervisor", &script::SUPERVISE.text()).run(&*self.slots.host).await?;
        match reply.word() {
            "running" => Ok(self.slots.running(target.slot, Some(target.version().clone()))),
            _ => Err(self.slots.refused(target, &digest, &reply)),
        }
    }

    async fn end(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        let reply = self.slots.script(slot, script::STOP, grace).arg(hundredths(grace)).run(&*self.slots.host).await?;
        if reply.word() != "stopped" {
            return Err(reply.unexpected());
        }
        let stopped = reply.all("killed").fold(Stopped::default(), Stopped::killing);
        match stopped.killed.is_empty() {
            true => Ok(stopped),
            false => Ok(stopped.with_hint("does it end on SIGTERM? The pipeline's grace says how long it has")),
        }
    }
}

impl fmt::Display for DetachedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.slots.settings;
        write!(f, "programs of {} in {} on {}", settings.service, settings.directory, self.slots.host)
    }
}

impl HasSlots for DetachedRuntime {
    fn slots(&self) -> &Slots {
        &self.slots
    }
}

#[async_trait]
impl Runtime for DetachedRuntime {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.slots.ownership.bind(service)
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        let about = |error: Error| error.with_operation(format!("prepare {target}"));
        self.slots.verify().await?;
        self.slots.check(target).await.map_err(about)?;
        self.check_host().await.map_err(about)?;
        Ok(Preview::default())
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        self.prepare_release(target).await.map_err(|error| error.with_operation(format!("prepare {target}")))
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        self.slots.claim(target).await?;
        self.start_release(target).await.map_err(|error| error.with_operation(format!("start {target}")))
    }

    async fn supervise(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        let watch = self.slots.script(target.slot, script::WATCH, WATCH).arg(LOG_LINES.to_string());
        self.slots.supervise(watch, healthy).await
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        self.slots.verify().await?;
        let about = |error: Error| error.with_operation(format!("inspect {slot}"));
        let script = self.slots.script(slot, script::INSPECT, Duration::ZERO);
        let reply = script.run(&*self.slots.host).await.map_err(about)?;
        self.slots.instance(slot, &reply).map_err(about)
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        self.slots.verify().await?;
        self.end(slot, grace).await.map_err(|error| error.with_operation(format!("stop {slot}")))
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.slots.verify().await?;
        let script = self.slots.script(slot, script::LOGS, Duration::ZERO).arg(tail.to_string());
        let about = |error: Error| error.with_operation(format!("read the log of {slot}"));
        Ok(script.run(&*self.slots.host).await.map_err(about)?.lines().to_vec())
    }
}
