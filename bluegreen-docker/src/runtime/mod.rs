//! [`ComposeRuntime`]: one compose project per slot.

mod arrangement;
mod build;
mod builder;
mod expected;
mod live;
mod names;
mod one_off;
mod ports;
mod prepare;
mod preview;
mod shared;
mod start;
mod stop;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{
    Error, ErrorKind, Instance, PerSlot, Preview, Result, Runtime, ServiceName, Slot, Stopped, Target,
};
use futures::future::BoxFuture;

use crate::compose::{Compose, Project};
use crate::engine::Engine;
use crate::slot::container::{self, Container};
use crate::slot::prune::{Pruned, prune};
use crate::slot::records::StateDirectory;
use crate::slot::slots::Slots;
use crate::slot::{logs, take_down};
use crate::wishes::Wishes;

pub use builder::ComposeRuntimeBuilder;

/// Runs each slot as a compose project of its own, `<service>-blue` and `<service>-green`, from the user's own compose
/// file. Cheap to clone.
///
/// The compose file sees `${VERSION}`, `${SLOT}`, the release's settings, and what [`env`](ComposeRuntimeBuilder::env)
/// gives. It is not changed: what is added (labels, exact images, ports for the endpoints) is in a file of our own that
/// Compose gets as its last.
///
/// - `preview` and `prepare` refuse what two slots of the file cannot be: data that both would have open for writing or that
///   one would begin without, networks on which names stand for the containers of both, and more.
/// - `prepare` pulls every image by its tag or digest, or builds it, and records what it got. The same version with another
///   image is a `Conflict`, found before anything is pulled, and so is a `container_name` that another container has. An image
///   that cannot be had is an error before anything is changed.
/// - `start` runs what was prepared, by digest, wherever the tags point by then. It returns when all services with a
///   healthcheck are healthy, and all others run. A container that ends, [restarts too
///   often](ComposeRuntimeBuilder::restarts_allowed) or is unhealthy fails it at once, with its exit status, whether it was out
///   of memory, and its last lines; and so it does while a pipeline waits for the slot's health. One that was restarted must then
///   run for two seconds. [Jobs](ComposeRuntimeBuilder::job) may end.
/// - `stop` stops what depends on others first (in a slot that Compose v2 started; v1 does not tell what does). Who comes
///   later has ten seconds to end, or the grace where that is shorter, also when the grace is used up. It keeps the last
///   lines of the log, and removes the containers, their volumes without a name, and the networks that were made for this
///   project alone. It never removes a volume with a name, nor a network with a name of its own.
/// - A slot whose project is another service's, because both were given one name, is a `Conflict` for `start`, `stop`,
///   `inspect` and `logs`, and nothing is done to it.
/// - `inspect` and `logs` ask the engine. A slot is [`Degraded`](Instance::Degraded) while some of it runs, and a container
///   of an endpoint's service does not, or any container has failed, is unhealthy by its own healthcheck, or was restarted
///   by the engine within the last 30 seconds. `logs` also knows what a slot wrote that was stopped by `stop`.
///
/// ```no_run
/// use bluegreen_core::{Release, Runtime, Secret};
/// use bluegreen_docker::ComposeRuntime;
///
/// # fn example() -> bluegreen_core::Result<()> {
/// let runtime = ComposeRuntime::builder("shop", "/opt/shop/compose.yaml")
///     .env("DATABASE_URL", Secret::from_env("DATABASE_URL")?)
///     .endpoint("api", "api", 3001)
///     .endpoint("web", "web", 3000)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ComposeRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    slots: Slots,
    compose: Compose,
    wishes: Wishes,
    /// Of the services that both slots use.
    shared_project: String,
    /// Our own compose files, and the locks of the slots: where Compose runs.
    state: StateDirectory,
}

impl Inner {
    fn project_name(&self, slot: Slot) -> &str {
        &self.slots.groups[slot].name
    }

    /// What is in a slot whose containers these are.
    async fn instance(&self, found: &[Container]) -> Result<Instance> {
        let resting = live::resting(self, found).await?;
        let found: Vec<_> = found.iter().filter(|container| !resting.contains(&container.id)).cloned().collect();
        let mut instance = container::instance(&self.slots.engine, &found, &self.wishes.endpoints).await?;
        if instance.is_running() {
            instance = container::degraded(instance, shared::ailments(self).await?);
        }
        Ok(self.slots.masked(instance))
    }
}

impl ComposeRuntime {
    /// Slots for a service, from a compose file on the host: its path there.
    pub fn builder(service: impl Into<String>, compose_file: impl Into<String>) -> ComposeRuntimeBuilder {
        ComposeRuntimeBuilder::new(service.into(), compose_file.into())
    }

    /// The engine that the slots run on.
    pub fn engine(&self) -> &Engine {
        &self.inner.slots.engine
    }

    /// The last `tail` lines of one service of the compose file in a slot, oldest first.
    ///
    /// # Errors
    /// Those of the engine. A service that is not there has no lines.
    pub async fn service_logs(&self, slot: Slot, service: &str, tail: usize) -> Result<Vec<String>> {
        self.read_logs(slot, Some(service), tail).await
    }

    /// Removes the images of old releases from the engine: of those that came to it by `prepare`, also by one that failed
    /// or was cut off (or were built by [`ImageBuild`](crate::ImageBuild)), and that neither the `keep` newest releases nor any container uses. Nothing
    /// is removed by force. Repeatable.
    ///
    /// # Errors
    /// Those of the engine; what was removed until then stays removed.
    pub async fn prune(&self, keep: usize) -> Result<Pruned> {
        let pruned = prune(&self.inner.slots, keep).await;
        pruned.map_err(|error| self.located(error, || format!("prune images of {}", self.inner.slots.service)))
    }

    pub(crate) fn project_name(&self, slot: Slot) -> &str {
        self.inner.project_name(slot)
    }

    pub(crate) fn compose(&self) -> &Compose {
        &self.inner.compose
    }

    /// Refuses a slot whose project is another service's.
    pub(crate) async fn own_slot(&self, slot: Slot) -> Result<()> {
        self.inner.slots.services(slot).await.map(drop)
    }

    /// The id of the container in which this release's service runs.
    pub(crate) async fn running_container(&self, target: &Target, service: &str) -> Result<String> {
        let found = self.inner.slots.services(target.slot).await?;
        let is_it = |container: &&Container| {
            container.service == service
                && container.is_alive()
                && container.version().as_ref() == Some(target.version())
        };
        let id = found.iter().find(is_it).map(|container| container.id.clone());
        id.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no container of {service} runs for {target}")).not_applied()
        })
    }

    async fn read_logs(&self, slot: Slot, service: Option<&str>, tail: usize) -> Result<Vec<String>> {
        let lines = logs::of_slot(&self.inner.slots, slot, service, tail).await;
        lines.map_err(|error| self.located(error, || format!("read the logs of {slot}")))
    }

    /// What the compose files come to for this release.
    async fn read_project(&self, target: &Target) -> Result<Project> {
        let inner = &*self.inner;
        inner.slots.is_for_us(target)?;
        for (name, _) in target.release.settings() {
            builder::check_variable(name).map_err(|error| error.with_operation("hand on the release's settings"))?;
        }
        let name = inner.project_name(target.slot);
        let project = inner.compose.project(&inner.slots.engine, name, target).await?;
        for endpoint in &inner.wishes.endpoints {
            if !project.services.contains_key(&endpoint.service) {
                let what = format!(
                    "the compose file has no service {:?} for the endpoint {}",
                    endpoint.service, endpoint.name
                );
                return Err(Error::config(what).with("compose file", inner.compose.files.join(", ")));
            }
        }
        Ok(project)
    }

    fn located(&self, error: Error, what: impl FnOnce() -> String) -> Error {
        self.inner.slots.located(error, what)
    }
}

impl fmt::Display for ComposeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PerSlot { blue, green } = &self.inner.slots.groups;
        write!(f, "the compose projects {blue} and {green} on {}", self.inner.slots.engine)
    }
}

impl fmt::Debug for ComposeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComposeRuntime")
            .field("projects", &self.inner.slots.groups)
            .field("engine", &self.inner.slots.engine)
            .field("compose", &self.inner.compose)
            .field("state", &self.inner.state.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Runtime for ComposeRuntime {
    /// Whose it is, it was told when it was built.
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.inner.slots.ownership.bind(service)
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        let done = prepare::prepare(self, target).await;
        done.map_err(|error| self.located(error, || format!("prepare {target}")))
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        let done = preview::preview(self, target).await;
        done.map_err(|error| self.located(error, || format!("preview {target}")))
    }
    async fn start(&self, target: &Target) -> Result<Instance> {
        let done = start::start(self, target).await;
        done.map_err(|error| self.located(error, || format!("start {target}")))
    }

    fn start_timeout(&self) -> Option<Duration> {
        Some(self.inner.slots.start_deadline)
    }

    async fn supervise(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        self.inner.slots.supervise(target, &self.inner.wishes.only_while_live, healthy).await
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        let look = async {
            let found = self.inner.slots.accepted(slot).await?;
            self.inner.instance(&found).await
        };
        look.await.map_err(|error| self.located(error, || format!("inspect {slot}")))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        let done = stop::stop(&self.inner, slot, grace).await;
        done.map_err(|error| self.located(error, || format!("stop {slot}")))
    }

    async fn promoted(&self, live: Slot) -> Result<()> {
        let done = live::promoted(&self.inner, live).await;
        done.map_err(|error| self.located(error, || format!("start what runs only in the live slot, {live}")))
    }
    async fn stop_grace(&self, slot: Slot, grace: Duration) -> Result<Duration> {
        let looked = take_down::grace_of(&self.inner.slots, slot, grace).await;
        looked.map_err(|error| self.located(error, || format!("inspect {slot}")))
    }
    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.read_logs(slot, None, tail).await
    }
}
