//! Compose, called as the tool it is: `docker compose` (v2), else `docker-compose` (v1).

mod overlay;
mod port;
mod program;
mod project;
mod slot_files;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Host, Output, Result, Secret, Target};
use tokio::sync::OnceCell;

use crate::engine::{Address, Engine};
use crate::mask::Mask;

pub(crate) use overlay::{Overlay, OwnPorts};
pub(crate) use port::{Port, Wish, in_words};
use program::Program;
pub(crate) use project::{Project, PullPolicy};
use slot_files::under_lock;
pub(crate) use slot_files::{SlotFiles, wait_for_others};

/// The variables that are set for the compose file by ourselves.
pub(crate) const OWN_VARIABLES: [&str; 2] = ["VERSION", "SLOT"];

/// How long Compose may take to read its files.
const READ_LIMIT: Duration = Duration::from_secs(120);

/// The compose files of a service, and how Compose is called on them.
pub(crate) struct Compose {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) files: Vec<String>,
    pub(crate) environment: BTreeMap<String, Secret>,
    /// Hides the values of the environment.
    pub(crate) mask: Mask,
    /// The program's words, where they are given.
    pub(crate) given_program: Option<Vec<String>>,
    /// Whether the engine is not the one of `host`, but is reached from there by our tunnel.
    pub(crate) engine_is_elsewhere: bool,
    pub(crate) program: OnceCell<Program>,
}

impl Compose {
    /// What the compose files come to for a release, in a slot's project.
    pub(crate) async fn project(&self, engine: &Engine, name: &str, target: &Target) -> Result<Project> {
        let program = self.program().await?;
        let arguments: &[&str] = if program.is_v1() { &["config"] } else { &["config", "--format", "json"] };
        let command = self.command(engine, name, target, None).await?.args(arguments.iter().copied());
        // It holds all that was given as variables, and is cut at its beginning where it is longer.
        let command = command.timeout(READ_LIMIT).output_limit(16 << 20);
        let output = match self.host.run(&command).await {
            // Only what is not used is shown to anyone.
            Ok(output) if !output.success() => self.masked(output, &command).ok(&command, &self.host),
            outcome => outcome,
        };
        let output = output.map_err(|error| {
            self.explained(error.not_applied())
                .trying("read the compose file")
                .with("compose file", self.files.join(", "))
        })?;
        Project::parse(&output.stdout, program.is_v1())
            .map_err(|error| error.with("compose file", self.files.join(", ")).with("program", program))
    }

    /// Compose on these files; without what it is to do. With the files of the slot, it may change that.
    pub(crate) async fn command(
        &self,
        engine: &Engine,
        name: &str,
        target: &Target,
        slot: Option<&SlotFiles>,
    ) -> Result<Command> {
        let program = self.program().await?;
        let mut words = slot.map(SlotFiles::locking).unwrap_or_default();
        words.extend(program.words().iter().cloned());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default()).args(words);
        command = command.args(["-p", name]);
        let overlay = slot.map(|files| files.overlay.as_str());
        for file in self.files.iter().map(String::as_str).chain(overlay) {
            command = command.args(["-f", file]);
        }
        for (name, value) in &self.environment {
            command = command.env(name, value.clone());
        }
        for (name, value) in target.release.settings() {
            command = command.env(name, Secret::new(value));
        }
        let own = [target.version().as_str(), target.slot.as_str()];
        for (name, value) in OWN_VARIABLES.into_iter().zip(own) {
            command = command.env(name, Secret::new(value));
        }
        if let Some(address) = self.docker_host(engine).await? {
            command = command.env("DOCKER_HOST", Secret::new(address.to_string()));
        }
        Ok(command)
    }

    /// Runs a command of Compose that changes a slot to its end. A non-zero exit status is not an error here. The output
    /// shows no secrets.
    pub(crate) async fn run(&self, command: &Command) -> Result<Output> {
        let output = self.host.run(command).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.explained(error).advice("is flock there? It comes with util-linux"),
            _ => self.explained(error),
        })?;
        Ok(self.masked(under_lock(output)?, command))
    }

    fn masked(&self, output: Output, command: &Command) -> Output {
        let hide = |bytes: &[u8]| self.mask.apply_to_end(bytes, bytes.len() >= command.kept_output()).into_bytes();
        Output { stdout: hide(&output.stdout), stderr: hide(&output.stderr), ..output }
    }

    /// Compose v1 knows nothing of contexts, so both are told which engine we found. Not so a context with certificates:
    /// Compose then looks it up by itself.
    async fn docker_host(&self, engine: &Engine) -> Result<Option<Address>> {
        let connected = engine.connected().await?;
        let settings = &connected.settings;
        if settings.from_context && settings.certificates.is_some() {
            return Ok(None);
        }
        let is_elsewhere = self.engine_is_elsewhere || matches!(settings.address, Address::Ssh { .. });
        Ok(Some(if is_elsewhere { connected.reached_at.clone() } else { settings.address.clone() }))
    }

    pub(crate) async fn program(&self) -> Result<&Program> {
        let find = || Program::find(&self.host, self.given_program.as_deref());
        self.program.get_or_try_init(find).await.map_err(|error| error.trying("find Compose").with("host", &self.host))
    }

    fn explained(&self, error: Error) -> Error {
        error.with("host", &self.host)
    }
}

impl fmt::Debug for Compose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compose")
            .field("host", &self.host)
            .field("files", &self.files)
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
}
