//! Getting the image of a release to the engine, and what is checked before.

use bluegreen_core::{Error, ErrorKind, Result, Target};
use bollard::query_parameters::InspectNetworkOptions;

use super::{Inner, image};
use crate::engine::{if_found, quick};
use crate::image::Reference;
use crate::slot::fetch::{self, Build, Fetched, Wanted};
use crate::slot::names::holder;
use crate::slot::records::Records;

pub(super) async fn prepare(inner: &Inner, target: &Target) -> Result<()> {
    let slots = &inner.slots;
    let records = slots.records.read_all().await?;
    let wanted = check(inner, target, &records).await?;
    let Fetched { images, attempt } = fetch::fetch_all(slots, target, &records, vec![wanted]).await?;
    let images = images.into_iter().filter_map(|(wanted, found)| Some((wanted, found?))).collect();
    fetch::record(slots, target, &records, attempt, images).await
}

/// Changes nothing, and fetches nothing.
pub(super) async fn check(inner: &Inner, target: &Target, records: &Records) -> Result<Wanted> {
    let slots = &inner.slots;
    slots.is_for_us(target)?;
    slots.services(target.slot).await?;
    name_is_free(inner, target).await?;
    network_is_there(inner).await?;
    let name = image::name(&inner.image, target)?;
    let service = slots.service.as_str();
    let recorded = records.releases.get(target.version()).and_then(|record| record.images.get(service)).cloned();
    if let Some(before) = recorded.as_ref().filter(|before| before.reference != name)
        && !slots.accept_changed_content
    {
        return Err(fetch::changed(target, service, &before.reference, &name));
    }
    let reference: Reference = name.parse()?;
    let services = vec![service.to_owned()];
    let wanted = Wanted { reference, policy: None, platform: None, build: Build::No, services, recorded };
    fetch::are_unchanged(slots, target, std::slice::from_ref(&wanted)).await?;
    Ok(wanted)
}

/// Refuses a slot whose container's name another container has.
pub(super) async fn name_is_free(inner: &Inner, target: &Target) -> Result<()> {
    let group = &inner.slots.groups[target.slot];
    match holder(&inner.slots.engine, &group.name, group).await.map_err(Error::not_applied)? {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorKind::Conflict,
            format!("another container, which is not of a deploy, has the name {:?} of the slot's", group.name),
        )
        .not_applied()
        .with_hint("rename or remove it, or name the slots' containers otherwise, with `.name(..)`")),
    }
}

async fn network_is_there(inner: &Inner) -> Result<()> {
    let Some(network) = &inner.settings.network else { return Ok(()) };
    let docker = inner.slots.engine.docker().await?;
    let found = quick("look for a network", docker.inspect_network(network, None::<InspectNetworkOptions>)).await;
    match if_found(found).map_err(Error::not_applied)? {
        Some(_) => Ok(()),
        None => Err(Error::new(ErrorKind::NotFound, format!("the engine has no network {network:?}"))
            .not_applied()
            .with_hint(format!("`docker network create {network}` on the engine's machine makes it"))),
    }
}
