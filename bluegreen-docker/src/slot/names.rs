//! The names of containers: the engine has each of them once.

use std::collections::HashMap;

use bluegreen_core::Result;
use bollard::query_parameters::InspectContainerOptions;

use super::group::Group;
use crate::engine::{Engine, if_found, quick};

/// The labels of a container that has this name and does not belong to the slot; `None` where there is none.
pub(crate) async fn holder(engine: &Engine, name: &str, own: &Group) -> Result<Option<HashMap<String, String>>> {
    let docker = engine.docker().await?;
    let found = quick("look for a container", docker.inspect_container(name, None::<InspectContainerOptions>)).await;
    // An id, or the beginning of one, is looked for too.
    let found = if_found(found)?.filter(|found| found.name.as_deref() == Some(&format!("/{name}")));
    let labels = found.map(|found| found.config.and_then(|config| config.labels).unwrap_or_default());
    Ok(labels.filter(|labels| !own.has(labels)))
}
