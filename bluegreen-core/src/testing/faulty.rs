use std::fmt;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::gate::{Gate, Verdict, Window};
use crate::health::{Health, HealthCheck};
use crate::hook::{Hook, HookCall};
use crate::host::{Command, Host, Output, Tunnel};
use crate::migrator::{Migrator, Phase, When};
use crate::preview::Preview;
use crate::router::{Granularity, Router};
use crate::runtime::{Runtime, Stopped};
use crate::state::State;
use crate::store::{Revision, StateStore, Versioned};
use crate::testing::Faults;
use crate::types::{Instance, Progress, ServiceName, Slot, Split, Target};

/// Wraps any adapter, in memory or real: logs each call, and makes it go wrong as [`Faults`] say.
///
/// The text of a call begins with the trait and the method: `router.shift`, `runtime.start`, `store.commit`,
/// `health.check`, `migrator.migrate`, `gate.judge`, `hook.run`, `host.run`; a name given by [`named`](Self::named) takes the place
/// of the trait.
#[derive(Debug, Clone)]
pub struct Faulty<T> {
    inner: T,
    faults: Faults,
    name: Option<&'static str>,
}

impl<T> Faulty<T> {
    /// Wraps an adapter.
    pub fn new(inner: T, faults: &Faults) -> Self {
        Self { inner, faults: faults.clone(), name: None }
    }

    /// Gives the calls another first word, to tell two adapters of one trait apart.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    fn call(&self, adapter: &'static str, rest: impl fmt::Display) -> String {
        format!("{}.{rest}", self.name.unwrap_or(adapter))
    }
}

impl<T: fmt::Display> fmt::Display for Faulty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl<T: Router> Router for Faulty<T> {
    fn granularity(&self) -> Granularity {
        self.inner.granularity()
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.inner.bind_service(service)
    }

    async fn current(&self) -> Result<Option<Split>> {
        self.faults.around(self.call("router", "current"), self.inner.current()).await
    }

    async fn preview(&self, slot: Slot) -> Result<Preview> {
        let call = self.call("router", format_args!("preview {slot}"));
        self.faults.around(call, self.inner.preview(slot)).await
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        let call = self.call("router", format_args!("attach {slot}"));
        self.faults.around(call, self.inner.attach(slot, instance)).await
    }

    async fn detach(&self, slot: Slot) -> Result<()> {
        let call = self.call("router", format_args!("detach {slot}"));
        self.faults.around(call, self.inner.detach(slot)).await
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let call = self.call("router", format_args!("shift to {to}"));
        self.faults.around(call, self.inner.shift(from, to)).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let call = self.call("router", format_args!("in_flight {slot}"));
        self.faults.around(call, self.inner.in_flight(slot)).await
    }
}

#[async_trait]
impl<T: Runtime> Runtime for Faulty<T> {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.inner.bind_service(service)
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        let call = self.call("runtime", format_args!("preview {} {}", target.slot, target.version()));
        self.faults.around(call, self.inner.preview(target)).await
    }

    async fn preview_slot(&self, slot: Slot) -> Result<Preview> {
        self.inner.preview_slot(slot).await
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        let call = self.call("runtime", format_args!("prepare {} {}", target.slot, target.version()));
        self.faults.around(call, self.inner.prepare(target)).await
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        let call = self.call("runtime", format_args!("start {} {}", target.slot, target.version()));
        self.faults.around(call, self.inner.start(target)).await
    }

    fn start_timeout(&self) -> Option<Duration> {
        self.inner.start_timeout()
    }

    async fn supervise(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        self.inner.supervise(target, healthy).await
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        let call = self.call("runtime", format_args!("inspect {slot}"));
        self.faults.around(call, self.inner.inspect(slot)).await
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        let call = self.call("runtime", format_args!("stop {slot}"));
        self.faults.around(call, self.inner.stop(slot, grace)).await
    }

    async fn stop_grace(&self, slot: Slot, grace: Duration) -> Result<Duration> {
        self.inner.stop_grace(slot, grace).await
    }

    async fn promoted(&self, live: Slot) -> Result<()> {
        self.inner.promoted(live).await
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        let call = self.call("runtime", format_args!("logs {slot}"));
        self.faults.around(call, self.inner.logs(slot, tail)).await
    }
}

#[async_trait]
impl<T: StateStore> StateStore for Faulty<T> {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        self.faults.around(self.call("store", "load"), self.inner.load(service)).await
    }

    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        self.faults.around(self.call("store", "commit"), self.inner.commit(service, expected, state)).await
    }
}

#[async_trait]
impl<T: HealthCheck> HealthCheck for Faulty<T> {
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health> {
        let call = self.call("health", format_args!("check {} {}", target.slot, target.version()));
        self.faults.around(call, self.inner.check(target, instance)).await
    }

    fn tells_version(&self) -> bool {
        self.inner.tells_version()
    }
}

#[async_trait]
impl<T: Migrator> Migrator for Faulty<T> {
    fn when(&self) -> When {
        self.inner.when()
    }

    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>> {
        self.faults.around(self.call("migrator", "pending"), self.inner.pending(target)).await
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        let call = self.call("migrator", format_args!("migrate {phase} {}", target.version()));
        self.faults.around(call, self.inner.migrate(phase, target)).await
    }

    async fn revert(&self, target: &Target) -> Result<()> {
        self.faults.around(self.call("migrator", "revert"), self.inner.revert(target)).await
    }
}

#[async_trait]
impl<T: Gate> Gate for Faulty<T> {
    async fn judge(&self, window: &Window) -> Result<Verdict> {
        self.faults.around(self.call("gate", "judge"), self.inner.judge(window)).await
    }

    async fn preview(&self, live: &Target, instance: &Instance) -> Result<()> {
        self.faults.around(self.call("gate", "preview"), self.inner.preview(live, instance)).await
    }

    async fn learn(&self, live: &Target, instance: &Instance) -> Result<()> {
        self.faults.around(self.call("gate", "learn"), self.inner.learn(live, instance)).await
    }
}

#[async_trait]
impl<T: Hook> Hook for Faulty<T> {
    async fn run(&self, told: &HookCall) -> Result<()> {
        let call = self.call("hook", format_args!("run {}:{}", told.place, told.hook));
        self.faults.around(call, self.inner.run(told)).await
    }

    fn is_repeatable(&self) -> bool {
        self.inner.is_repeatable()
    }
}

#[async_trait]
impl<T: Host> Host for Faulty<T> {
    async fn run(&self, command: &Command) -> Result<Output> {
        let call = self.call("host", format_args!("run {command}"));
        self.faults.around(call, self.inner.run(command)).await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let call = self.call("host", format_args!("read {path}"));
        self.faults.around(call, self.inner.read(path)).await
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        let call = self.call("host", format_args!("write {path}"));
        self.faults.around(call, self.inner.write(path, contents, mode)).await
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        let call = self.call("host", format_args!("upload {remote}"));
        self.faults.around(call, self.inner.upload(local, remote, progress)).await
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        let call = self.call("host", format_args!("download {remote}"));
        self.faults.around(call, self.inner.download(remote, local, progress)).await
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        let call = self.call("host", format_args!("symlink {link}"));
        self.faults.around(call, self.inner.symlink(target, link)).await
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        let call = self.call("host", format_args!("tunnel {address}"));
        self.faults.around(call, self.inner.tunnel(address)).await
    }
}
