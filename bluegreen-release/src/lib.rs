//! Programs of any language on plain servers: releases as directories, run by systemd or detached, on any `bluegreen_core::Host`.
//!
//! | type | what it does |
//! |---|---|
//! | [`SystemdRuntime`] | runs each slot as a unit of systemd |
//! | [`DetachedRuntime`] | runs each slot as a program in a session of its own, where there is no systemd |
//! | [`CommandMigrator`] | runs migrations by commands of the release |
//! | [`ReleaseDirectory`] | brings releases to a host, each a directory that is complete or not there |
//! | [`Artifact`] | a tarball, a directory or a single file, checked before anything is sent |
//! | [`read_env_file`] | reads a `.env` file without losing or replacing anything in it |
//!
//! ```
//! use bluegreen_core::LocalHost;
//! use bluegreen_release::SystemdRuntime;
//!
//! // On this machine; `SshHost` of the crate bluegreen-ssh is a server.
//! let runtime = SystemdRuntime::builder(LocalHost::new(), "shop")
//!     .command(["python3", "server.py", "--port", "{port}"])
//!     .user("deploy")
//!     .ports((4001, 4002))
//!     .shared_directory("uploads")
//!     .directive("MemoryMax", "512M")
//!     .build()?;
//!
//! // Run once by an administrator; or by `runtime.setup().await`, which needs root.
//! let script = runtime.setup_script();
//! assert!(script.contains("ExecStart=python3") && script.contains("MemoryMax=512M"));
//!
//! // What could smuggle a line into a unit is refused.
//! let smuggled = SystemdRuntime::builder(LocalHost::new(), "shop").directive("Nice", "5\nExecStartPre=/bin/id");
//! assert!(smuggled.user("deploy").build().is_err());
//! # Ok::<(), bluegreen_core::Error>(())
//! ```
//!
//! # On the server
//!
//! ```text
//! /srv/shop/releases/1.4.0/     complete, or not there
//! /srv/shop/releases/1.5.0/
//! /srv/shop/shared/uploads/     one for all releases; never deleted
//! /srv/shop/slots/blue/release  -> ../../releases/1.4.0
//! /srv/shop/slots/blue/env      what the program finds in its environment (mode 0600)
//! /etc/systemd/system/shop-blue.service, shop-green.service
//! /etc/sudoers.d/bluegreen-shop
//! ```
//!
//! The rules for sudo let the user who deploys start, stop, kill, enable and disable these two units, and nothing else. With
//! [`user_units`](SystemdRuntimeBuilder::user_units), root is needed once, for `loginctl enable-linger`.

mod artifact;
mod detached;
mod directory;
mod env_file;
mod manifest;
mod member;
mod migrator;
mod script;
mod shared;
mod slots;
mod source;
mod systemd;

pub use artifact::{Artifact, DEFAULT_MAX_SIZE};
pub use detached::{DEFAULT_LOG_LIMIT, DetachedRuntime, DetachedRuntimeBuilder};
pub use directory::{DEFAULT_KEEP_RELEASES, ReleaseDirectory, ReleaseDirectoryBuilder};
pub use env_file::read_env_file;
pub use migrator::{CommandMigrator, CommandMigratorBuilder, CommandsInReleases};
pub use slots::DEFAULT_PORTS;
pub use systemd::{
    DEFAULT_RESTARTS_ALLOWED, DEFAULT_START_DEADLINE, DEFAULT_STOP_TIMEOUT, Hardening, SystemdRuntime,
    SystemdRuntimeBuilder,
};
