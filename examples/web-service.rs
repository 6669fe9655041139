//! A deploy tool for one service of any language on one server or many: systemd runs it, nginx is in front on each. Copy it
//! with `src/cli.rs`, and change what is different with you.
//!
//! ```text
//! web-service setup             prepare the servers, once (needs root there)
//! web-service deploy 1.4.0      build it, start it beside the live one, migrate, switch; the old one stays warm
//! web-service rollback          back to the release before, at once
//! web-service resume 1.4.0      bring up the servers that a deploy left behind
//! web-service check --max-age 7d   exits with 1 if the last deploy is longer ago
//! web-service status | history [--by ann] [--outcome rolled-back] [--json] | logs [-f] | exec -- WORDS... | recover | restore
//! ```
//! What it deploys, and where to, is in `deploy.toml`; `web-service.toml` beside this file is one to begin with.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use bluegreen_core::fleet::{Fleet, Member};
use bluegreen_core::observer::ProgressDisplay;
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::{
    Command, Error, ErrorKind, Host, HostStateStore, Pipeline, Release, Result, Secret, Slot, Version, parse_duration,
};
use bluegreen_examples::cli::{Wanted, check_age, exit_code, print_history, read_toml};
use bluegreen_http::HttpCheck;
use bluegreen_nginx::{NginxConfig, NginxRouter};
use bluegreen_release::{Artifact, CommandMigrator, SystemdRuntime};
use bluegreen_ssh::{SshHost, SshHostBuilder};
use clap::{Parser, Subcommand};
use futures::StreamExt as _;
use serde::Deserialize;

#[derive(Parser)]
#[command(about = "Deploys a service to servers with systemd and nginx")]
struct Arguments {
    /// What is deployed, and where to.
    #[arg(long, global = true, default_value = "deploy.toml")]
    settings: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Prepare the servers, once; it can be repeated.
    Setup {
        /// Print the script for an administrator instead of running it.
        #[arg(long)]
        print: bool,
    },
    /// Build a release and bring it live; the one that was live stays warm.
    Deploy { version: Version },
    /// Bring the live release to the servers that a deploy left behind.
    Resume { version: Version },
    /// Give the traffic back to the release before.
    Rollback,
    /// Show what runs, and who is live.
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
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
        /// Go on with each line as it is written.
        #[arg(short, long)]
        follow: bool,
    },
    /// Run a command in the live release on the first server, with its environment and this terminal.
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
    servers: Vec<String>,
    #[serde(default)]
    max_failures: usize,
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
    exit_code(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    let settings = Settings::read(&arguments.settings)?;
    let hosts = settings.hosts()?;
    let pipeline = settings.pipeline(&hosts)?.observer(ProgressDisplay::stderr()).build()?;
    let report = match arguments.verb {
        Verb::Deploy { version } => pipeline.deploy(settings.build(&version).await?).await?,
        Verb::Resume { version } => pipeline.resume(settings.build(&version).await?).await?,
        Verb::Rollback => pipeline.rollback().await?,
        Verb::Recover => pipeline.recover().await?,
        Verb::Restore => pipeline.restore().await?,
        Verb::Setup { print } => return set_up(&settings, &hosts, print).await,
        Verb::Exec { words } => {
            let release = settings.runtime(&hosts[0])?.exec(live(&pipeline).await?, words);
            std::process::exit(hosts[0].console(&release).await?.status.unwrap_or(1));
        }
        other => return show(other, &pipeline).await,
    };
    println!("{report}");
    Ok(())
}

async fn set_up(settings: &Settings, hosts: &[SshHost], print: bool) -> Result<()> {
    for host in hosts {
        let (runtime, router) = (settings.runtime(host)?, settings.router(host)?);
        if print {
            // It is the same on each.
            print!("{}{}", runtime.setup_script(), router.setup_script());
            return Ok(());
        }
        runtime.setup().await?;
        router.setup().await?;
    }
    Ok(())
}

/// What leaves no report.
async fn show(verb: Verb, pipeline: &Pipeline) -> Result<()> {
    match verb {
        Verb::Status => print!("{}", pipeline.status().await?),
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
        Verb::History(wanted) => return print_history(pipeline, wanted).await,
        Verb::Check { max_age } => return check_age(pipeline, max_age).await,
        _ => {}
    }
    Ok(())
}

async fn live(pipeline: &Pipeline) -> Result<Slot> {
    let live = pipeline.status().await?.observed.live;
    live.ok_or_else(|| Error::new(ErrorKind::NotFound, "no slot is live: say blue or green"))
}

impl Settings {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        read_toml(path)
    }

    pub(crate) fn hosts(&self) -> Result<Vec<SshHost>> {
        let host = |server: &String| match &self.ssh_config {
            Some(file) => SshHostBuilder::from_ssh_config_file(file, server)?.build(),
            None => SshHostBuilder::from_ssh_config(server)?.build(),
        };
        if self.servers.is_empty() {
            return Err(Error::config("`servers` is empty: name one at least"));
        }
        self.servers.iter().map(host).collect()
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

    /// The deploy itself: what runs where, who gets the traffic, where the record is, and what has to be true.
    pub(crate) fn pipeline(&self, hosts: &[impl Host + Clone]) -> Result<PipelineBuilder> {
        let fleet = self.servers.iter().zip(hosts).try_fold(Fleet::builder(), |fleet, (server, host)| {
            let runtime = self.runtime(host)?;
            // The idle slot listens on the server's loopback alone, and is looked at through the SSH connection.
            let health = HttpCheck::builder("/version").version_from_body().through(host.clone()).build()?;
            let name = server.rsplit('@').next().unwrap_or(server);
            let mut member = Member::new(name, runtime.clone()).router(self.router(host)?).health(health);
            if let Some(words) = &self.migrate {
                member = member.migrator(CommandMigrator::builder(&runtime, words).build());
            }
            Ok::<_, Error>(fleet.with_member(member))
        });
        let public = HttpCheck::builder(format!("{}/version", self.public)).version_from_body().build()?;
        Ok(Pipeline::builder(&self.service)
            .fleet(&fleet?.max_failures(self.max_failures).build()?)
            .store(HostStateStore::new(hosts[0].clone(), format!("/srv/{}/state", self.service)))
            .verify(public))
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
