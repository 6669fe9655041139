//! Servers over SSH: a [`Host`](bluegreen_core::Host) on one connection, releases of Elixir on any host, and deploys by
//! `git push`.
//!
//! | type | what it is |
//! |---|---|
//! | [`SshHost`] | a server: commands, files, transfers, tunnels, consoles |
//! | [`BeamRuntime`] | a [`Runtime`](bluegreen_core::Runtime): each slot is a node of a release that `mix release` made |
//! | [`BeamMigrator`] | a [`Migrator`](bluegreen_core::Migrator): functions of the release, by `eval`, before it is started |
//! | [`GitRuntime`] | a [`Runtime`](bluegreen_core::Runtime): each slot is a server, to which a commit is pushed, and which serves it |
//! | [`Artifact`] | the release's tarball here, read and checked, or built by a command |
//!
//! # A server
//!
//! [`SshHost`] runs commands, reads and writes files, uploads and downloads, and opens tunnels on a server, all through
//! one SSH connection that is made when it is first needed and made anew when it is lost. There is no `ssh` program
//! behind it; the protocol is [russh](https://docs.rs/russh). Only [`SshHostBuilder::from_ssh_config`] asks `ssh`, for its
//! configuration.
//!
//! ```
//! use bluegreen_ssh::SshHost;
//!
//! let jump = SshHost::builder("deploy@gate.example.com");
//! let host = SshHost::builder("deploy@web1.internal:2222")
//!     .key_file("/home/deploy/.ssh/id_ed25519")
//!     .fingerprint("SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8")
//!     .jump(jump)
//!     .build()?;
//! assert_eq!(host.to_string(), "deploy@web1.internal:2222");
//! # Ok::<(), bluegreen_core::Error>(())
//! ```
//!
//! What it promises:
//!
//! - **The server is the right one.** Its key must be recorded in `known_hosts`, or have a given fingerprint; a changed
//!   key, a key of another type and a revoked key are refused with the file and the line. Trust on first use is opt-in.
//!   There is no way to accept any key.
//! - **A lost connection is never success.** A command without an exit status is an error whose effect is unknown. What
//!   may be repeated (files, links, transfers, tunnels) is repeated once, over a new connection.
//! - **Nothing stays behind.** A command that takes too long, or that nobody waits for any more, is ended with all its
//!   children, as long as there is a connection. A command whose connection is lost may continue. A file has its name only
//!   when it is complete.
//! - **What is asked is one round trip.** Shells wait on the server, up to five, each for one script, which goes to it together
//!   with its input and its environment. They end with the connection. A tunnel's connection is two round trips, and a transfer
//!   three.
//! - **Secrets stay out of sight.** Environment variables and standard input are in no process list of the server.
//!
//! It needs an account with a POSIX `sh` on a Linux server, and the usual tools of coreutils or busybox. It needs neither SFTP
//! nor `AcceptEnv`, and nothing installed. The login shell may be a different one, and its profile may print anything.
//!
//! # A release of Elixir
//!
//! [`BeamRuntime`] and [`BeamMigrator`] also need `flock`, `tar` and `gzip` on the server. They work on this machine too
//! ([`LocalHost`](bluegreen_core::LocalHost)). These are the steps of a deploy, without the traffic:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use bluegreen_core::{Command, Migrator, OperationId, Phase, Runtime, Secret, ServiceName, Slot, Target};
//! use bluegreen_ssh::{Artifact, BeamMigrator, BeamRuntime, SshHost};
//!
//! # async fn example() -> bluegreen_core::Result<()> {
//! let build = Command::new("mix").args(["release", "--overwrite"]).env("MIX_ENV", Secret::new("prod"));
//! let artifact = Artifact::built_by(&build, "_build/prod/shop-1.4.0.tar.gz").await?;
//!
//! let host = SshHost::builder("deploy@web1.example.com").build()?;
//! let runtime = BeamRuntime::builder(host.clone(), "shop")
//!     .directory("/srv/shop")
//!     .ports((4000, 5000))
//!     .env("DATABASE_URL", Secret::from_env("DATABASE_URL")?)
//!     .build()?;
//! let migrator = BeamMigrator::builder(&runtime, "Shop.Release.migrate()").build();
//!
//! let (service, operation) = (ServiceName::new("shop")?, OperationId::new("op-1")?);
//! let target = Target::new(service, Slot::Green, artifact.release("1.4.0")?, operation);
//! runtime.prepare(&target).await?;
//! migrator.migrate(Phase::Expand, &target).await?;
//! runtime.stop(Slot::Green, Duration::from_secs(30)).await?;
//! println!("{}", runtime.start(&target).await?);
//!
//! runtime.console(&host, Slot::Green).await?;
//! # Ok(()) }
//! ```
//!
//! # A commit
//!
//! [`GitRuntime`] needs git and `flock` on its servers, and git here. The web server of each one serves the directory's
//! `current`, and is never restarted. Blue and green are usually two servers:
//!
//! ```no_run
//! use bluegreen_core::{OperationId, Release, Runtime, ServiceName, Slot, Target};
//! use bluegreen_ssh::{GitRuntime, GitServer, SshHost};
//!
//! # async fn example() -> bluegreen_core::Result<()> {
//! let server = |name: &str| Ok::<_, bluegreen_core::Error>(GitServer::new(SshHost::builder(name).build()?, "/srv/shop"));
//! let runtime = GitRuntime::builder(".")
//!     .servers((server("deploy@blue.example.com")?, server("deploy@green.example.com")?))
//!     .branch("main")
//!     .run("npm ci && npm run build")
//!     .build()?;
//!
//! let (service, operation) = (ServiceName::new("shop")?, OperationId::new("op-1")?);
//! let target = Target::new(service, Slot::Green, Release::new("v1.4.0")?, operation);
//! runtime.prepare(&target).await?; // pushes the commit with the tag v1.4.0
//! println!("{}", runtime.start(&target).await?); // builds it there, and serves it
//! # Ok(()) }
//! ```
//!
//! A [`Pipeline`](bluegreen_core::Pipeline) does these steps with health checks, traffic, and a way back.

mod addresses;
mod agent;
mod auth;
mod beam;
mod beginning;
mod builder;
mod close_on_drop;
mod connection;
mod console;
mod destination;
mod exec;
mod failure;
mod files;
mod git;
mod host;
mod host_key;
mod identity;
mod kill;
mod kill_queue;
mod known_hosts;
mod marker;
mod process;
mod run;
mod script;
mod session;
mod settings;
mod socket;
mod ssh_client;
mod ssh_config;
mod taking_in;
mod text;
mod transfer;
mod tunnel;
mod verifier;
mod waiting_shell;

pub use beam::{
    Artifact, BeamMigrator, BeamMigratorBuilder, BeamRuntime, BeamRuntimeBuilder, DEFAULT_BOOT_DEADLINE,
    DEFAULT_EPMD_PORT, DEFAULT_KEEP_RELEASES, DEFAULT_PORTS,
};
pub use builder::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_KEEPALIVE_INTERVAL, DEFAULT_KEEPALIVE_MAX, DEFAULT_MAX_SESSIONS, SshHostBuilder,
};
pub use git::{DEFAULT_BRANCH, GitRuntime, GitRuntimeBuilder, GitServer};
pub use host::SshHost;
