//! Telling nginx where a slot listens: the only thing that takes a reload.

use bluegreen_core::{Error, ErrorKind, Instance, Result, Slot};

use super::observe::{self, Seen};
use crate::install::{self, Installed};
use crate::server::Server;
use crate::site::{self, SlotAddresses};

/// How often the site may change under our hands before that is an error.
const ATTEMPTS: u32 = 5;

pub(super) async fn attach(server: &Server, slot: Slot, instance: &Instance) -> Result<()> {
    if server.config.own_files {
        return Ok(());
    }
    let addresses = server.addresses_of(slot, instance)?;
    let path = server.config.site_file_path();
    for _ in 0..ATTEMPTS {
        let (version, text) = tokio::try_join!(server.version(), server.text(&path))?;
        let mut known = server.known(text.as_deref());
        if text.as_deref().and_then(SlotAddresses::in_site).is_none() {
            keeps_other(server, slot, &known).await?;
        }
        *known.of_mut(slot) = addresses.clone();
        let site = site::flag_site(&server.config, &known, version)?;
        if install::is_in_force(server, &path, text.as_deref(), &site).await? {
            return Ok(());
        }
        if install::install(server, &path, text.as_deref(), &site, "").await? == Installed::Yes {
            return Ok(());
        }
    }
    let error = Error::new(ErrorKind::Conflict, format!("the site was changed by someone else {ATTEMPTS} times"));
    Err(error.not_applied().retryable(true).with("site", path))
}

/// A site that does not say where the slots listen, because it is gone or was damaged, must not cost the other slot its
/// address while it has traffic.
async fn keeps_other(server: &Server, slot: Slot, known: &SlotAddresses) -> Result<()> {
    let other = slot.other();
    if !known.of(other).is_empty() {
        return Ok(());
    }
    let split = match observe::settled(server).await? {
        Seen::Agreed(split) => split,
        Seen::Damaged(split, _) => Some(split),
        Seen::Drifted(error) | Seen::Unreachable(error) => return Err(error),
    };
    if split.is_some_and(|split| split.routes_to(other)) {
        let what = format!("the site does not say any more where {other} listens, and {other} has traffic");
        let advice = format!("put the site back, or set `.slot(Slot::{other:?}, \"host:port\")`");
        return Err(Error::new(ErrorKind::Corrupt, what).not_applied().advice(advice));
    }
    Ok(())
}
