//! How a [`ComposeRuntime`] is made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::host::check_variable_name;
use bluegreen_core::{Error, Host, LocalHost, Result, Secret, ServiceName, Slot};

use super::records::StateDirectory;
use super::{ComposeRuntime, Inner};
use crate::compose::{Compose, OWN_VARIABLES};
use crate::endpoint::EndpointPort;
use crate::engine::Engine;
use crate::mask::Mask;

/// How long containers without a healthcheck must run before they count as started. Long enough to see a program that
/// cannot find its database.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(2);

/// How long a start may take in all: some frameworks take minutes.
pub const DEFAULT_START_DEADLINE: Duration = Duration::from_secs(5 * 60);

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
    endpoints: Vec<EndpointPort>,
    settle: Duration,
    start_deadline: Duration,
    state: Option<String>,
    records: Option<StateDirectory>,
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
            endpoints: Vec::new(),
            settle: DEFAULT_SETTLE,
            start_deadline: DEFAULT_START_DEADLINE,
            state: None,
            records: None,
            program: None,
            accept_changed_content: false,
        }
    }

    /// Adds a compose file that overrides those before it.
    pub fn override_file(mut self, file: impl Into<String>) -> Self {
        self.files.push(file.into());
        self
    }

    /// What the slots' projects are called before `-blue` and `-green`; the service's name unless set.
    pub fn project(mut self, prefix: impl Into<String>) -> Self {
        self.project = Some(prefix.into());
        self
    }

    /// The host on which the compose files are and Compose runs; this machine unless set. Its engine is used too.
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
        self.engine = Some(Engine::local().at(address));
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
    /// Where the compose file does not publish that port, it is published on 127.0.0.1 of the engine's machine, on a
    /// port from 20000 to 32767. Where the file leaves the port open or gives a range, one is chosen from that. Either
    /// way it is the container's own from then on, also when it restarts, and the same at the slot's next start where
    /// nobody else has it. Compose before 2.25 cannot fix what the file publishes itself; `start` then warns.
    ///
    /// The first endpoint is the one that is used where none is named.
    pub fn endpoint(mut self, name: impl Into<String>, service: impl Into<String>, port: u16) -> Self {
        self.endpoints.push(EndpointPort { name: name.into(), service: service.into(), port });
        self
    }

    /// How long containers without a healthcheck must run, without a restart, before they count as started;
    /// [`DEFAULT_SETTLE`] unless set.
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// How long a start may take until all is healthy; [`DEFAULT_START_DEADLINE`] unless set. A pipeline gives it that
    /// long also where its own deadline is shorter, and the error says what was not ready.
    pub fn start_deadline(mut self, limit: Duration) -> Self {
        self.start_deadline = limit;
        self
    }

    /// The directory on the host for what must outlive this process: which images each version was prepared with, our
    /// own compose file of each slot, and the last log of a slot that was removed. It is made when it is first needed,
    /// for this user only.
    ///
    /// Unless set, it is `.bluegreen/<service>` beside the first compose file.
    pub fn state_directory(mut self, path: impl Into<String>) -> Self {
        self.state = Some(path.into());
        self
    }

    /// Keeps what each version was prepared with, and the last log of a slot that was removed, in a directory of another
    /// host: the [server](Engine::server) of an [engine](Self::engine) that is not here. A deploy from a fresh checkout then
    /// knows what was deployed before. Our own compose files stay beside Compose.
    ///
    /// Unless set, it is all in the [state directory](Self::state_directory).
    pub fn records_on(mut self, host: impl Host, path: impl Into<String>) -> Self {
        self.records = Some(StateDirectory { host: Arc::new(host), path: path.into() });
        self
    }

    /// Calls Compose by these words, such as `["docker-compose"]` or `["sudo", "docker", "compose"]`. Unless set, it is
    /// `docker compose`, and `docker-compose` where there is no such plugin.
    pub fn compose_program<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.program = Some(words.into_iter().map(Into::into).collect());
        self
    }

    /// Takes a version's new content where it was prepared before with other content. Refused unless set.
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
        for name in self.environment.keys() {
            check_variable(name)?;
        }
        if let Some(file) = self.files.iter().find(|file| file.is_empty() || file.starts_with('-')) {
            return Err(Error::config(format!("{file:?} is not the path of a compose file"))
                .advice("put ./ before a name that begins with a dash"));
        }
        if self.program.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::config("the words to call Compose by are missing"));
        }
        let mut names: Vec<_> = self.endpoints.iter().map(|endpoint| &endpoint.name).collect();
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::config(format!("two endpoints are called {:?}", pair[0])));
        }
        let state = self.state.unwrap_or_else(|| {
            let directory = self.files[0].rsplit_once('/').map_or(".", |(directory, _)| directory);
            format!("{directory}/.bluegreen/{service}")
        });
        let state = StateDirectory { host: self.host.clone(), path: state };
        let engine = match self.engine {
            Some(engine) if self.engine_is_elsewhere => engine,
            Some(engine) => engine.moved_to(Arc::clone(&self.host)),
            None => Engine::on(Arc::clone(&self.host)),
        };
        let compose = Compose {
            host: Arc::clone(&self.host),
            files: self.files,
            mask: Mask::new(self.environment.values()),
            environment: self.environment,
            given_program: self.program,
            engine_is_elsewhere: self.engine_is_elsewhere,
            program: tokio::sync::OnceCell::new(),
        };
        Ok(ComposeRuntime {
            inner: Arc::new(Inner {
                service,
                projects: Slot::BOTH.map(|slot| format!("{project}-{slot}")),
                engine,
                compose,
                endpoints: self.endpoints,
                settle: self.settle,
                start_deadline: self.start_deadline,
                accept_changed_content: self.accept_changed_content,
                records: self.records.unwrap_or_else(|| state.clone()),
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
        .advice("name the projects otherwise, with `.project(..)`"))
}

pub(crate) fn check_variable(name: &str) -> Result<()> {
    check_variable_name(name)?;
    if OWN_VARIABLES.contains(&name) || name == "DOCKER_HOST" {
        return Err(Error::config(format!("the variable {name} is set by the runtime itself")));
    }
    Ok(())
}
