//! The labels on what we create, and those of Compose that we read.

/// On containers and networks: the service.
pub(crate) const SERVICE: &str = "bluegreen.service";
/// On containers and networks: the slot.
pub(crate) const SLOT: &str = "bluegreen.slot";
/// On containers: the version.
pub(crate) const VERSION: &str = "bluegreen.version";
/// On the one container of a slot: the name that it was given.
pub(crate) const CONTAINER: &str = "bluegreen.container";
/// On the same: a digest of all that it was created with, but for its port.
pub(crate) const SETTINGS: &str = "bluegreen.settings";
/// On containers: the operation that created them.
pub(crate) const OPERATION: &str = "bluegreen.operation";
/// On containers that run only while their slot has all traffic: their restart policy.
pub(crate) const ONLY_WHILE_LIVE: &str = "bluegreen.only-while-live";
/// On containers that end when their work is done: `true`.
pub(crate) const JOB: &str = "bluegreen.job";
/// On containers: the commands that are run in them before they are stopped, as JSON.
pub(crate) const PRE_STOP: &str = "bluegreen.pre-stop";
/// On containers for one command of a migration: which command.
pub(crate) const MIGRATION: &str = "bluegreen.migration";
/// On images that were built here.
pub(crate) const BUILT: &str = "bluegreen.built";
/// On containers that exist only to copy files out of an image: when they were made, in seconds since 1970.
pub(crate) const EXTRACTION: &str = "bluegreen.extraction";
/// On the same: the process that made them.
pub(crate) const OWNER: &str = "bluegreen.owner";

/// The project that a container or a network belongs to.
pub(crate) const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// The service of the compose file.
pub(crate) const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// What Compose made of the service's configuration.
pub(crate) const COMPOSE_HASH: &str = "com.docker.compose.config-hash";
/// Which of a service's containers it is.
pub(crate) const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
/// `True` on containers of `compose run`.
pub(crate) const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";
/// The services that this one depends on. Compose v2 only.
pub(crate) const COMPOSE_DEPENDS_ON: &str = "com.docker.compose.depends_on";
