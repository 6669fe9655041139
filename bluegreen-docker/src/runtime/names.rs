//! Names that the compose file gives containers.

use bluegreen_core::{Error, ErrorKind, Result};
use futures::future::try_join_all;

use crate::compose::Project;
use crate::engine::Engine;
use crate::labels;
use crate::slot::group::Group;
use crate::slot::names::holder;

/// Refuses names that a container outside of this slot's project has, such as the other slot's.
pub(super) async fn are_free(engine: &Engine, project: &Project, own: &Group) -> Result<()> {
    let services = project.services.iter().filter(|(_, service)| service.is_wanted());
    let named = services.filter_map(|(service, of)| Some((service, of.container_name.as_deref()?)));
    try_join_all(named.map(|(service, name)| is_free(engine, service, name, own))).await.map(drop)
}

async fn is_free(engine: &Engine, service: &str, name: &str, own: &Group) -> Result<()> {
    let Some(mut labels) = holder(engine, name, own).await? else { return Ok(()) };
    let owner = labels.remove(labels::COMPOSE_PROJECT);
    let owner = owner.map_or_else(String::new, |project| format!(", of the project {project},"));
    let what = format!("another container{owner} has the name {name:?} that the file gives to that of {service}");
    Err(Error::new(ErrorKind::Conflict, what).with_hint(ADVICE))
}

/// What to do about a name that is not free.
pub(super) const ADVICE: &str = "two slots cannot have one container name: leave `container_name:` out, or give it the \
                                 slot: `container_name: shop-api-${SLOT}`";
