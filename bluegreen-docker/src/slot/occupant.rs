//! What may be in a slot that is to be started.

use bluegreen_core::{Error, ErrorKind, Result, Target};

use super::container::Container;

/// Refuses a slot in which another release runs.
pub(crate) fn is_not_another(found: &[Container], target: &Target) -> Result<()> {
    for container in found.iter().filter(|container| container.is_alive()) {
        match container.version() {
            Some(version) if version == *target.version() => {}
            Some(version) => return Err(conflict(target, format!("{version} runs in the slot"))),
            None => {
                let what = "containers run in the slot that were not started by a deploy, and have no version";
                return Err(conflict(target, what.to_owned()));
            }
        }
    }
    Ok(())
}

/// For what runs in a slot and is not what is to be started.
pub(crate) fn conflict(target: &Target, what: String) -> Error {
    Error::new(ErrorKind::Conflict, what)
        .not_applied()
        .with("slot", target.slot)
        .with_hint("`retire_now` stops it, where it has no traffic")
}
