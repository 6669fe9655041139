//! Whose slot it is: two services whose projects or containers were given one name would stop each other.

use bluegreen_core::{Error, ErrorKind, Reason, Result, ServiceName};

use super::container::Container;
use super::group::Group;
use crate::labels;

/// Refuses a slot in which there is anything that was started for another service. What has no label of ours was started
/// by hand, and passes.
pub(crate) fn is_ours(found: &[Container], service: &ServiceName, group: &Group) -> Result<()> {
    let mut owners = found.iter().filter_map(|container| container.label(labels::SERVICE));
    let kind = group.kind();
    match owners.find(|owner| *owner != service.as_str()) {
        None => Ok(()),
        Some(owner) => Err(Error::new(
            ErrorKind::Conflict,
            format!("the {kind} of this slot belongs to the service {owner}, and is not touched for {service}"),
        )
        .with_reason(Reason::OtherService)
        .not_applied()
        .with(kind, group)
        .with_hint(format!("give one of the two services another {kind} name, with {}", group.setter()))),
    }
}
