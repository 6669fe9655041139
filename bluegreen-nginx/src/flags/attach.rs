//! Telling nginx where a slot listens: the only thing that takes a reload.

use std::future::ready;

use bluegreen_core::{Error, ErrorKind, Instance, Preview, Result, Slot};
use futures::future::BoxFuture;

use super::observe::{self, Seen};
use crate::before::{self, Kept};
use crate::changes;
use crate::install::{self, ATTEMPTS, Change, Installed, always_overtaken};
use crate::preview::{self, Watched};
use crate::server::Server;
use crate::site;
use crate::slot_addresses::SlotAddresses;

pub(super) async fn attach(
    server: &Server,
    slot: Slot,
    instance: &Instance,
    begun: BoxFuture<'_, Result<()>>,
) -> Result<()> {
    let mut begun = Some(begun);
    if server.config.own_files {
        return Ok(());
    }
    let addresses = server.addresses_of(slot, instance)?;
    let (path, key) = (server.config.site_file_path(), before::key(slot, instance));
    for _ in 0..ATTEMPTS {
        let site = async {
            let text = server.site(&path).await?;
            // Behind it: of a text whose installation has begun, it is seen whether that has ended.
            Ok((text, install::is_open(server, &path).await?))
        };
        let looks =
            async { tokio::try_join!(server.version(), site, install::answer(server), Kept::read(server, &path)) };
        let (looks, begun) = tokio::join!(looks, begun.take().unwrap_or_else(|| Box::pin(ready(Ok(())))));
        begun?;
        let (version, (text, is_open), answer, kept) = looks?;
        let said = text.as_deref().and_then(SlotAddresses::in_site);
        let mut known = server.known(text.as_deref());
        let release = server.named_version(instance);
        let says_all = said.is_some_and(|said| said.of(slot) == addresses && said.version(slot) == release.as_ref());
        *known.of_mut(slot) = addresses.clone();
        known.set_version(slot, release);
        let site = site::flag_site(&server.config, &known, version)?;
        // An installation that was cut off may be in the middle of its reload, when workers with the old text still take
        // requests now and then: one that was not ended is made again.
        let is_in_place = text.as_ref() == Some(&site.text) && !is_open;
        if is_in_place && install::is_shown(server, &site.id, answer.as_ref()) {
            return before::nothing_written(server, &path, &key, kept).await;
        }
        if changes::is_changed(server, &path, text.as_deref(), "").await? {
            if says_all && changes::is_loaded(server, &path, text.as_deref()).await? {
                return Ok(());
            }
            return Err(changes::conflict(server, &path, text.as_deref(), &site.text).await?);
        }
        if text.as_deref().and_then(SlotAddresses::in_site).is_none() {
            keeps_other(server, slot, &known).await?;
        }
        let change = Change { path: &path, old: text.as_deref(), new: Some(&site.text), link: "", key: &key };
        if install::install(server, change).await? == Installed::Yes {
            return Ok(());
        }
    }
    Err(always_overtaken(&path))
}

pub(super) async fn preview(server: &Server) -> Result<Preview> {
    if server.config.own_files {
        return Ok(Preview::default());
    }
    let path = server.config.site_file_path();
    let (text, version, warnings) = tokio::try_join!(server.site(&path), server.version(), preview::warnings(server))?;
    let ours = site::flag_site(&server.config, &server.known(text.as_deref()), version)?.text;
    preview::preview(server, warnings, &[Watched { path, text, ours, link: String::new() }]).await
}

/// A site that does not say where the slots listen, because it is gone or was damaged, must not cost the other slot its
/// address while it has traffic.
async fn keeps_other(server: &Server, slot: Slot, known: &SlotAddresses) -> Result<()> {
    let other = slot.other();
    if !known.of(other).is_empty() {
        return Ok(());
    }
    let split = match observe::await_consistent(server).await? {
        Seen::Agreed(split) => split,
        Seen::Damaged(split, _) => Some(split),
        Seen::Drifted(error) | Seen::Unreachable(error) => return Err(error),
    };
    if split.is_some_and(|split| split.routes_to(other)) {
        let what = format!("the site does not say any more where {other} listens, and {other} has traffic");
        let advice = "put the site back, or set `.slots(([\"host:port\"], [\"host:port\"]))`";
        return Err(Error::new(ErrorKind::Corrupt, what).not_applied().with_hint(advice));
    }
    Ok(())
}
