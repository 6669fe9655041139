//! Writing a slot's site. Only the site that is live takes a reload.

use bluegreen_core::{Error, ErrorKind, Instance, Preview, Result, Slot, Version};

use super::observe::{self, Link};
use crate::before;
use crate::changes;
use crate::install::{self, ATTEMPTS, Change, Installed, always_overtaken};
use crate::nginx_version::NginxVersion;
use crate::preview::{self, Watched};
use crate::server::Server;
use crate::site::{self, Site};
use crate::slot_addresses::SlotAddresses;

pub(super) async fn attach(server: &Server, slot: Slot, instance: &Instance) -> Result<()> {
    let config = &server.config;
    if config.own_files {
        return Ok(());
    }
    let addresses = server.addresses_of(slot, instance)?;
    let attachment = Attachment {
        slot,
        addresses: &addresses,
        release: server.named_version(instance),
        key: &before::key(slot, instance),
        nginx: server.version().await?,
    };
    if stays_changed(server, slot, &attachment).await? {
        return Ok(());
    }
    bring_up_to_date(server, slot, &attachment).await?;
    // The other slot's site names this one as its backup.
    if config.backup && server.site(&config.slot_file_path(slot.other())).await?.is_some() {
        bring_up_to_date(server, slot.other(), &attachment).await?;
    }
    Ok(())
}

/// What the router is told.
struct Attachment<'a> {
    slot: Slot,
    addresses: &'a [String],
    /// The version that the site is to name.
    release: Option<Version>,
    key: &'a str,
    nginx: Option<NginxVersion>,
}

/// Whether the slot's site holds changes of somebody else's and all that has to be said, so that it stays as it is.
///
/// # Errors
/// `Conflict` where the other slot's site holds such changes and this one does not: traffic that moves here would lose them.
async fn stays_changed(server: &Server, slot: Slot, attachment: &Attachment<'_>) -> Result<bool> {
    let config = &server.config;
    let [path, other] = [slot, slot.other()].map(|slot| config.slot_file_path(slot));
    let (text, theirs) = tokio::try_join!(server.site(&path), server.site(&other))?;
    if changes::is_changed(server, &path, text.as_deref(), &config.link_path()).await? {
        let said = server.said(text.as_deref());
        if said.of(slot) != attachment.addresses || said.version(slot) != attachment.release.as_ref() {
            return Ok(false);
        }
        let seen = observe::await_consistent(server).await?;
        let is_live = matches!(&seen.link, Link::Slot(linked, _) if *linked == slot);
        return Ok(!is_live || changes::is_loaded(server, &path, text.as_deref()).await?);
    }
    let ours = site::slot_site(config, slot.other(), &known(server).await?, attachment.nginx)?;
    changes::refuse(server, &other, theirs.as_deref(), &ours.text, &config.link_path()).await?;
    Ok(false)
}

/// Writes the site of `whose`.
async fn bring_up_to_date(server: &Server, whose: Slot, attachment: &Attachment<'_>) -> Result<()> {
    let Attachment { slot, addresses, release, key, nginx } = attachment;
    let config = &server.config;
    let (path, link) = (config.slot_file_path(whose), config.link_path());
    for _ in 0..ATTEMPTS {
        let text = server.site(&path).await?;
        let mut known = known(server).await?;
        *known.of_mut(*slot) = addresses.to_vec();
        known.set_version(*slot, release.clone());
        if known.of(whose).is_empty() {
            let what = format!("the site of {whose} does not say any more where it listens");
            let error = Error::new(ErrorKind::Corrupt, what).not_applied().with("site", path);
            return Err(
                error.with_hint(format!("attach {whose} again, or set `.slots(([\"host:port\"], [\"host:port\"]))`"))
            );
        }
        let site = site::slot_site(config, whose, &known, *nginx)?;
        if is_in_force(server, whose, &path, text.as_deref(), &site).await? {
            return before::unchanged(server, &path, key).await;
        }
        changes::refuse(server, &path, text.as_deref(), &site.text, &link).await?;
        let change = Change { path: &path, old: text.as_deref(), new: Some(&site.text), link: &link, key };
        if install::install(server, change).await? == Installed::Yes {
            return Ok(());
        }
    }
    Err(always_overtaken(&path))
}

pub(super) async fn preview(server: &Server) -> Result<Preview> {
    let config = &server.config;
    if config.own_files {
        return Ok(Preview::default());
    }
    let (known, version) = tokio::try_join!(known(server), server.version())?;
    let mut files = Vec::new();
    for slot in Slot::BOTH {
        let path = config.slot_file_path(slot);
        let text = server.site(&path).await?;
        let ours = site::slot_site(config, slot, &known, version)?.text;
        files.push(Watched { path, text, ours, link: config.link_path() });
    }
    preview::preview(server, preview::warnings(server).await?, &files).await
}

/// Puts back what the last attach of a slot has changed.
pub(super) async fn detach(server: &Server, slot: Slot) -> Result<()> {
    let config = &server.config;
    for whose in Slot::BOTH {
        let in_use = whose != slot;
        before::put_back(server, &config.slot_file_path(whose), slot, &config.link_path(), in_use).await?;
    }
    Ok(())
}

/// Where the slots listen, each by its own site.
async fn known(server: &Server) -> Result<SlotAddresses> {
    let mut known = SlotAddresses::default();
    for slot in Slot::BOTH {
        let text = server.site(&server.config.slot_file_path(slot)).await?;
        let own = server.known(text.as_deref());
        *known.of_mut(slot) = own.of(slot).to_vec();
        known.set_version(slot, own.version(slot).cloned());
    }
    Ok(known)
}

/// Whether there is nothing to do: the site is not live and has this text, or nginx runs it. A site that is live is
/// touched only while link and nginx agree, because a reload would follow the link.
async fn is_in_force(server: &Server, slot: Slot, path: &str, text: Option<&str>, site: &Site) -> Result<bool> {
    let seen = observe::await_consistent(server).await?;
    if !matches!(&seen.link, Link::Slot(linked, _) if *linked == slot) {
        return Ok(text == Some(&site.text));
    }
    seen.agreed(server)?;
    install::is_in_force(server, path, text, site).await
}
