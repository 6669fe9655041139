//! How a [`ComposeRuntime`] is made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::host::check_variable_name;
use bluegreen_core::{Error, Host, LocalHost, Ownership, PerSlot, Result, Secret, ServiceName};

use super::{ComposeRuntime, Inner};
use crate::compose::{Compose, OWN_VARIABLES};
use crate::endpoint::EndpointPort;
use crate::engine::Engine;
use crate::mask::mask_of;
use crate::slot::brought_up::BroughtUp;
use crate::slot::group::Group;
use crate::slot::records::StateDirectory;
use crate::slot::slots::{DEFAULT_START_DEADLINE, Slots};
use crate::wishes::Wishes;

/// Configures a [`ComposeRuntime`]; see [`ComposeRuntime::builder`].
#[derive(Debug)]
#[must_use]
pub struct ComposeRuntimeBuilder {
    service: String,
    files: Vec<String>,
    project: Option<String>,
    host: Arc<dyn Host>,
    engine: Option<Engine>,
    engine_is_elsewhere: bool,
    environment: BTreeMap<String, Secret>,
    wishes: Wishes,
    shared_project: Option<String>,
    stabilization_time: Duration,
    start_deadline: Duration,
    restarts_allowed: Option<u32>,
    state: Option<String>,
    records: Option<(Arc<dyn Host>, String)>,
    program: Option<Vec<String>>,
    accept_changed_content: bool,
}

impl ComposeRuntimeBuilder {
    pub(super) fn new(service: String, file: String) -> Self {
        Self {
            service,
            files: vec![file],
            project: None,
            host: Arc::new(LocalHost::new()),
            engine: None,
            engine_is_elsewhere: false,
            environment: BTreeMap::new(),
            wishes: Wishes::default(),
            shared_project: None,
            stabilization_time: Duration::ZERO,
            start_deadline: DEFAULT_START_DEADLINE,
            restarts_allowed: None,
            state: None,
            records: None,
            program: None,
            accept_changed_content: false,
        }
    }

    /// Adds a compose file that overrides those before it.
    ///
    /// Without any, and where the compose file has a name that Compose looks for by itself, a `compose.override.yaml` (or
    /// `docker-compose.override.yml`) beside it is read, as Compose does.
    pub fn override_file(mut self, file: impl Into<String>) -> Self {
        self.files.push(file.into());
        self
    }

    /// What the slots' projects are called before `-blue` and `-green`. Default: the service's name.
    pub fn project(mut self, prefix: impl Into<String>) -> Self {
        self.project = Some(prefix.into());
        self
    }

    /// The host on which the compose files are and Compose runs. Default: this machine. Its engine is used too.
    pub fn host(mut self, host: impl Host) -> Self {
        self.host = Arc::new(host);
        self
    }

    /// An engine other than the one that the `docker` command on the host would take.
    ///
    /// When it is that of another machine ([on](Engine::on) it, or [over SSH](Engine::over_ssh)), Compose and the compose
    /// files stay here, and both Compose and we reach the engine through that machine's tunnel. Bind mounts then name
    /// files of the engine's machine, and the endpoints are [there](Engine::server).
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self.engine_is_elsewhere = true;
        self
    }

    /// The engine at this address, as seen from the host: what `DOCKER_HOST` would say there.
    pub fn docker_host(mut self, address: impl Into<String>) -> Self {
        self.engine = Some(Engine::local().address(address));
        self.engine_is_elsewhere = false;
        self
    }

    /// Sets a variable for the compose file, such as `${DATABASE_URL}`.
    ///
    /// Compose gets it in its environment and in no other way. What a compose file puts into a container's environment
    /// can be read there with `docker inspect`, by whoever may use the engine. In errors and logs, values of six
    /// characters or more are replaced by `***`.
    pub fn env(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.environment.insert(name.into(), value);
        self
    }

    /// Makes a TCP port of a compose service an endpoint of each slot, under a name for health checks and routers.
    ///
    /// Where the compose file does not publish that port, or publishes it on a fixed one, it is published on 127.0.0.1 of
    /// the engine's machine, on a port from 20000 to 32767. Where the file leaves the port open or gives a range, one is
    /// chosen from that. Either way it is the container's own from then on, also when it restarts, and the same at the slot's next start where
    /// nobody else has it. Compose before 2.25 cannot fix what the file publishes itself; `start` then warns.
    ///
    /// The first endpoint is the one that is used where none is named.
    pub fn endpoint(mut self, name: impl Into<String>, service: impl Into<String>, port: u16) -> Self {
        self.wishes.endpoints.push(EndpointPort { name: name.into(), service: service.into(), port });
        self
    }

    /// Runs these services once, in a project of their own, and in neither slot: databases, queues, whatever both slots use.
    ///
    /// The slots reach them by their names, as before. A deploy brings up what of them is not there, before it starts the
    /// slot; it never stops, restarts or changes one that runs, and never removes their data. That one is absent, or runs
    /// otherwise than the file says by now, is told. The project is called `<project>-shared`, unless
    /// [`shared_project`](Self::shared_project) says otherwise. Takes Compose 2.25 or newer.
    pub fn shared<S: Into<String>>(mut self, services: impl IntoIterator<Item = S>) -> Self {
        self.wishes.shared.extend(services.into_iter().map(Into::into));
        self
    }

    /// What the project of the [`shared`](Self::shared) services is called. Default: `<project>-shared`. Named volumes
    /// belong to a project: those that `docker compose up` made in a project `shop` are found again in one that is called
    /// `shop`.
    pub fn shared_project(mut self, name: impl Into<String>) -> Self {
        self.shared_project = Some(name.into());
        self
    }

    /// Declares that the containers of both slots may have these open for writing at the same time: volumes, by the file's name
    /// for them, and directories of the machine, by their paths. Of a volume that would be each slot's own, both slots then have
    /// the one of the [`shared_project`](Self::shared_project), `<project>-shared_<volume>`.
    ///
    /// Otherwise such a release is refused. A database's own directory is refused in any case: that belongs to a service that
    /// is [`shared`](Self::shared).
    pub fn data_shared<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.wishes.data_shared.extend(names.into_iter().map(Into::into));
        self
    }

    /// Declares that each slot may have these volumes for itself, so that a release begins with whatever its slot had before,
    /// or with nothing: caches, for instance. A database without a volume is declared by its service's name.
    ///
    /// Otherwise a release that keeps data in a volume of its slot is refused.
    pub fn data_per_slot<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.wishes.data_per_slot.extend(names.into_iter().map(Into::into));
        self
    }

    /// Runs the compose file without any change, as far as two slots can: `container_name`, fixed host ports and fixed
    /// subnets are refused. Default: no; a file of the runtime leaves them out for the slots, and a plan shows it.
    pub fn as_written(mut self, as_written: bool) -> Self {
        self.wishes.as_written = as_written;
        self
    }

    /// How long containers without a healthcheck must run, without a restart, before they count as started. Default: no
    /// time; the pipeline's health check follows, and a container that ends before that has succeeded fails the release too.
    pub fn stabilization_time(mut self, time: Duration) -> Self {
        self.stabilization_time = time;
        self
    }

    /// How long a start may take until all is healthy. Default: 5 minutes ([`DEFAULT_START_DEADLINE`](crate::DEFAULT_START_DEADLINE)). A pipeline gives it
    /// that long also where its own deadline is shorter, and the error says what was not ready.
    pub fn start_deadline(mut self, limit: Duration) -> Self {
        self.start_deadline = limit;
        self
    }

    /// How often the engine may restart a container, by its own `restart:` policy, until its slot is healthy. Default: as often
    /// as it likes until the deadline: that of the [start](Self::start_deadline), or the pipeline's for the health check. The error
    /// then says how often it ended, and how. With 0, the first end of a container fails the start. Later restarts are never allowed.
    pub fn restarts_allowed(mut self, count: u32) -> Self {
        self.restarts_allowed = Some(count);
        self
    }

    /// Says that this service ends when its work is done: the slot is ready when it has ended with exit status 0, and no start
    /// is without it.
    ///
    /// Services that others wait for by `service_completed_successfully` are jobs without being named. Those without an endpoint
    /// whose `restart:` is `no` or `on-failure` may end at any time, and one without any `restart:` until its slot is healthy.
    pub fn job(mut self, service: impl Into<String>) -> Self {
        self.wishes.jobs.insert(service.into());
        self
    }

    /// Runs these services in the slot that has all traffic, and not in the other one: schedulers, and workers whose work must
    /// not be done twice.
    ///
    /// They are created with their slot, started when all traffic has moved to it, and stopped in the other slot just before.
    /// When traffic goes back, so do they.
    pub fn only_while_live<S: Into<String>>(mut self, services: impl IntoIterator<Item = S>) -> Self {
        self.wishes.only_while_live.extend(services.into_iter().map(Into::into));
        self
    }

    /// The directory on the host for what must outlive this process: which images each version was prepared with, our
    /// own compose file of each slot, and the last log of a slot that was removed. It is made when it is first needed,
    /// for this user only.
    ///
    /// Default: `.bluegreen/<service>` beside the first compose file.
    pub fn state_directory(mut self, path: impl Into<String>) -> Self {
        self.state = Some(path.into());
        self
    }

    /// Keeps what each version was prepared with, and the last log of a slot that was removed, in a directory of another
    /// host: the [server](Engine::server) of an [engine](Self::engine) that is not here. A deploy from a fresh checkout then
    /// knows what was deployed before. Our own compose files stay beside Compose.
    ///
    /// Default: it is all in the [state directory](Self::state_directory).
    pub fn records_on(mut self, host: impl Host, path: impl Into<String>) -> Self {
        self.records = Some((Arc::new(host), path.into()));
        self
    }

    /// Calls Compose by these words, such as `["docker-compose"]` or `["sudo", "docker", "compose"]`. Default:
    /// `docker compose`, and `docker-compose` where there is no such plugin.
    pub fn compose_program<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.program = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// Takes a version's new content where it was prepared before with other content. Default: refused.
    pub fn accept_changed_content(mut self, accept: bool) -> Self {
        self.accept_changed_content = accept;
        self
    }

    /// Checks the configuration. Nothing is connected yet.
    ///
    /// # Errors
    /// `Config` when a name is not valid, a variable is set by the runtime itself, or two endpoints have one name.
    pub fn build(self) -> Result<ComposeRuntime> {
        let service = ServiceName::new(self.service)?;
        let project = self.project.unwrap_or_else(|| service.as_str().to_owned());
        check_project(&project)?;
        let shared_project = self.shared_project.unwrap_or_else(|| format!("{project}-shared"));
        check_project(&shared_project)?;
        for name in self.environment.keys() {
            check_variable(name)?;
        }
        if let Some(file) = self.files.iter().find(|file| file.is_empty() || file.starts_with('-')) {
            return Err(Error::config(format!("{file:?} is not the path of a compose file"))
                .with_hint("put ./ before a name that begins with a dash"));
        }
        if self.program.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::config("the words to call Compose by are missing"));
        }
        let mut names: Vec<_> = self.wishes.endpoints.iter().map(|endpoint| &endpoint.name).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::config(format!("two endpoints are called {:?}", pair[0])));
        }
        let state = self.state.unwrap_or_else(|| {
            let directory = self.files[0].rsplit_once('/').map_or(".", |(directory, _)| directory);
            format!("{directory}/.bluegreen/{service}")
        });
        let ownership = Ownership::new();
        ownership.bind(&service)?;
        let directory = |host, path| StateDirectory::new(host, path, ownership.clone());
        let state = directory(Arc::clone(&self.host), state);
        let records = self.records.map_or_else(|| state.clone(), |(host, path)| directory(host, path));
        let engine = match self.engine {
            Some(engine) if self.engine_is_elsewhere => engine,
            Some(engine) => engine.moved_to(Arc::clone(&self.host)),
            None => Engine::on(Arc::clone(&self.host)),
        };
        let compose = Compose {
            host: Arc::clone(&self.host),
            files: self.files,
            mask: mask_of(self.environment.values()),
            environment: self.environment,
            given_program: self.program,
            engine_is_elsewhere: self.engine_is_elsewhere,
            program: tokio::sync::OnceCell::new(),
            all_files: tokio::sync::OnceCell::new(),
        };
        Ok(ComposeRuntime {
            inner: Arc::new(Inner {
                slots: Slots {
                    service,
                    ownership,
                    groups: PerSlot::from_fn(|slot| Group::project(format!("{project}-{slot}"))),
                    engine,
                    mask: compose.mask.clone(),
                    stabilization_time: self.stabilization_time,
                    start_deadline: self.start_deadline,
                    restarts_allowed: self.restarts_allowed,
                    accept_changed_content: self.accept_changed_content,
                    records,
                    brought_up: BroughtUp::default(),
                },
                compose,
                wishes: self.wishes,
                shared_project,
                state,
            }),
        })
    }
}

/// What Compose accepts as the name of a project.
fn check_project(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.chars().all(good) && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::config(format!("{name:?} cannot be the name of a Compose project: those are of a-z 0-9 _ -"))
        .with_hint("name the projects otherwise, with `.project(..)`"))
}

pub(crate) fn check_variable(name: &str) -> Result<()> {
    check_variable_name(name)?;
    if OWN_VARIABLES.contains(&name) || name == "DOCKER_HOST" {
        return Err(Error::config(format!("the variable {name} is set by the runtime itself")));
    }
    Ok(())
}
