//! Two servers, one address. A release is pushed to the server that does not have the address, looked at there, and
//! released by moving the address; the other server keeps the release before, for the way back.
//!
//! ```text
//! floating-ip --provider digitalocean setup       repositories and hooks on both servers
//! floating-ip --provider digitalocean deploy v2   push the tag v2 to the idle server, and move the address there
//! floating-ip ... deploy v2 --stage               the same without the move, which is then: floating-ip ... promote
//! floating-ip ... check --max-age 7d              exits with 1 if the last deploy is longer ago
//! floating-ip ... rollback | status | history | recover | restore | retire-now | unlock
//! ```
//!
//! What is deployed, and where to, is in `deploy.toml`; `floating-ip.toml` beside this file is one to begin with. To try
//! it without any of that, on this machine alone and without being root:
//!
//! ```text
//! cargo run --example floating-ip -- lab                          # two servers and an address, in a first terminal
//! cargo run --example floating-ip -- --provider lab deploy v1     # and so on, in a second one
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::observer::ProgressDisplay;
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::{Error, FileStateStore, Pipeline, Release, Result, Secret, Slot, parse_duration};
use bluegreen_examples::cli::{Wanted, check_age, exit_code, print_history, print_status, read_toml, unlock};
use bluegreen_examples::lab::Lab;
use bluegreen_examples::two_servers::TwoServers;
use bluegreen_floatingip::{
    AddressProvider, DigitalOceanIp, FloatingIpRouter, FloatingIpRouterBuilder, HetznerIp, HostVip, Lingering,
};
use bluegreen_http::HttpCheck;
use bluegreen_ssh::GitRuntime;
use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(about = "Deploys by git push to one of two servers, and releases by moving an address to it")]
pub(crate) struct Arguments {
    /// What is deployed, and where to.
    #[arg(long, global = true, default_value = "deploy.toml")]
    pub(crate) settings: PathBuf,
    /// Who moves the address.
    #[arg(long, global = true, default_value = "lab")]
    pub(crate) provider: Provider,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Provider {
    /// A reserved IP; the token is in DIGITALOCEAN_TOKEN.
    Digitalocean,
    /// A floating IP; the token is in HCLOUD_TOKEN.
    Hetzner,
    /// An address between two servers on one network, by SSH.
    OwnServers,
    /// Everything on this machine; see the command `lab`.
    Lab,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Make what a push needs on both servers: repository, hook, directories.
    Setup,
    /// Push a release, a tag of the repository, to the idle server, and give it the address.
    Deploy {
        version: String,
        /// Stop before the address moves, for a look at it; `promote` does the rest.
        #[arg(long)]
        stage: bool,
    },
    /// Give the address to the server of the staged release.
    Promote,
    /// Give the address back to the release before.
    Rollback,
    /// Show what is where, and what was done last.
    Status,
    /// Show what was done, the last first: all of it, or what matches.
    History(Wanted),
    /// Exit with 1, and say so in one line, if the last deploy is too long ago.
    Check {
        /// 12h, 7d or 2w.
        #[arg(long, value_parser = parse_duration, default_value = "7d")]
        max_age: Duration,
    },
    /// Bring to an end what a deploy that was killed has left.
    Recover,
    /// Bring the live release up again, with the address: after a restart of its server.
    Restore,
    /// Stop what waits in the idle slot, staged or kept.
    #[command(alias = "retire_now")]
    RetireNow,
    /// Take the lease from a deployer that hangs; `recover` then brings what it left to an end.
    Unlock,
    /// Be two servers and an address on this machine, until Ctrl-C.
    Lab,
}

#[tokio::main]
pub(crate) async fn main() -> ExitCode {
    exit_code(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> Result<()> {
    if let Verb::Lab = arguments.verb {
        return Lab::serve().await;
    }
    let servers = match arguments.provider {
        Provider::Lab => Lab::open()?.servers(),
        _ => read_toml(&arguments.settings)?,
    };
    let pipeline =
        pipeline(&servers, router(&servers, arguments.provider)?.build())?.observer(ProgressDisplay::stderr());
    act(arguments.verb, &runtime(&servers)?, &pipeline.build()?).await
}

pub(crate) async fn act(verb: Verb, runtime: &GitRuntime, pipeline: &Pipeline) -> Result<()> {
    let report = match verb {
        Verb::Setup | Verb::Lab => {
            for slot in Slot::BOTH {
                runtime.setup(slot).await?;
                println!("{slot} is ready; by hand: git push {} HEAD:master", runtime.remote(slot));
            }
            return Ok(());
        }
        Verb::Deploy { version, stage: true } => pipeline.stage(Release::new(version)?).await?,
        Verb::Deploy { version, stage: false } => pipeline.deploy(Release::new(version)?).await?,
        Verb::Promote => pipeline.promote().await?,
        Verb::Rollback => pipeline.rollback().await?,
        Verb::Recover => pipeline.recover().await?,
        Verb::Restore => pipeline.restore().await?,
        Verb::RetireNow => pipeline.retire_now().await?,
        Verb::Unlock => return unlock(pipeline).await,
        Verb::Status => return print_status(pipeline).await,
        Verb::History(wanted) => return print_history(pipeline, wanted).await,
        Verb::Check { max_age } => return check_age(pipeline, max_age).await,
    };
    println!("{report}");
    Ok(())
}

pub(crate) fn runtime(servers: &TwoServers) -> Result<GitRuntime> {
    // By this page, the version in force is known to everyone.
    GitRuntime::builder(&servers.repository)
        .servers((servers.git_server(Slot::Blue)?, servers.git_server(Slot::Green)?))
        .run("printf %s \"$VERSION\" > version")
        .build()
}

pub(crate) fn router(servers: &TwoServers, provider: Provider) -> Result<FloatingIpRouterBuilder> {
    let api = |default: &'static str| servers.api.clone().unwrap_or_else(|| default.to_owned());
    let provider: Arc<dyn AddressProvider> = match provider {
        Provider::Digitalocean => {
            let (api, token) = (api("https://api.digitalocean.com"), Secret::from_env("DIGITALOCEAN_TOKEN")?);
            Arc::new(DigitalOceanIp::new(token, servers.address, servers.ids()?)?.api(&api)?)
        }
        Provider::Hetzner => {
            let (api, token) = (api("https://api.hetzner.cloud"), Secret::from_env("HCLOUD_TOKEN")?);
            let number = servers.floating_ip.ok_or_else(|| Error::config("`floating_ip` is missing"))?;
            Arc::new(HetznerIp::new(token, number, servers.ids()?)?.api(&api)?)
        }
        Provider::OwnServers => {
            let both = (servers.vip_server(Slot::Blue)?, servers.vip_server(Slot::Green)?);
            Arc::new(HostVip::new(servers.address, both, Lingering::Reset)?.sudo(servers.sudo))
        }
        Provider::Lab => Arc::new(Lab::open()?.address()),
    };
    Ok(FloatingIpRouter::builder(provider))
}

pub(crate) fn pipeline(servers: &TwoServers, router: FloatingIpRouter) -> Result<PipelineBuilder> {
    let page = HttpCheck::builder("/version").version_from_body().build()?;
    let public_page = HttpCheck::builder(format!("{}/version", servers.public)).version_from_body().build()?;
    let pipeline = Pipeline::builder(&servers.service).runtime(runtime(servers)?).router(router);
    let pipeline = pipeline.store(FileStateStore::new(&servers.state)).health(page).verify(public_page);
    // What was under way when the address moved was cut off: there is nothing to wait for.
    Ok(pipeline.drain(Duration::ZERO))
}
