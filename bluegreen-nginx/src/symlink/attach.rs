//! Writing a slot's site. Only the site that is live takes a reload.

use bluegreen_core::{Error, ErrorKind, Instance, Result, Slot};

use super::observe::{self, Link};
use crate::install::{self, Installed};
use crate::server::Server;
use crate::site::{self, NginxVersion, Site, SlotAddresses};

/// How often a site may change under our hands before that is an error.
const ATTEMPTS: u32 = 5;

pub(super) async fn attach(server: &Server, slot: Slot, instance: &Instance) -> Result<()> {
    let config = &server.config;
    if config.own_files {
        return Ok(());
    }
    let addresses = server.addresses_of(slot, instance)?;
    let version = server.version().await?;
    bring_up_to_date(server, slot, slot, &addresses, version).await?;
    // The other slot's site names this one as its backup.
    if config.backup && server.text(&config.slot_file_path(slot.other())).await?.is_some() {
        bring_up_to_date(server, slot.other(), slot, &addresses, version).await?;
    }
    Ok(())
}

/// Writes the site of `whose`, now that `slot` listens at `addresses`.
async fn bring_up_to_date(
    server: &Server,
    whose: Slot,
    slot: Slot,
    addresses: &[String],
    version: Option<NginxVersion>,
) -> Result<()> {
    let config = &server.config;
    let path = config.slot_file_path(whose);
    for _ in 0..ATTEMPTS {
        let text = server.text(&path).await?;
        let mut known = known(server).await?;
        *known.of_mut(slot) = addresses.to_vec();
        if known.of(whose).is_empty() {
            let what = format!("the site of {whose} does not say any more where it listens");
            let error = Error::new(ErrorKind::Corrupt, what).not_applied().with("site", path);
            return Err(error.advice(format!("attach {whose} again, or set `.slot(Slot::{whose:?}, \"host:port\")`")));
        }
        let site = site::slot_site(config, whose, &known, version)?;
        if is_in_force(server, whose, &path, text.as_deref(), &site).await? {
            return Ok(());
        }
        if install::install(server, &path, text.as_deref(), &site, &config.link_path()).await? == Installed::Yes {
            return Ok(());
        }
    }
    let error = Error::new(ErrorKind::Conflict, format!("the site was changed by someone else {ATTEMPTS} times"));
    Err(error.not_applied().retryable(true).with("site", path))
}

/// Where the slots listen, each by its own site.
async fn known(server: &Server) -> Result<SlotAddresses> {
    let mut known = SlotAddresses::default();
    for slot in Slot::BOTH {
        let text = server.text(&server.config.slot_file_path(slot)).await?;
        *known.of_mut(slot) = server.known(text.as_deref()).of(slot).to_vec();
    }
    Ok(known)
}

/// Whether there is nothing to do: the site is not live and has this text, or nginx runs it. A site that is live is
/// touched only while link and nginx agree, because a reload would follow the link.
async fn is_in_force(server: &Server, slot: Slot, path: &str, text: Option<&str>, site: &Site) -> Result<bool> {
    let seen = observe::settled(server).await?;
    if !matches!(&seen.link, Link::Slot(linked, _) if *linked == slot) {
        return Ok(text == Some(&site.text));
    }
    seen.agreed(server)?;
    install::is_in_force(server, path, text, site).await
}
