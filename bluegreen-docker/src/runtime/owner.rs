//! Whose slot it is: two services whose projects were given one name would stop each other.

use bluegreen_core::{Error, ErrorKind, Reason, Result, ServiceName};

use super::container::Container;
use crate::labels;

/// Refuses a slot in which there is anything that was started for another service. What has no label of ours was started
/// by hand, and passes.
pub(super) fn is_ours(found: &[Container], service: &ServiceName, project: &str) -> Result<()> {
    let mut owners = found.iter().filter_map(|container| container.label(labels::SERVICE));
    match owners.find(|owner| *owner != service.as_str()) {
        None => Ok(()),
        Some(owner) => Err(Error::new(
            ErrorKind::Conflict,
            format!("the project of this slot belongs to the service {owner}, and is not touched for {service}"),
        )
        .with_reason(Reason::OtherService)
        .not_applied()
        .with("project", project)
        .with_hint("give one of the two services another project name, with `.project(..)`")),
    }
}
