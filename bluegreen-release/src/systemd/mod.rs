//! [`SystemdRuntime`]: each slot is a unit of systemd.

mod builder;
mod exec;
mod hardening;
mod script;
mod settings;
mod setup;
mod start;
mod time_span;
mod unit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::host::{Reply, Script};
use bluegreen_core::{
    Error, ErrorKind, Host, Instance, Preview, Result, Runtime, ServiceName, Slot, Stopped, Target, changed_file,
    sha256_hex,
};
use futures::future::BoxFuture;

pub use builder::{DEFAULT_RESTARTS_ALLOWED, DEFAULT_START_DEADLINE, DEFAULT_STOP_TIMEOUT, SystemdRuntimeBuilder};
pub use hardening::Hardening;
use settings::Settings;

use crate::migrator::sealed::HasSlots;
use crate::script::waiting;
use crate::slots::{Slots, hundredths};

/// Runs each slot as a unit of systemd on any [`Host`]: a program of any language, released as a directory.
///
/// ```no_run
/// use bluegreen_core::{LocalHost, Secret};
/// use bluegreen_release::SystemdRuntime;
///
/// # fn example(host: LocalHost) -> bluegreen_core::Result<()> {
/// let runtime = SystemdRuntime::builder(host, "shop")
///     .command(["python3", "server.py", "--port", "{port}"])
///     .user("deploy")
///     .ports((4001, 4002))
///     .env("DATABASE_URL", Secret::from_env("DATABASE_URL")?)
///     .shared_directory("uploads")
///     .directive("MemoryMax", "512M")
///     .build()?;
/// println!("{}", runtime.setup_script());
/// # Ok(()) }
/// ```
///
/// # Guarantees
///
/// - **systemd is asked**, never guessed: what runs, how it ended, how often it was restarted.
/// - **A deploy writes no unit.** The unit of a slot is the same for all versions; [`setup`](Self::setup) writes it once. A deploy is
///   refused, and `plan` and `status` say so, while it is missing or was changed by somebody else.
/// - **Least rights.** The deployer needs no root. By sudo it may start, stop, kill, enable and disable the two units, each by a
///   rule of its own, word for word; `user_units` need no sudo at all.
/// - **Start** returns when systemd calls the unit started: the program runs, or, with
///   [`notify`](SystemdRuntimeBuilder::notify), has said that it is ready. One that ends before is an error with its exit status
///   or signal and the journal's lines, and nothing of it stays.
/// - **Crash loops are told at once.** While the pipeline waits for health, a program that has ended more often than
///   [`restarts_allowed`](SystemdRuntimeBuilder::restarts_allowed) fails the deploy, with how it ended and its last lines.
/// - **Stop** lets the unit end as it says (`KillSignal`, `TimeoutStopSec`); what outlives the longer of that and the pipeline's
///   grace is killed, and told.
/// - **A reboot brings the live release back** without a deployer: only the unit with the traffic is enabled.
/// - **Secrets** are in no list of processes: the environment comes from a file with mode 0600. What runs as the same user can
///   see them, as always.
///
/// # Files
///
/// Those of [`ReleaseDirectory`], and for each slot `slots/<slot>/` with `release` (a link), `env`, `env-<version>` and
/// `record`.
///
/// # Needs
///
/// systemd 247 or later (Debian 11), and what [`ReleaseDirectory`] needs. The user who deploys has to be able to read the
/// journal (group `systemd-journal`); [`setup`](Self::setup) sees to it.
///
/// [`ReleaseDirectory`]: crate::ReleaseDirectory
#[derive(Debug, Clone)]
pub struct SystemdRuntime {
    slots: Slots,
    settings: Arc<Settings>,
}

impl SystemdRuntime {
    /// Begins the configuration of a runtime for the service of this name.
    pub fn builder(host: impl Host, service: impl Into<String>) -> SystemdRuntimeBuilder {
        SystemdRuntimeBuilder::new(Arc::new(host), service.into())
    }

    /// The name of a slot's unit.
    pub fn unit(&self, slot: Slot) -> String {
        self.settings.unit(&self.slots.settings, slot)
    }

    fn script(&self, script: Script, waits: Duration) -> Script {
        waiting(script.variable("scope", self.settings.scope_option()), waits)
    }

    /// A script with the places of a slot and its unit as the first arguments.
    fn on_slot(&self, slot: Slot, script: Script, waits: Duration) -> Script {
        self.script(script, waits).args([self.slots.settings.directory.clone(), slot.to_string(), self.unit(slot)])
    }

    /// The digest of the unit as it has to be; empty for one that is not ours.
    fn unit_digest(&self, slot: Slot) -> String {
        match self.settings.units {
            Some(_) => String::new(),
            None => sha256_hex(unit::render(&self.slots.settings, &self.settings, slot)),
        }
    }

    async fn prepare_release(&self, target: &Target) -> Result<()> {
        self.slots
            .prepare(target, async |environment: String| {
                let script = self.on_slot(target.slot, script::PREPARE, Duration::ZERO);
                let words =
                    [target.version().to_string(), self.unit_digest(target.slot), environment.len().to_string()];
                let reply = script.args(words).stdin(environment).run(&*self.slots.host).await?;
                self.check_unit(target.slot, &reply)
            })
            .await
    }

    async fn look_at_unit(&self, slot: Slot) -> Result<()> {
        let script = self.script(script::PREVIEW, Duration::ZERO).args([self.unit(slot), self.unit_digest(slot)]);
        self.check_unit(slot, &script.run(&*self.slots.host).await?)
    }

    fn check_unit(&self, slot: Slot, reply: &Reply) -> Result<()> {
        let setup = "`SystemdRuntime::setup` writes it; or an administrator runs what `setup_script` prints";
        let error = match (reply.word(), reply.rest().split(' ').next().unwrap_or_default()) {
            ("ready", _) => return Ok(()),
            ("unit", "missing") => {
                let hint = match self.settings.units {
                    Some(_) => "write it, and have systemd read it: systemctl daemon-reload",
                    None => setup,
                };
                Error::new(ErrorKind::NotFound, "systemd does not know the unit").with_hint(hint)
            }
            ("unit", "stale") => Error::new(ErrorKind::Conflict, "the unit was changed, and systemd has not read it")
                .with_hint("have systemd read it: systemctl daemon-reload"),
            ("unit", "differs") => {
                let path = reply.rest().split_once(' ').map_or("", |(_, path)| path);
                let there = reply.after("unit");
                let wanted = unit::render(&self.slots.settings, &self.settings, slot);
                changed_file("unit", path, &*self.slots.host, difference(there, &wanted))
                    .with_hint(format!("{setup}; what only this server needs belongs in a drop-in: systemctl edit"))
            }
            ("linger", user) => {
                let message = format!("what {user} runs ends when {user} logs out, and does not start at boot");
                Error::new(ErrorKind::Config, message).with_hint(format!("as root: loginctl enable-linger {user}"))
            }
            _ => reply.unexpected(),
        };
        Err(error.not_applied().with("unit", self.unit(slot)).with("host", &self.slots.host))
    }

    async fn look(&self, slot: Slot) -> Result<Instance> {
        let reply = self.on_slot(slot, script::INSPECT, Duration::ZERO).run(&*self.slots.host).await?;
        self.slots.instance(slot, &reply)
    }

    async fn end(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        let script = self.on_slot(slot, script::STOP, grace).arg(hundredths(grace));
        let reply = script.run(&*self.slots.host).await?;
        match reply.word() {
            "stopped" | "nothing" => Ok(Stopped::default()),
            "killed" => Ok(Stopped::default()
                .killing(self.unit(slot))
                .with_hint("does it end on SIGTERM? `stop_timeout` gives it longer")),
            _ => Err(reply.unexpected()),
        }
    }
}

/// The lines that are there and should not be, and the other way round.
fn difference(there: &[String], wanted: &str) -> Vec<String> {
    let there: Vec<_> = there.iter().map(String::as_str).collect();
    let wanted: Vec<_> = wanted.lines().collect();
    let gone = wanted.iter().filter(|line| !there.contains(line)).map(|line| format!("-{line}"));
    gone.chain(there.iter().filter(|line| !wanted.contains(line)).map(|line| format!("+{line}"))).collect()
}

impl fmt::Display for SystemdRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "units of {} in {} on {}",
            self.slots.settings.service, self.slots.settings.directory, self.slots.host
        )
    }
}

#[async_trait]
impl Runtime for SystemdRuntime {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.slots.ownership.bind(service)
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        let about = |error: Error| error.with_operation(format!("prepare {target}"));
        self.slots.verify().await?;
        self.slots.check(target).await.map_err(about)?;
        self.look_at_unit(target.slot).await.map_err(about)?;
        Ok(Preview::default())
    }

    async fn preview_slot(&self, slot: Slot) -> Result<Preview> {
        self.slots.verify().await?;
        self.look_at_unit(slot).await.map_err(|error| error.with_operation(format!("look at the unit of {slot}")))?;
        Ok(Preview::default())
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        self.prepare_release(target).await.map_err(|error| error.with_operation(format!("prepare {target}")))
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        self.slots.claim(target).await?;
        self.start_release(target).await.map_err(|error| error.with_operation(format!("start {target}")))
    }

    fn start_timeout(&self) -> Option<Duration> {
        Some(self.settings.start_deadline)
    }

    async fn supervise(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        self.supervise_release(target, healthy).await
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        self.slots.verify().await?;
        self.look(slot).await.map_err(|error| error.with_operation(format!("inspect {slot}")))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        self.slots.verify().await?;
        self.end(slot, grace).await.map_err(|error| error.with_operation(format!("stop {slot}")))
    }

    async fn stop_grace(&self, slot: Slot, grace: Duration) -> Result<Duration> {
        if self.settings.units.is_none() {
            return Ok(grace.max(self.settings.stop_timeout));
        }
        let reply = self.script(script::GRACE, Duration::ZERO).arg(self.unit(slot)).run(&*self.slots.host).await?;
        // A unit without an end of its own leaves it to the pipeline.
        Ok(time_span::parse(reply.lines().first().map_or("", String::as_str)).map_or(grace, |own| grace.max(own)))
    }

    async fn promoted(&self, live: Slot) -> Result<()> {
        let script = self.script(script::PROMOTED, Duration::ZERO).args([self.unit(live), self.unit(live.other())]);
        let about = |error: Error| error.with_operation(format!("have {live} start at boot"));
        let reply = script.run(&*self.slots.host).await.map_err(about)?;
        match reply.word() {
            "enabled" => Ok(()),
            "static" => {
                tracing::warn!(host = %self.slots.host, unit = reply.rest(), "the unit has no [Install]: it does not start at boot");
                Ok(())
            }
            _ => Err(about(reply.unexpected())),
        }
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.slots.verify().await?;
        let script = self.on_slot(slot, script::LOGS, Duration::ZERO).arg(tail.to_string());
        let about = |error: Error| error.with_operation(format!("read the journal of {slot}"));
        Ok(script.run(&*self.slots.host).await.map_err(about)?.lines().to_vec())
    }
}

impl HasSlots for SystemdRuntime {
    fn slots(&self) -> &Slots {
        &self.slots
    }
}
