//! How a [`ContainerRuntime`] is made.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Host, Ownership, PerSlot, Result, Secret, ServiceName};

use super::settings::{Settings, is_name};
use super::{ContainerRuntime, Inner};
use crate::endpoint::EndpointPort;
use crate::engine::Engine;
use crate::mask::mask_of;
use crate::slot::brought_up::BroughtUp;
use crate::slot::group::Group;
use crate::slot::records::StateDirectory;
use crate::slot::slots::{DEFAULT_START_DEADLINE, Slots};

/// Configures a [`ContainerRuntime`]; see [`ContainerRuntime::builder`].
#[derive(Debug)]
#[must_use]
pub struct ContainerRuntimeBuilder {
    service: String,
    image: String,
    name: Option<String>,
    engine: Engine,
    settings: Settings,
    stabilization_time: Duration,
    start_deadline: Duration,
    restarts_allowed: u32,
    records: Option<Arc<dyn Host>>,
    directory: Option<String>,
    accept_changed_content: bool,
}

impl ContainerRuntimeBuilder {
    pub(super) fn new(service: String, image: String) -> Self {
        Self {
            service,
            image,
            name: None,
            engine: Engine::local(),
            settings: Settings::default(),
            stabilization_time: Duration::ZERO,
            start_deadline: DEFAULT_START_DEADLINE,
            restarts_allowed: 0,
            records: None,
            directory: None,
            accept_changed_content: false,
        }
    }

    /// What the containers are called before `-blue` and `-green`. Default: the service's name.
    pub fn name(mut self, prefix: impl Into<String>) -> Self {
        self.name = Some(prefix.into());
        self
    }

    /// The engine. Default: the one that the `docker` command on this machine would take. On a server, it is [`Engine::on`] its
    /// host or [`Engine::over_ssh`], and the endpoints are [there](Engine::server).
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The TCP port that the program listens on, at `0.0.0.0` of its container: `PORT` in its environment. It is published on
    /// 127.0.0.1 of the engine's machine, on a port from 20000 to 32767, and is the slot's endpoint `http`. Default: none, and
    /// no endpoint.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.port = Some(port);
        self
    }

    /// The words of the command. Default: the image's.
    pub fn command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.settings.command = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// The words that go before the command. Default: the image's. With them, the image's command is not used.
    pub fn entrypoint<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.settings.entrypoint = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// Sets a variable in the container's environment, where whoever may use the engine can read it. In errors and logs, values
    /// of six characters or more are replaced by `***`.
    pub fn env(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.settings.environment.insert(name.into(), value);
        self
    }

    /// Mounts a volume by its name, or a directory of the engine's machine by its absolute path, which must exist, at an absolute
    /// path of the container. Both slots have it open for writing at the same time: uploads can be kept so, a database cannot.
    pub fn volume(mut self, source: impl Into<String>, place: impl Into<String>) -> Self {
        self.settings.volumes.insert(place.into(), source.into());
        self
    }

    /// How many bytes of memory the container may take. Default: as many as there are.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.settings.memory = Some(bytes);
        self
    }

    /// How many CPUs the container may keep busy: `1.5`. Default: all of them.
    pub fn cpus(mut self, cpus: f64) -> Self {
        self.settings.cpus = Some(cpus);
        self
    }

    /// A command in the container that succeeds while it is healthy. Default: the image's `HEALTHCHECK`; without that, a
    /// container is ready when it has run for the [`stabilization_time`](Self::stabilization_time).
    pub fn health_command<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.settings.health_command = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// How often the [`health_command`](Self::health_command) is run. Default: every 2 seconds
    /// ([`DEFAULT_HEALTH_INTERVAL`](crate::DEFAULT_HEALTH_INTERVAL)).
    pub fn health_interval(mut self, interval: Duration) -> Self {
        self.settings.health_interval = interval;
        self
    }

    /// How often in a row the [`health_command`](Self::health_command) fails until the container is unhealthy, which fails a
    /// start at once. Default: 15 times ([`DEFAULT_HEALTH_RETRIES`](crate::DEFAULT_HEALTH_RETRIES)); a program that takes longer
    /// to listen needs more.
    pub fn health_retries(mut self, count: u32) -> Self {
        self.settings.health_retries = count;
        self
    }

    /// The network that the containers are on, such as that of a database. It must exist, and is never changed; on it, each slot
    /// is known by its container's name alone. Default: the engine's own.
    pub fn network(mut self, name: impl Into<String>) -> Self {
        self.settings.network = Some(name.into());
        self
    }

    /// Who the program runs as: a name or a number, with `:group` if that is to be given. Default: the image's.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.settings.user = Some(user.into());
        self
    }

    /// Whether the container's first process is the engine's init, which hands signals on and collects what has ended.
    /// Default: yes, because many programs ignore `SIGTERM` as the first process.
    pub fn init(mut self, init: bool) -> Self {
        self.settings.init = init;
        self
    }

    /// What the engine does when the container ends: `no`, `always`, `unless-stopped` or `on-failure[:count]`. Default:
    /// `unless-stopped`, so that it is there again after a reboot. So is a release that is kept in the other slot. One that was
    /// stopped has no container.
    pub fn restart(mut self, policy: impl Into<String>) -> Self {
        self.settings.restart = policy.into();
        self
    }

    /// How long a container without a healthcheck must run, without a restart, before it counts as started. Default: no time;
    /// the pipeline's health check follows, and a container that ends before that has succeeded fails the release too.
    pub fn stabilization_time(mut self, time: Duration) -> Self {
        self.stabilization_time = time;
        self
    }

    /// How long a start may take until the container is ready. Default: 5 minutes
    /// ([`DEFAULT_START_DEADLINE`](crate::DEFAULT_START_DEADLINE)). A pipeline gives it that long also where its own deadline is
    /// shorter.
    pub fn start_deadline(mut self, limit: Duration) -> Self {
        self.start_deadline = limit;
        self
    }

    /// How long the container is given to end, also where the pipeline gives less. Default: what the pipeline gives.
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.settings.stop_grace = Some(grace);
        self
    }

    /// How often the engine may restart the container, by its [restart policy](Self::restart), until its slot is healthy.
    /// Default: never; its first end fails the start. One that waits for a database by ending needs more.
    pub fn restarts_allowed(mut self, count: u32) -> Self {
        self.restarts_allowed = count;
        self
    }

    /// The directory for what must outlive this process: which image each version was prepared with, and the last log of a slot
    /// that was removed. It is made when it is first needed, for this user only. It is on the engine's host: this machine for
    /// [`Engine::local`], the server for [`Engine::on`] it.
    ///
    /// Default: `.bluegreen/<service>`, in the directory in which that host runs commands.
    pub fn state_directory(mut self, path: impl Into<String>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Keeps that directory on another host, such as the [server](Engine::server) of an [`Engine::over_ssh`]. A deploy from a
    /// fresh checkout then knows what was deployed before.
    pub fn records_on(mut self, host: impl Host, path: impl Into<String>) -> Self {
        self.records = Some(Arc::new(host));
        self.directory = Some(path.into());
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
    /// `Config` when a name is not valid, a variable is set by the runtime itself, or the engine would refuse a setting.
    pub fn build(self) -> Result<ContainerRuntime> {
        let service = ServiceName::new(self.service)?;
        let name = self.name.unwrap_or_else(|| service.as_str().to_owned());
        if !is_name(&name) {
            return Err(Error::config(format!("{name:?} cannot be the name of a container"))
                .with_hint("name the containers otherwise, with `.name(..)`"));
        }
        if self.image.is_empty() {
            return Err(Error::config("the image's name is empty"));
        }
        self.settings.check()?;
        let ownership = Ownership::new();
        ownership.bind(&service)?;
        let host = self.records.unwrap_or_else(|| Arc::clone(self.engine.host()));
        let directory = self.directory.unwrap_or_else(|| format!(".bluegreen/{service}"));
        let endpoint = |port| EndpointPort { name: "http".to_owned(), service: service.as_str().to_owned(), port };
        let endpoints = self.settings.port.map(endpoint).into_iter().collect();
        Ok(ContainerRuntime {
            inner: Arc::new(Inner {
                slots: Slots {
                    groups: PerSlot::from_fn(|slot| Group::container(format!("{name}-{slot}"))),
                    engine: self.engine,
                    mask: mask_of(self.settings.environment.values()),
                    stabilization_time: self.stabilization_time,
                    start_deadline: self.start_deadline,
                    restarts_allowed: Some(self.restarts_allowed),
                    accept_changed_content: self.accept_changed_content,
                    records: StateDirectory::new(host, directory, ownership.clone()),
                    brought_up: BroughtUp::default(),
                    service,
                    ownership,
                },
                image: self.image,
                settings: self.settings,
                endpoints,
            }),
        })
    }
}
