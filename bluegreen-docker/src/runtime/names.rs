//! Names that the compose file gives containers: the engine has each of them once.

use bluegreen_core::{Error, ErrorKind, Result};
use bollard::query_parameters::InspectContainerOptions;
use futures::future::try_join_all;

use crate::compose::Project;
use crate::engine::{Engine, if_found, quick};
use crate::labels;

/// Refuses names that a container outside of this slot's project has, such as the other slot's.
pub(super) async fn are_free(engine: &Engine, project: &Project, own: &str) -> Result<()> {
    let services = project.services.iter().filter(|(_, service)| service.is_wanted());
    let named = services.filter_map(|(service, of)| Some((service, of.container_name.as_deref()?)));
    try_join_all(named.map(|(service, name)| is_free(engine, service, name, own))).await.map(drop)
}

async fn is_free(engine: &Engine, service: &str, name: &str, own: &str) -> Result<()> {
    let docker = engine.docker().await?;
    let found = quick("look for a container", docker.inspect_container(name, None::<InspectContainerOptions>)).await;
    // An id, or the beginning of one, is looked for too.
    let found = if_found(found)?.filter(|found| found.name.as_deref() == Some(&format!("/{name}")));
    let labels = |found: bollard::models::ContainerInspectResponse| found.config?.labels;
    match found.map(|found| labels(found).unwrap_or_default().remove(labels::COMPOSE_PROJECT)) {
        None => Ok(()),
        Some(project) if project.as_deref() == Some(own) => Ok(()),
        Some(project) => {
            let owner = project.map_or_else(String::new, |project| format!(", of the project {project},"));
            let what =
                format!("another container{owner} has the name {name:?} that the file gives to that of {service}");
            Err(Error::new(ErrorKind::Conflict, what).with_hint(ADVICE))
        }
    }
}

/// What to do about a name that is not free.
pub(super) const ADVICE: &str = "two slots cannot have one container name: leave `container_name:` out, or give it the \
                                 slot: `container_name: shop-api-${SLOT}`";
