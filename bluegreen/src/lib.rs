//! Blue-green and canary deploys on plain servers, to embed in your own deploy tool.
//!
//! A service has two slots, blue and green. One is live. A new release is started in the other one, tested there without
//! traffic, and then given the traffic, at once or step by step. Success means that the public address answered with the
//! new version. Every side effect is journalled before it happens, so a deployer that is killed at any point is recovered
//! from.
//!
//! This crate is the core ([`Pipeline`] and the traits it works on) at the root, and one module per adapter, each behind a
//! Cargo feature.
//!
//! # A deploy
//!
//! This program runs without anything installed: the adapters of [`memory`] stand in for real ones.
//!
//! ```
//! use std::time::Duration;
//!
//! use bluegreen::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
//! use bluegreen::{Pipeline, Release};
//!
//! #[tokio::main]
//! async fn main() -> bluegreen::Result<()> {
//!     let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
//!     let pipeline = Pipeline::builder("shop")
//!         .runtime(runtime.clone()) // What runs in the slots.
//!         .router(router.clone()) // Who gets the traffic.
//!         .store(MemoryStateStore::new()) // Where record, lease and journal are kept.
//!         .health(MemoryHealth::new()) // When a slot is ready.
//!         .verify(MemoryPublic::new(&router, &runtime)) // What users see.
//!         .check_interval(Duration::from_millis(10))
//!         .build()?;
//!
//!     pipeline.recover().await?; // Finishes what a dead deployer left, if one did.
//!     pipeline.deploy(Release::new("1.0")?).await?;
//!     println!("{}", pipeline.plan(&Release::new("1.1")?).await?);
//!     println!("{}", pipeline.deploy(Release::new("1.1")?).await?);
//!
//!     pipeline.rollback().await?; // 1.0 is still warm.
//!     println!("{}", pipeline.status().await?);
//!     Ok(())
//! }
//! ```
//!
//! # Dependencies
//!
//! Until the crates are published, depend on them by git or by path:
//!
//! ```toml
//! [dependencies]
//! bluegreen = { git = "URL OF THIS REPOSITORY", features = ["nginx", "ssh"] }
//! # bluegreen = { path = "../blue-green/bluegreen", features = ["nginx", "ssh"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! The adapters enable the features of tokio that they need. A program needs `macros` and `rt-multi-thread` for
//! `#[tokio::main]`, `signal` to cancel a deploy on SIGTERM, and, in the tests of its own pipeline, `test-util` for a clock
//! that can be paused. The pipeline works on a single-threaded runtime too (`rt`), with time and input enabled. Linux only;
//! Rust 1.89 or later.
//!
//! # Which adapters
//!
//! | you have | runtime | router | state |
//! |---|---|---|---|
//! | nothing yet, or one machine and a program that listens on `PORT` | `local::ProcessRuntime` | `local::ProxyRouter` | [`FileStateStore`] |
//! | one machine with nginx in front | `local::ProcessRuntime` | `nginx::NginxRouter` | [`FileStateStore`] |
//! | a program of any language on a server with systemd | `release::SystemdRuntime` | `nginx::NginxRouter` on an `ssh::SshHost` | [`HostStateStore`] on the same host |
//! | the same on a server without systemd: a container, Alpine | `release::DetachedRuntime` | `nginx::NginxRouter` on an `ssh::SshHost` | [`HostStateStore`] on the same host |
//! | Elixir or Erlang releases on a server | `ssh::BeamRuntime` | `nginx::NginxRouter` on an `ssh::SshHost` | [`HostStateStore`] on the same host |
//! | an image in a registry, here or on a server | `docker::ContainerRuntime`, with `engine` on a server | `nginx::NginxRouter`, on an `ssh::SshHost` on a server | [`FileStateStore`], or [`HostStateStore`] on the same host |
//! | a compose file, here | `docker::ComposeRuntime` | `nginx::NginxRouter` | [`FileStateStore`] |
//! | a compose file, on a server | `docker::ComposeRuntime` with `host` or `engine` | `nginx::NginxRouter` on an `ssh::SshHost` | [`HostStateStore`] |
//! | two servers and a floating IP (DigitalOcean, Hetzner, your own network) | `ssh::GitRuntime`, or a runtime of your own | `floatingip::FloatingIpRouter` | [`FileStateStore`] |
//! | servers behind a cloud load balancer | the same | `floatingip::LoadBalancerRouter` | [`FileStateStore`] |
//! | many servers | one of the above for each member of a [`Fleet`] | the same; or one router in front of all | [`HostStateStore`] on one of them |
//! | several servers behind an HAProxy, here or on a server | a runtime whose slots have several endpoints | `haproxy::HaproxyRouter` | [`FileStateStore`], or [`HostStateStore`] on the same host |
//! | something else | implement [`Runtime`] | implement [`Router`] | implement [`StateStore`] |
//!
//! `nginx::NginxSymlinkRouter` keeps the classic layout of `sites-enabled`, at the price of a reload per switch. A store on
//! a host is shared by everyone who deploys to that host; a [`FileStateStore`] belongs to one machine, which must be the
//! only one that deploys.
//!
//! The routers that divide traffic by any percentage without a reload are `local::ProxyRouter`, `nginx::NginxRouter` and
//! `haproxy::HaproxyRouter`. HAProxy is for slots of several servers, for TCP, for sticky sessions, and where it stands in front already.
//! Caddy is left out on purpose: a change of its configuration cuts WebSockets, and a switch would be one. Traefik is left out
//! unless it is shown to drain: a server that is taken out must keep its requests to their end.
//!
//! Every pipeline also needs a check of a slot and a check of the public address: `http::HttpCheck` for both, or a
//! [`CommandCheck`] that runs a command. Beside them there are `http::SmokeTest`, the metric sources
//! `http::PrometheusPage`, `http::PromQl`, `http::NewRelic`, `http::Datadog`, `http::ActiveProbe` and [`LogMatches`] for a [`gates::RateGate`], the hook
//! `http::HttpHook`, and the migrators
//! `docker::ComposeMigrator` and `ssh::BeamMigrator`.
//!
//! # Features
//!
//! | feature | enables | default |
//! |---|---|---|
//! | `http` | the module `http`: health checks, smoke tests, metric sources | yes: nearly every pipeline asks something over HTTP |
//! | `local` | the module `local`: processes of this machine, the embedded proxy | yes: a first deploy needs nothing else |
//! | `ring` | HTTPS with ring, where the program has installed no crypto provider of its own | yes: without it, HTTPS fails until the program installs one |
//! | `nginx` | the module `nginx`: routers for nginx on any host | no |
//! | `haproxy` | the module `haproxy`: a router for HAProxy on any host | no |
//! | `release` | the module `release`: programs of any language as units of systemd, or detached | no |
//! | `ssh` | the module `ssh`: servers over SSH, Elixir and Erlang releases, deploys by `git push` | no |
//! | `docker` | the module `docker`: compose projects, single containers, migrations in containers, image builds | no |
//! | `docker-tls` | `docker`, and engines that are reached by TCP with TLS | no |
//! | `floatingip` | the module `floatingip`: floating IPs and cloud load balancers | no |
//! | `progress` | `observer::ProgressDisplay`, a live display for terminals | no |
//! | `test-util` | the module `testing`: mocks, fault injection, conformance suites | no |
//!
//! A program that uses rustls with another provider than ring, and relies on rustls finding the only one that is compiled
//! in, turns the defaults off and leaves `ring` and `docker-tls` out: rustls panics if two providers are enabled and none
//! is installed.
//!
//! # Guides
//!
//! Each is one page in the repository, with a program that its tests compile and run:
//!
//! | to do | read |
//! |---|---|
//! | embed a pipeline in an axum service | `docs/guides/axum.md` |
//! | approve a release between stage and promote, from another process | `docs/guides/approve.md` |
//! | cancel a deploy on SIGTERM or Ctrl-C | `docs/guides/cancel.md` |
//! | send events to a webhook, and not lose the last ones | `docs/guides/webhook.md` |
//! | run hooks: clear a cache before the switch, tell a chat | `docs/guides/hooks.md` |
//! | deploy several services with one tool | `docs/guides/several-services.md` |
//! | decide what a tool prints, and its exit status | `docs/guides/output.md` |
//! | back up the state, and restore it | `docs/guides/backup.md` |
//! | deploy to many servers in waves | `docs/fleets.md` |
//! | read events, reports and the state in other programs | `docs/json.md` |
//! | test your own pipeline | `docs/testing-your-pipeline.md` |
//! | put HAProxy in front | `docs/haproxy.md` |
//! | write an adapter | `docs/writing-an-adapter.md` |
//! | see what is guaranteed, and the limits of each guarantee | `docs/guarantees.md` |
//!
//! What a pipeline guarantees is written on [`Pipeline`]; what an adapter must guarantee, on each trait.

#[doc(inline)]
pub use bluegreen_core::*;

#[cfg(feature = "docker")]
#[doc(inline)]
pub use bluegreen_docker as docker;
#[cfg(feature = "floatingip")]
#[doc(inline)]
pub use bluegreen_floatingip as floatingip;
#[cfg(feature = "haproxy")]
#[doc(inline)]
pub use bluegreen_haproxy as haproxy;
#[cfg(feature = "http")]
#[doc(inline)]
pub use bluegreen_http as http;
#[cfg(feature = "local")]
#[doc(inline)]
pub use bluegreen_local as local;
#[cfg(feature = "nginx")]
#[doc(inline)]
pub use bluegreen_nginx as nginx;
#[cfg(feature = "release")]
#[doc(inline)]
pub use bluegreen_release as release;
#[cfg(feature = "ssh")]
#[doc(inline)]
pub use bluegreen_ssh as ssh;
