//! [`ComposeRuntime`]: one compose project per slot.

mod builder;
mod clock;
mod container;
mod failure;
mod logs;
mod names;
mod owner;
mod ports;
mod prepare;
mod prune;
mod readiness;
mod records;
mod start;
mod stop;
mod taken;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Command, Error, ErrorKind, Instance, Result, Runtime, ServiceName, Slot, Target};

use crate::compose::{Compose, Project};
use crate::endpoint::EndpointPort;
use crate::engine::Engine;
use container::{Container, containers_of};
use owner::is_ours;
use records::StateDirectory;

pub use builder::{ComposeRuntimeBuilder, DEFAULT_SETTLE, DEFAULT_START_DEADLINE};
pub use prune::Pruned;

/// Runs each slot as a compose project of its own, `<service>-blue` and `<service>-green`, from the user's own compose
/// file. Cheap to clone.
///
/// The compose file sees `${VERSION}`, `${SLOT}`, the release's settings, and what [`env`](ComposeRuntimeBuilder::env)
/// gives. It is not changed: what is added (labels, exact images, ports for the endpoints) is in a file of our own that
/// Compose gets as its last.
///
/// - `prepare` pulls every image by its tag or digest, and records what it got. The same version with another image is
///   a `Conflict`, found before anything is pulled, and so is a `container_name` that another container has. An image
///   that cannot be had is an error before anything is changed.
/// - `start` runs what was prepared, by digest, wherever the tags point by then. It returns when all services with a
///   healthcheck are healthy, and all others have been running for a [settle](ComposeRuntimeBuilder::settle) time. A
///   container that ends, restarts or is unhealthy fails it at once, with its exit status, whether it was out of
///   memory, and its last lines. A service that another one waits for with `service_completed_successfully` may end.
/// - `stop` stops what depends on others first (in a slot that Compose v2 started; v1 does not tell what does). Who comes
///   later has ten seconds to end, or the grace where that is shorter, also when the grace is used up. It keeps the last
///   lines of the log, and removes the containers and the networks that were made for this project alone. It never removes
///   a volume, nor a network with a name of its own.
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
    service: ServiceName,
    /// Blue's, then green's.
    projects: [String; 2],
    engine: Engine,
    compose: Compose,
    endpoints: Vec<EndpointPort>,
    settle: Duration,
    start_deadline: Duration,
    accept_changed_content: bool,
    /// Our own compose files, and the locks of the slots: where Compose runs.
    state: StateDirectory,
    /// What each version was prepared with, and the last logs.
    records: StateDirectory,
}

impl Inner {
    fn project_name(&self, slot: Slot) -> String {
        self.projects[usize::from(slot == Slot::Green)].clone()
    }

    /// The containers that serve in a slot; a `Conflict` where they are another service's.
    async fn services(&self, slot: Slot) -> Result<Vec<Container>> {
        let project = self.project_name(slot);
        let mut found = containers_of(&self.engine, &project).await?;
        is_ours(&found, &self.service, &project)?;
        found.retain(|container| !container.is_one_off);
        Ok(found)
    }

    /// What is in a slot whose containers these are.
    async fn instance(&self, found: &[Container]) -> Result<Instance> {
        let instance = container::instance(&self.engine, found, &self.endpoints).await?;
        // What a healthcheck printed may be anything.
        Ok(match instance {
            Instance::Degraded { version, endpoints, reason } => {
                Instance::Degraded { version, endpoints, reason: self.compose.mask.apply(&reason) }
            }
            other => other,
        })
    }
}

impl ComposeRuntime {
    /// Slots for a service, from a compose file on the host: its path there.
    pub fn builder(service: impl Into<String>, compose_file: impl Into<String>) -> ComposeRuntimeBuilder {
        ComposeRuntimeBuilder::new(service.into(), compose_file.into())
    }

    /// The engine that the slots run on.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
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
        let pruned = prune::prune(self, keep).await;
        pruned.map_err(|error| self.located(error, || format!("prune images of {}", self.inner.service)))
    }

    pub(crate) fn project_name(&self, slot: Slot) -> String {
        self.inner.project_name(slot)
    }

    pub(crate) fn compose(&self) -> &Compose {
        &self.inner.compose
    }

    /// Refuses a slot whose project is another service's.
    pub(crate) async fn own_slot(&self, slot: Slot) -> Result<()> {
        self.inner.services(slot).await.map(drop)
    }

    /// The id of the container in which this release's service runs.
    pub(crate) async fn running_container(&self, target: &Target, service: &str) -> Result<String> {
        let found = self.inner.services(target.slot).await?;
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

    /// Compose on a prepared release in its slot; without what it is to do.
    pub(crate) async fn compose_command(&self, target: &Target, service: &str) -> Result<Command> {
        let project = self.read_project(target).await?;
        if !project.services.contains_key(service) {
            return Err(Error::config(format!("the compose file has no service {service:?}")));
        }
        // One command in a container of its own, which has no ports.
        let files = start::write_overlay(self, target, &project, &[], &BTreeMap::new()).await?;
        let name = self.inner.project_name(target.slot);
        self.inner.compose.command(&self.inner.engine, &name, target, Some(&files)).await
    }

    async fn read_logs(&self, slot: Slot, service: Option<&str>, tail: usize) -> Result<Vec<String>> {
        let lines = logs::of_slot(&self.inner, slot, service, tail).await;
        lines.map_err(|error| self.located(error, || format!("read the logs of {slot}")))
    }

    /// What the compose files come to for this release.
    async fn read_project(&self, target: &Target) -> Result<Project> {
        let inner = &*self.inner;
        if target.service != inner.service {
            return Err(Error::config(format!("this runtime is for the service {}", inner.service)));
        }
        for (name, _) in target.release.settings() {
            builder::check_variable(name).map_err(|error| error.trying("hand on the release's settings"))?;
        }
        let name = inner.project_name(target.slot);
        let project = inner.compose.project(&inner.engine, &name, target).await?;
        for endpoint in &inner.endpoints {
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
        error.trying(what()).with("engine", &self.inner.engine)
    }
}

impl fmt::Display for ComposeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [blue, green] = &self.inner.projects;
        write!(f, "the compose projects {blue} and {green} on {}", self.inner.engine)
    }
}

impl fmt::Debug for ComposeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComposeRuntime")
            .field("projects", &self.inner.projects)
            .field("engine", &self.inner.engine)
            .field("compose", &self.inner.compose)
            .field("state", &self.inner.state.path)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Runtime for ComposeRuntime {
    async fn prepare(&self, target: &Target) -> Result<()> {
        let done = prepare::prepare(self, target).await;
        done.map_err(|error| self.located(error, || format!("prepare {target}")))
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        let done = start::start(self, target).await;
        done.map_err(|error| self.located(error, || format!("start {target}")))
    }

    fn start_limit(&self) -> Option<Duration> {
        Some(self.inner.start_deadline)
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        let look = async { self.inner.instance(&self.inner.services(slot).await?).await };
        look.await.map_err(|error| self.located(error, || format!("inspect {slot}")))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<()> {
        let done = stop::stop(&self.inner, slot, grace).await;
        done.map_err(|error| self.located(error, || format!("stop {slot}")))
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.read_logs(slot, None, tail).await
    }
}
