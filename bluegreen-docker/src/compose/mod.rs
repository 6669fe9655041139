//! Compose, called as the tool it is: `docker compose` (v2), else `docker-compose` (v1).

mod difference;
mod overlay;
mod patch;
mod port;
mod program;
mod project;
mod slot_files;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Host, Mask, Output, Result, Secret, Target};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::engine::{Address, Engine};
use crate::mask::masked_output;

pub(crate) use difference::difference;
pub(crate) use overlay::{Overlay, OwnPorts};
pub(crate) use patch::{Patch, Said};
pub(crate) use port::{Port, Wish};
use program::Program;
pub(crate) use project::{DependsOn, Mount, Network, Project, Service};
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
    pub(crate) all_files: OnceCell<Vec<String>>,
}

impl Compose {
    /// What the compose files come to for a release, in a slot's project.
    pub(crate) async fn project(&self, engine: &Engine, name: &str, target: &Target) -> Result<Project> {
        let program = self.program().await?;
        let command = self.command(engine, name, target, None).await?;
        self.resolve(command, program.is_v1()).await
    }

    /// What the files that a command names come to, as a whole.
    pub(crate) async fn resolved(&self, command: Command) -> Result<Value> {
        let v1 = self.program().await?.is_v1();
        project::value(&self.print(command, v1).await?.stdout, v1)
    }

    async fn resolve(&self, command: Command, v1: bool) -> Result<Project> {
        let output = self.print(command, v1).await?;
        let mut project =
            Project::parse(&output.stdout, v1).map_err(|error| error.with("compose file", self.files.join(", ")))?;
        project.warnings = warnings(&self.mask.apply(&output.error_text()));
        Ok(project)
    }

    async fn print(&self, command: Command, v1: bool) -> Result<Output> {
        let arguments: &[&str] = if v1 { &["config"] } else { &["config", "--format", "json"] };
        let command = command.args(arguments.iter().copied()).called("docker compose config");
        // It holds all that was given as variables, and is cut at its beginning where it is longer.
        let command = command.timeout(READ_LIMIT).output_limit(16 << 20);
        let output = match self.host.run(&command).await {
            // Only what is not used is shown to anyone.
            Ok(output) if !output.success() => self.masked(output, &command).ok(&command, &self.host),
            outcome => outcome,
        };
        output.map_err(|error| {
            self.explained(error.not_applied())
                .with_operation("read the compose file")
                .with("compose file", self.files.join(", "))
        })
    }

    /// The compose files, with the one that Compose reads by itself beside the first.
    async fn files(&self) -> Result<&[String]> {
        let find = async || match (self.files.as_slice(), standard_override(&self.files)) {
            ([only], Some(names)) => {
                let script = r#"for path; do if [ -f "$path" ]; then printf '%s\n' "$path"; exit; fi; done"#;
                let command = Command::script(script).called("look for an override file").args(names);
                let output = self.host.run(&command).await?.ok(&command, &self.host)?;
                let text = output.text();
                let beside = text.lines().next().map(str::to_owned);
                Ok([only.clone()].into_iter().chain(beside).collect())
            }
            (files, _) => Ok::<_, Error>(files.to_vec()),
        };
        self.all_files.get_or_try_init(find).await.map(Vec::as_slice).map_err(Error::not_applied)
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
        let overlay = slot.map(|files| files.overlay.as_str());
        self.command_by(engine, words, name, target, overlay).await
    }

    /// Compose on these files, and on one more that is given to it and not written anywhere.
    pub(crate) async fn command_with(
        &self,
        engine: &Engine,
        name: &str,
        target: &Target,
        overlay: &str,
    ) -> Result<Command> {
        let words = self.program().await?.words().to_vec();
        let command = self.command_by(engine, words, name, target, Some("-")).await?;
        Ok(command.stdin(overlay))
    }

    /// Compose on these files, and on one more of ours at this path. v1 takes such a file in no other way.
    pub(crate) async fn command_over(
        &self,
        engine: &Engine,
        name: &str,
        target: &Target,
        path: &str,
    ) -> Result<Command> {
        let words = self.program().await?.words().to_vec();
        self.command_by(engine, words, name, target, Some(path)).await
    }

    async fn command_by(
        &self,
        engine: &Engine,
        words: Vec<String>,
        name: &str,
        target: &Target,
        overlay: Option<&str>,
    ) -> Result<Command> {
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default()).args(words);
        command = command.args(["-p", name]);
        for file in self.files().await?.iter().map(String::as_str).chain(overlay) {
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
            ErrorKind::NotFound => self.explained(error).with_hint("is flock there? It comes with util-linux"),
            _ => self.explained(error),
        })?;
        Ok(self.masked(under_lock(output)?, command))
    }

    fn masked(&self, output: Output, command: &Command) -> Output {
        let hide = |bytes: &[u8]| masked_output(&self.mask, bytes, bytes.len() >= command.kept_output()).into_bytes();
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
        self.program
            .get_or_try_init(find)
            .await
            .map_err(|error| error.with_operation("find Compose").with("host", &self.host))
    }

    fn explained(&self, error: Error) -> Error {
        error.with("host", &self.host)
    }
}

/// Which files Compose reads beside one that has a name it looks for by itself, in its order.
fn standard_override(files: &[String]) -> Option<Vec<String>> {
    let [only] = files else { return None };
    let (directory, name) = only.rsplit_once('/').map_or(("", only.as_str()), |(directory, name)| (directory, name));
    let is_standard = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"].contains(&name);
    let slash = if only.contains('/') { "/" } else { "" };
    let names = ["compose.override", "docker-compose.override"];
    let beside = names.iter().flat_map(|name| ["yml", "yaml"].map(|end| format!("{directory}{slash}{name}.{end}")));
    is_standard.then(|| beside.collect())
}

/// What Compose says on standard error while it reads, without what is of no consequence.
fn warnings(said: &str) -> Vec<String> {
    let message = |line: &str| {
        let (_, rest) = line.split_once("level=warning msg=")?;
        let text: String = serde_json::from_str(rest.trim()).unwrap_or_else(|_| rest.trim_matches('"').to_owned());
        (!text.contains("`version` is obsolete")).then_some(text)
    };
    // v1 says it in words of its own.
    let of_v1 = |line: &str| line.strip_prefix("WARNING: ").map(str::to_owned);
    let mut all: Vec<_> = said.lines().filter_map(|line| message(line).or_else(|| of_v1(line))).collect();
    all.dedup();
    all
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
