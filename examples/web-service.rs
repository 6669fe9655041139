//! A deploy tool for one service of any language on one server: systemd runs it, nginx is in front. Copy it, and change what is
//! different with you.
//!
//! ```text
//! web-service setup             prepare the server, once (needs root there)
//! web-service deploy 1.4.0      build it, start it beside the live one, migrate, switch; the old one stays warm
//! web-service rollback          back to the release before, at once
//! web-service status | history | logs [-f] | exec -- WORDS... | recover | restore
//! ```
//! What it deploys, and where to, is in `deploy.toml`; `web-service.toml` beside this file is one to begin with.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use bluegreen_core::observer::ProgressDisplay;
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::{
    Command, Error, ErrorKind, Host, HostStateStore, Pipeline, Release, Result, Secret, Slot, Version,
};
use bluegreen_http::HttpCheck;
use bluegreen_nginx::{NginxConfig, NginxRouter};
use bluegreen_release::{Artifact, CommandMigrator, SystemdRuntime};
use bluegreen_ssh::{SshHost, SshHostBuilder};
use clap::{Parser, Subcommand};
use futures::StreamExt as _;
use serde::Deserialize;

#[derive(Parser)]
#[command(about = "Deploys a service to one server with systemd and nginx")]
struct Arguments {
    /// What is deployed, and where to.
    #[arg(long, global = true, default_value = "deploy.toml")]
    settings: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Prepare the server, once; it can be repeated.
    Setup {
        /// Print the script for an administrator instead of running it.
        #[arg(long)]
        print: bool,
    },
    /// Build a release and bring it live; the one that was live stays warm.
    Deploy { version: Version },
    /// Give the traffic back to the release before.
    Rollback,
    /// Show what runs, and who is live.
    Status,
    /// Show what was done last.
    History,
    /// Show the last lines of a slot's log; the live one's unless given.
    Logs {
        slot: Option<Slot>,
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
        /// Go on with each line as it is written.
        #[arg(short, long)]
        follow: bool,
    },
    /// Run a command in the live release, with its environment and this terminal.
    Exec {
        #[arg(last = true, required = true)]
        words: Vec<String>,
    },
    /// Bring to an end what a deploy that was killed has left.
    Recover,
    /// Bring the live release up again.
    Restore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    service: String,
    server: String,
    ssh_config: Option<PathBuf>,
    public: String,
    user: String,
    ports: [u16; 2],
    build: Option<Vec<String>>,
    artifact: String,
    run: Vec<String>,
    migrate: Option<Vec<String>>,
    env_file: Option<PathBuf>,
    #[serde(default)]
    shared: Vec<String>,
    assets: Option<String>,
    nginx: NginxConfig,
}

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    let Err(error) = run(Arguments::parse()).await else { return ExitCode::SUCCESS };
    eprint!("{}", error.render());
    ExitCode::FAILURE
}

async fn run(arguments: Arguments) -> Result<()> {
    let settings = Settings::read(&arguments.settings)?;
    let host = settings.host()?;
    let runtime = settings.runtime(&host)?;
    let pipeline = settings.pipeline(&host)?.observer(ProgressDisplay::stderr()).build()?;
    let report = match arguments.verb {
        Verb::Deploy { version } => pipeline.deploy(settings.build(&version).await?).await?,
        Verb::Rollback => pipeline.rollback().await?,
        Verb::Recover => pipeline.recover().await?,
        Verb::Restore => pipeline.restore().await?,
        Verb::Setup { print } => return set_up(&runtime, &settings.router(&host)?, print).await,
        other => return show(other, &runtime, &host, &pipeline).await,
    };
    println!("{report}");
    Ok(())
}

async fn set_up(runtime: &SystemdRuntime, router: &NginxRouter, print: bool) -> Result<()> {
    if print {
        print!("{}{}", runtime.setup_script(), router.setup_script());
        return Ok(());
    }
    runtime.setup().await?;
    router.setup().await
}

/// What leaves no report.
async fn show(verb: Verb, runtime: &SystemdRuntime, host: &SshHost, pipeline: &Pipeline) -> Result<()> {
    match verb {
        Verb::Status => print!("{}", pipeline.status().await?),
        Verb::Exec { words } => {
            let output = host.console(&runtime.exec(live(pipeline).await?, words)).await?;
            std::process::exit(output.status.unwrap_or(1));
        }
        Verb::Logs { slot, lines, follow } => {
            let slot = if let Some(slot) = slot { slot } else { live(pipeline).await? };
            if !follow {
                pipeline.logs(slot, lines).await?.iter().for_each(|line| println!("{line}"));
                return Ok(());
            }
            let mut log = pin!(pipeline.follow_logs(slot, lines));
            while let Some(line) = log.next().await {
                println!("{}", line?);
            }
        }
        _ => pipeline.history().await?.iter().rev().for_each(|entry| println!("{entry}")),
    }
    Ok(())
}

async fn live(pipeline: &Pipeline) -> Result<Slot> {
    let live = pipeline.status().await?.observed.live;
    live.ok_or_else(|| Error::new(ErrorKind::NotFound, "no slot is live: say blue or green"))
}

impl Settings {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let about = |error: Error| error.with_operation("read the settings").with("file", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| about(error.into()))?;
        toml::from_str(&text).map_err(|error| about(Error::config(error.to_string())))
    }

    pub(crate) fn host(&self) -> Result<SshHost> {
        let Some(file) = &self.ssh_config else { return SshHostBuilder::from_ssh_config(&self.server)?.build() };
        SshHostBuilder::from_ssh_config_file(file, &self.server)?.build()
    }

    pub(crate) fn runtime(&self, host: &(impl Host + Clone)) -> Result<SystemdRuntime> {
        let mut runtime =
            SystemdRuntime::builder(host.clone(), &self.service).user(&self.user).command(&self.run).ports(self.ports);
        for path in &self.shared {
            runtime = runtime.shared_directory(path);
        }
        if let Some(file) = &self.env_file {
            runtime = runtime.env_file(file);
        }
        if let Some(path) = &self.assets {
            runtime = runtime.assets(path);
        }
        runtime.build()
    }

    /// The deploy itself: what runs, who gets the traffic, where the record is, and what has to be true.
    pub(crate) fn pipeline(&self, host: &(impl Host + Clone)) -> Result<PipelineBuilder> {
        let runtime = self.runtime(host)?;
        // The idle slot listens on the server's loopback alone, and is looked at through the SSH connection.
        let health = HttpCheck::builder("/version").version_from_body().through(host.clone()).build()?;
        let public = HttpCheck::builder(format!("{}/version", self.public)).version_from_body().build()?;
        let mut pipeline = Pipeline::builder(&self.service)
            .router(self.router(host)?)
            .store(HostStateStore::new(host.clone(), format!("/srv/{}/state", self.service)))
            .health(health)
            .verify(public);
        if let Some(words) = &self.migrate {
            pipeline = pipeline.migrator(CommandMigrator::builder(&runtime, words).build());
        }
        Ok(pipeline.runtime(runtime))
    }

    fn router(&self, host: &(impl Host + Clone)) -> Result<NginxRouter> {
        let [blue, green] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        NginxRouter::new(host.clone(), self.nginx.clone().service(&self.service).slots(([blue], [green])))
    }

    pub(crate) async fn build(&self, version: &Version) -> Result<Release> {
        let path = self.artifact.replace("{version}", version.as_str());
        let Some((program, words)) = self.build.as_ref().and_then(|words| words.split_first()) else {
            return Artifact::open(path).await?.release(version.as_str());
        };
        // Not among the words: a shell would read it as a part of its script.
        let build = Command::new(program).args(words).env("VERSION", Secret::new(version.as_str()));
        eprintln!("building {version}: {build}");
        Artifact::built_by(&build.timeout(std::time::Duration::from_secs(60 * 60)), path)
            .await?
            .release(version.as_str())
    }
}
