//! [`ContainerRuntime`]: one container per slot.

mod builder;
mod creation;
mod image;
mod prepare;
mod preview;
mod settings;
mod start;
mod stop;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Instance, PerSlot, Preview, Result, Runtime, ServiceName, Slot, Stopped, Target};
use futures::future::BoxFuture;

use crate::endpoint::EndpointPort;
use crate::engine::Engine;
use crate::slot::container::{self, Container};
use crate::slot::prune::{Pruned, prune};
use crate::slot::slots::Slots;
use crate::slot::{logs, take_down};
use settings::Settings;

pub use builder::ContainerRuntimeBuilder;
pub use settings::{DEFAULT_HEALTH_INTERVAL, DEFAULT_HEALTH_RETRIES};

/// Runs each slot as one container of one image, `<service>-blue` and `<service>-green`. It takes no compose file, and neither
/// the `docker` program nor Compose: everything goes to the engine itself. Cheap to clone.
///
/// In the image's name, `${VERSION}`, `${SLOT}` and `${NAME}` for each setting of the release are filled in. The container has
/// `VERSION`, `SLOT`, `PORT` (where there is a [port](ContainerRuntimeBuilder::port)) and the release's settings in its
/// environment, and what [`env`](ContainerRuntimeBuilder::env) gives; a setting takes the place of an `env` of the same name.
///
/// - `preview` and `prepare` refuse what cannot be started: a container of somebody else with the slot's name, an image that
///   cannot be had, a network that is not there.
/// - `prepare` pulls the image, and records its digest. The same version with another image is a `Conflict`, found before
///   anything is pulled. An image that is in no registry is used where the engine has it.
/// - `start` runs what was prepared, by digest, wherever the tag points by then. The version that runs already is left alone,
///   and is a `Conflict` where it runs with other settings. The container is ready when its healthcheck (the
///   [given](ContainerRuntimeBuilder::health_command), else the image's) says so; without one, when it has run for the
///   [`stabilization_time`](ContainerRuntimeBuilder::stabilization_time). One that ends, or is unhealthy, fails the start at
///   once, with its exit status, whether it was out of memory, and its last lines; and so it does while a pipeline waits for
///   the slot's health.
/// - The port is chosen before the container is made. It is the container's own also when that or the engine restarts, and the
///   same at the slot's next start where nobody else has it.
/// - `stop` asks the container to end, kills it after its grace, keeps its last lines, and removes it with its volumes without
///   a name. Volumes with a name stay.
/// - A slot whose container is another service's, because both were given one name, is a `Conflict` for everything, and nothing
///   is done to it.
/// - `inspect` and `logs` ask the engine. A slot is [`Degraded`](Instance::Degraded) while its container is unhealthy, or was
///   restarted by the engine within the last 30 seconds. `logs` also knows what was written by a container that `stop` removed.
///
/// Secrets reach the engine in the body of a request, and no argument, file, error or log of ours. Whoever may use the engine
/// can see a container's environment.
///
/// ```no_run
/// use bluegreen_core::{HealthCheck, Pipeline, Release, Router, Secret, StateStore};
/// use bluegreen_docker::ContainerRuntime;
///
/// # async fn example(router: impl Router, store: impl StateStore, health: impl HealthCheck, public: impl HealthCheck)
/// # -> bluegreen_core::Result<()> {
/// let runtime = ContainerRuntime::builder("shop", "registry.internal:5000/shop:${VERSION}")
///     .port(3000)
///     .env("DATABASE_URL", Secret::from_env("DATABASE_URL")?)
///     .volume("shop-uploads", "/uploads")
///     .memory(512 << 20)
///     .health_command(["wget", "-qO-", "http://127.0.0.1:3000/up"])
///     .build()?;
/// let pipeline = Pipeline::builder("shop")
///     .runtime(runtime.clone())
///     .router(router)
///     .store(store)
///     .health(health)
///     .verify(public)
///     .build()?;
/// println!("{}", pipeline.deploy(Release::new("1.4.0")?).await?);
/// runtime.prune(5).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ContainerRuntime {
    inner: Arc<Inner>,
}

struct Inner {
    slots: Slots,
    /// The image's name, with variables.
    image: String,
    settings: Settings,
    endpoints: Vec<EndpointPort>,
}

impl Inner {
    /// What is in a slot whose containers these are.
    async fn instance(&self, found: &[Container]) -> Result<Instance> {
        let instance = container::instance(&self.slots.engine, found, &self.endpoints).await?;
        Ok(self.slots.masked(instance))
    }
}

impl ContainerRuntime {
    /// Slots for a service, from an image: its name, with `${VERSION}` where the version stands in it.
    pub fn builder(service: impl Into<String>, image: impl Into<String>) -> ContainerRuntimeBuilder {
        ContainerRuntimeBuilder::new(service.into(), image.into())
    }

    /// The engine that the slots run on.
    pub fn engine(&self) -> &Engine {
        &self.inner.slots.engine
    }

    /// Removes the images of old releases from the engine: of those that came to it by `prepare`, also by one that failed or was
    /// cut off (or were built by [`ImageBuild`](crate::ImageBuild)), and that neither the `keep` newest releases nor any
    /// container uses. Nothing is removed by force. Repeatable.
    ///
    /// # Errors
    /// Those of the engine; what was removed until then stays removed.
    pub async fn prune(&self, keep: usize) -> Result<Pruned> {
        let Inner { slots, .. } = &*self.inner;
        let pruned = prune(slots, keep).await;
        pruned.map_err(|error| slots.located(error, || format!("prune images of {}", slots.service)))
    }
}

impl fmt::Display for ContainerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PerSlot { blue, green } = &self.inner.slots.groups;
        write!(f, "the containers {blue} and {green} on {}", self.inner.slots.engine)
    }
}

impl fmt::Debug for ContainerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerRuntime")
            .field("containers", &self.inner.slots.groups)
            .field("engine", &self.inner.slots.engine)
            .field("image", &self.inner.image)
            .field("records", &self.inner.slots.records.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Runtime for ContainerRuntime {
    /// Whose it is, it was told when it was built.
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.inner.slots.ownership.bind(service)
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        let done = preview::preview(&self.inner, target).await;
        done.map_err(|error| self.inner.slots.located(error, || format!("preview {target}")))
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        let done = prepare::prepare(&self.inner, target).await;
        done.map_err(|error| self.inner.slots.located(error, || format!("prepare {target}")))
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        let done = start::start(&self.inner, target).await;
        done.map_err(|error| self.inner.slots.located(error, || format!("start {target}")))
    }

    fn start_timeout(&self) -> Option<Duration> {
        Some(self.inner.slots.start_deadline)
    }

    async fn supervise(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        self.inner.slots.supervise(target, &Default::default(), healthy).await
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        let look = async { self.inner.instance(&self.inner.slots.accepted(slot).await?).await };
        look.await.map_err(|error| self.inner.slots.located(error, || format!("inspect {slot}")))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        let done = stop::stop(&self.inner.slots, slot, grace).await;
        done.map_err(|error| self.inner.slots.located(error, || format!("stop {slot}")))
    }

    async fn stop_grace(&self, slot: Slot, grace: Duration) -> Result<Duration> {
        let looked = take_down::grace_of(&self.inner.slots, slot, grace).await;
        looked.map_err(|error| self.inner.slots.located(error, || format!("inspect {slot}")))
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        let lines = logs::of_slot(&self.inner.slots, slot, None, tail).await;
        lines.map_err(|error| self.inner.slots.located(error, || format!("read the logs of {slot}")))
    }
}
