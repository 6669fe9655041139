//! A deploy tool for an Elixir release on one server behind nginx. Copy it with `src/cli.rs`, and change what is different with
//! you.
//!
//! ```text
//! beam-nginx deploy 1.4.0          build it, start it beside the live one, migrate, switch; the old one stays warm
//! beam-nginx deploy 1.4.0 --stage  the same without the switch, which is then: beam-nginx promote green
//! beam-nginx rollback              back to the release before, at once
//! beam-nginx check --max-age 7d    exits with 1 if the last deploy is longer ago
//! beam-nginx build | migrate | console | status | history | logs | recover | restore | retire-now | unlock
//! ```
//! What it deploys, and where to, is in `deploy.toml`; `beam-nginx.toml` beside this file is one to begin with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bluegreen_core::observer::ProgressDisplay;
use bluegreen_core::pipeline::{PipelineBuilder, Report};
use bluegreen_core::state::SlotStatus;
use bluegreen_core::{
    Command, Error, ErrorKind, HostStateStore, Phase, Pipeline, Result, Runtime, Secret, Slot, Split, Version,
    parse_duration,
};
use bluegreen_examples::cli::{Wanted, check_age, exit_code, print_history, read_toml};
use bluegreen_http::{HttpCheck, all};
use bluegreen_nginx::{NginxConfig, NginxRouter};
use bluegreen_ssh::{Artifact, BeamMigrator, BeamRuntime, DEFAULT_EPMD_PORT, SshHost, SshHostBuilder};
use clap::{Parser, Subcommand};
use serde::Deserialize;

#[derive(Parser)]
#[command(about = "Deploys an Elixir release to one server behind nginx")]
struct Arguments {
    /// What is deployed, and where to.
    #[arg(long, global = true, default_value = "deploy.toml")]
    settings: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build a release, and nothing more.
    Build { version: Version },
    /// Build a release and bring it live; the one that was live stays warm.
    Deploy {
        version: Version,
        /// Stop before the switch, for a look at it; `promote` does the rest.
        #[arg(long)]
        stage: bool,
    },
    /// Give the traffic to a slot: to what is staged there, or back to what was kept warm there.
    Promote { slot: Slot },
    /// Give the traffic back to the release before.
    Rollback,
    /// Run the migrations of the release in a slot; of the one that is staged or live unless given.
    Migrate { slot: Option<Slot> },
    /// Open a console on the node in a slot; the live one unless given.
    Console { slot: Option<Slot> },
    /// Show what runs, who is live, and what was done last.
    Status,
    /// Show what was done, the last first: all of it, or what matches.
    History(Wanted),
    /// Exit with 1, and say so in one line, if the last deploy is too long ago.
    Check {
        /// 12h, 7d or 2w.
        #[arg(long, value_parser = parse_duration, default_value = "7d")]
        max_age: Duration,
    },
    /// Show the last lines of a slot's log; the live one's unless given.
    Logs {
        slot: Option<Slot>,
        #[arg(long, default_value_t = 100)]
        lines: usize,
    },
    /// Bring to an end what a deploy that was killed has left.
    Recover,
    /// Bring the live release up again, after a restart of the server.
    Restore,
    /// Stop what waits in the idle slot, staged or kept.
    #[command(alias = "retire_now")]
    RetireNow,
    /// Take the lease from a deployer that hangs; `recover` then brings what it left to an end.
    Unlock,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    app: String,
    server: String,
    ssh_config: Option<PathBuf>,
    public: String,
    directory: String,
    ports: [u16; 2],
    epmd_port: Option<u16>,
    env_file: PathBuf,
    build: Vec<String>,
    tarball: String,
    migrate: Option<String>,
    nginx: NginxConfig,
}

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    exit_code(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let settings = Settings::read(&arguments.settings)?;
    let host = settings.host()?;
    let runtime = settings.runtime(&host)?;
    let pipeline = settings.pipeline(&host)?.observer(ProgressDisplay::stderr()).build()?;
    let report = match arguments.verb {
        Verb::Build { version } => return settings.build(&version).await.map(|it| println!("{}", it.file().display())),
        Verb::Deploy { version, stage } => {
            let release = settings.build(&version).await?.release(version)?;
            if stage { pipeline.stage(release).await? } else { pipeline.deploy(release).await? }
        }
        Verb::Promote { slot } => promote(&pipeline, slot).await?,
        Verb::Rollback => pipeline.rollback().await?,
        Verb::Migrate { slot: Some(slot) } => pipeline.migrate_slot(slot).await?,
        Verb::Migrate { slot: None } => pipeline.migrate(Phase::Expand).await?,
        Verb::Recover => pipeline.recover().await?,
        Verb::Restore => pipeline.restore().await?,
        Verb::RetireNow => pipeline.retire_now().await?,
        Verb::Unlock => {
            match pipeline.unlock().await? {
                Some(holder) => println!("the lease was taken from {holder}: `recover` brings what it left to an end"),
                None => println!("nobody holds the lease"),
            }
            return Ok(());
        }
        Verb::Console { slot } => {
            let slot = given_or_live(&pipeline, slot).await?;
            return runtime.console(&host, slot).await;
        }
        Verb::Logs { slot, lines } => {
            let slot = given_or_live(&pipeline, slot).await?;
            runtime.logs(slot, lines).await?.iter().for_each(|line| println!("{line}"));
            return Ok(());
        }
        Verb::Status => {
            print!("{}", pipeline.status().await?);
            pipeline.history().await?.iter().rev().take(10).for_each(|past| println!("{past}"));
            return Ok(());
        }
        Verb::History(wanted) => return print_history(&pipeline, wanted).await,
        Verb::Check { max_age } => return check_age(&pipeline, max_age).await,
    };
    println!("{report}");
    Ok(())
}

/// A slot is given the traffic by going on with what is staged there, or by going back to what was kept there.
async fn promote(pipeline: &Pipeline, slot: Slot) -> Result<Report> {
    let status = pipeline.status().await?;
    let (has_all, record) = (status.observed.split == Some(Split::all(slot)), status.state.slot(slot));
    match record.status {
        _ if has_all && record.confirmed.is_some() => Err(Error::config(format!("{slot} is live already"))),
        // Also one that has the traffic and was never seen to answer: that is made up for.
        status if has_all || status == SlotStatus::Staged => pipeline.promote().await,
        _ => pipeline.rollback().await,
    }
}

async fn given_or_live(pipeline: &Pipeline, slot: Option<Slot>) -> Result<Slot> {
    let slot = if slot.is_some() { slot } else { pipeline.status().await?.observed.live };
    slot.ok_or_else(|| Error::new(ErrorKind::NotFound, "no slot is live: say blue or green"))
}

impl Settings {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        read_toml(path)
    }

    pub(crate) fn host(&self) -> Result<SshHost> {
        let Some(file) = &self.ssh_config else { return SshHostBuilder::from_ssh_config(&self.server)?.build() };
        SshHostBuilder::from_ssh_config_file(file, &self.server)?.build()
    }

    /// The deploy itself: what runs, who gets the traffic, where the record is, and what has to be true.
    pub(crate) fn pipeline(&self, host: &SshHost) -> Result<PipelineBuilder> {
        let runtime = self.runtime(host)?;
        // The idle slot listens on the server's loopback alone, and is looked at through the SSH connection.
        let health = all([
            HttpCheck::builder("/health").through(host.clone()).build()?,
            HttpCheck::builder("/version").version_from_body().through(host.clone()).build()?,
        ]);
        let public = HttpCheck::builder(format!("{}/version", self.public)).version_from_body().build()?;
        // nginx knows both ports from the first deploy on, so that no later one has to reload it.
        let [blue, green] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        let nginx = self.nginx.clone().service(&self.app).slots(([blue], [green]));
        let mut pipeline = Pipeline::builder(&self.app)
            .router(NginxRouter::new(host.clone(), nginx)?)
            .store(HostStateStore::new(host.clone(), format!("{}/state", self.directory)))
            .health(health)
            .verify(public);
        if let Some(migrate) = &self.migrate {
            pipeline = pipeline.migrator(BeamMigrator::builder(&runtime, migrate).build());
        }
        Ok(pipeline.runtime(runtime))
    }

    fn runtime(&self, host: &SshHost) -> Result<BeamRuntime> {
        BeamRuntime::builder(host.clone(), &self.app)
            .directory(&self.directory)
            .ports(self.ports)
            .epmd_port(self.epmd_port.unwrap_or(DEFAULT_EPMD_PORT))
            .env_file(&self.env_file)
            .build()
    }

    pub(crate) async fn build(&self, version: &Version) -> Result<Artifact> {
        let (program, words) = self.build.split_first().ok_or_else(|| Error::config("`build` is no command"))?;
        // Not among the words: a shell would read it as a part of its script.
        let build = Command::new(program).args(words).env("APP_VERSION", Secret::new(version.as_str()));
        eprintln!("building {version}: {build}");
        let tarball = self.tarball.replace("{version}", version.as_str());
        Artifact::built_by(&build.timeout(Duration::from_secs(60 * 60)), tarball).await
    }
}
