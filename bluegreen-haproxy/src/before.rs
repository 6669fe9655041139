//! What the servers of a slot were before an operation, for the undo of that operation.

use bluegreen_core::{Error, ErrorKind, Instance, Result, Slot};
use serde::{Deserialize, Serialize};

use crate::balancer::Balancer;
use crate::place::Place;

/// What is kept on the host about one slot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    key: String,
    pub(crate) before: Vec<Place>,
    pub(crate) written: Vec<Place>,
}

/// What an attach is made for. A second one of the same release does not forget what was there before the first.
pub(crate) fn key(instance: &Instance) -> String {
    instance.version().map_or_else(|| "-".to_owned(), ToString::to_string)
}

pub(crate) async fn read(balancer: &Balancer, slot: Slot) -> Result<Option<Kept>> {
    let kept = balancer.host().read(&path(balancer, slot)).await.map_err(Error::not_applied)?;
    // What cannot be read is of nobody's use: an undo then leaves the servers as they are.
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()))
}

/// Keeps what was before the first attach of this release.
pub(crate) async fn keep(
    balancer: &Balancer,
    slot: Slot,
    key: &str,
    present: &[Place],
    wanted: &[Place],
) -> Result<()> {
    let earlier = read(balancer, slot).await?.filter(|kept| kept.key == key).map(|kept| kept.before);
    let before = earlier.unwrap_or_else(|| present.to_vec());
    write(balancer, slot, &Kept { key: key.to_owned(), before, written: wanted.to_vec() }).await
}

/// Notes that nothing was to be changed for this release: what is kept of another one is over.
pub(crate) async fn unchanged(balancer: &Balancer, slot: Slot, key: &str) -> Result<()> {
    match read(balancer, slot).await? {
        Some(kept) if kept.key != key => forget(balancer, slot).await,
        _ => Ok(()),
    }
}

pub(crate) async fn forget(balancer: &Balancer, slot: Slot) -> Result<()> {
    balancer.host().write(&path(balancer, slot), b"", 0o644).await
}

async fn write(balancer: &Balancer, slot: Slot, kept: &Kept) -> Result<()> {
    let text = serde_json::to_vec(kept).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the servers of before cannot be written as JSON").with_source(error)
    })?;
    balancer.host().write(&path(balancer, slot), &text, 0o644).await
}

fn path(balancer: &Balancer, slot: Slot) -> String {
    format!("{}/before-{slot}", balancer.state_directory)
}
