//! Blue-green deploys of compose projects and of single containers, on the Docker engine of this machine or of a server.
//!
//! - [`ComposeRuntime`] runs each slot as a compose project of its own, from your compose file.
//! - [`ContainerRuntime`] runs each slot as one container, from an image, without a compose file.
//! - [`ComposeMigrator`] migrates the data with commands of the release itself.
//! - [`ImageBuild`] builds an image, pushes it, and copies files out of it.
//! - [`Engine`] is the Docker engine: found as the `docker` command finds it, or given.
//!
//! A deploy tool brings these together in a `bluegreen_core` pipeline:
//!
//! ```no_run
//! use bluegreen_core::{HealthCheck, Pipeline, Release, Router, Secret, StateStore};
//! use bluegreen_docker::{ComposeMigrator, ComposeRuntime};
//!
//! # async fn example(router: impl Router, store: impl StateStore, health: impl HealthCheck, public: impl HealthCheck)
//! # -> bluegreen_core::Result<()> {
//! let runtime = ComposeRuntime::builder("shop", "/opt/shop/compose.yaml")
//!     .env("DATABASE_URL", Secret::from_env("DATABASE_URL")?)
//!     .endpoint("api", "api", 3001)
//!     .endpoint("web", "web", 3000)
//!     .build()?;
//! let migrator = ComposeMigrator::builder(&runtime, "api").expand(["pnpm", "db:migrate:deploy"]).build()?;
//! let pipeline = Pipeline::builder("shop")
//!     .runtime(runtime.clone())
//!     .migrator(migrator)
//!     .router(router)
//!     .store(store)
//!     .health(health)
//!     .verify(public)
//!     .build()?;
//! println!("{}", pipeline.deploy(Release::new("1.4.0")?).await?);
//! runtime.prune(5).await?;
//! # Ok(()) }
//! ```
//!
//! # The compose file
//!
//! The file on disk is not changed. Settings that two slots cannot both have, such as fixed host ports, container names and
//! subnets, are removed by an override file, and a plan shows how. A file that would lose data, or let the idle slot answer,
//! is refused before anything is changed. Ideally, the file names its images by `${VERSION}`, and has a healthcheck for each
//! service that takes time to start:
//!
//! ```yaml
//! services:
//!   api:
//!     image: registry.internal:5000/shop/api:${VERSION}
//!     init: true
//!     environment: {DATABASE_URL: "${DATABASE_URL}"}
//!     healthcheck: {test: [CMD, wget, -qO-, "http://127.0.0.1:3001/health"], interval: 2s}
//! ```
//!
//! A service that both slots use, such as a database, is named with [`shared`](ComposeRuntimeBuilder::shared): it runs once, in a project of
//! its own, and each slot reaches it by its name.
//!
//! # Requirements
//!
//! A Docker engine from 20.10 on; and, on the host that keeps the records, a POSIX `sh`, `flock` (util-linux), and `sha256sum`
//! (coreutils). For compose projects, on the host with the compose files, the same and either `docker compose` (v2) or
//! `docker-compose` from 1.27 on. Compose is called as a program, only to read compose files and to bring containers up.
//! Everything else goes to the engine itself, over its socket.
//!
//! # On a server
//!
//! There are two ways, and both take the server's [`Host`](bluegreen_core::Host), such as `SshHost` of bluegreen-ssh:
//!
//! - The compose files and Compose are on the server: [`host`](ComposeRuntimeBuilder::host).
//! - They are here, and only the engine is there, as with `DOCKER_HOST=ssh://deploy@web1`:
//!   [`engine`](ComposeRuntimeBuilder::engine) with [`Engine::on`], or with [`Engine::over_ssh`] for whatever
//!   `DOCKER_HOST` or a context says.
//!
//! Health checks go `through` the same host, and a router for the server's nginx acts on it, so that neither a published
//! port nor the engine has to be open to anyone.
//!
//! # What it promises
//!
//! - **What runs is what was prepared**, by digest, wherever a tag points by then. A version always stands for the same
//!   content.
//! - **A container that is healthy, or dead, is noticed by the engine's event**, within milliseconds.
//! - **A failed start says why**: which container, its exit status, whether it was out of memory, its last lines.
//! - **The other slot, shared networks and volumes are never touched.**
//! - **Secrets** reach Compose by its environment alone, and no argument, file, error or log of ours. (Whoever may use
//!   the engine can see what a compose file puts into a container's environment.)
//! - **Everything that is created is labelled**: a slot's containers by `bluegreen.service`, `.slot`, `.version` and
//!   `.operation`, single containers by `.container` and `.settings` too, those of a migration by `.migration` too, networks by `.service` and `.slot`, built images by `.built`
//!   (and what [`ImageBuild::label`] adds), the containers that files are copied out of by `.extraction` and `.owner`.
//!   Volumes have none, because they outlive releases: Compose would take one with other labels for another one.

mod analysis;
mod build;
mod compose;
mod container;
mod endpoint;
mod engine;
mod image;
mod labels;
mod mask;
mod migrator;
mod runtime;
mod slot;
mod wishes;

pub use build::{BuiltImage, ImageBuild};
pub use container::{ContainerRuntime, ContainerRuntimeBuilder, DEFAULT_HEALTH_INTERVAL, DEFAULT_HEALTH_RETRIES};
pub use engine::Engine;
pub use migrator::{ComposeMigrator, ComposeMigratorBuilder, DEFAULT_MIGRATION_TIMEOUT};
pub use runtime::{ComposeRuntime, ComposeRuntimeBuilder};
pub use slot::prune::Pruned;
pub use slot::slots::DEFAULT_START_DEADLINE;
