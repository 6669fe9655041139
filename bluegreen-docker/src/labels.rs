//! The labels on what we create, and those of Compose that we read.

/// On containers and networks: the service.
pub(crate) const SERVICE: &str = "bluegreen.service";
/// On containers and networks: the slot.
pub(crate) const SLOT: &str = "bluegreen.slot";
/// On containers: the version.
pub(crate) const VERSION: &str = "bluegreen.version";
/// On containers: the operation that created them.
pub(crate) const OPERATION: &str = "bluegreen.operation";
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
/// Which of a service's containers it is.
pub(crate) const COMPOSE_NUMBER: &str = "com.docker.compose.container-number";
/// `True` on containers of `compose run`.
pub(crate) const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";
/// The services that this one depends on. Compose v2 only.
pub(crate) const COMPOSE_DEPENDS_ON: &str = "com.docker.compose.depends_on";
