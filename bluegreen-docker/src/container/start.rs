//! Making a slot's container, and waiting until it is ready.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Instance, Result, Target};
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};
use futures::future::try_join_all;

use super::Inner;
use super::creation::Creation;
use super::prepare::name_is_free;
use crate::engine::quick;
use crate::labels;
use crate::slot::container::{Container, services_of};
use crate::slot::free_ports::{LOOPBACK, Search};
use crate::slot::occupant;
use crate::slot::readiness::{Expected, Readiness};
use crate::slot::slots::Slots;
use crate::slot::start_notes::StartNotes;
use crate::slot::take_down::remove;
use crate::slot::used_ports::Taken;
use crate::slot::watch::Known;

/// How often it is tried to make the container while its name is taken by one that the engine is still making, or removing, for
/// a call that was cut off.
const ATTEMPTS: usize = 50;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn start(inner: &Inner, target: &Target) -> Result<Instance> {
    let slots = &inner.slots;
    slots.is_for_us(target)?;
    let before = slots.services(target.slot).await?;
    occupant::is_not_another(&before, target)?;
    let records = slots.records.read_all().await?;
    let image = records.prepared(target.version())?.exact_image(slots.service.as_str())?;
    let creation = Creation::of(inner, target, image)?;
    let runs = runs(&before, target, &creation.digest)?;

    let Slots { stabilization_time, restarts_allowed, .. } = *slots;
    let expected = Expected { wanted: [slots.service.as_str().to_owned()].into(), ..Expected::default() };
    let readiness = Readiness::of_start(expected, &before, stabilization_time, restarts_allowed);
    // From before anything is started, so that no end of the container goes unheard.
    let known = Known::new(&slots.engine, readiness).await?;
    let group = &slots.groups[target.slot];
    let mut watch = slots.watch(group, known);
    if !runs {
        let port = port(inner, target, &before).await?;
        name_is_free(inner, target).await?;
        make(inner, target, creation, port).await?;
    }
    Box::pin(watch.until_ready()).await?;

    let after = services_of(&slots.engine, group).await.map_err(Error::maybe_applied)?;
    slots.brought_up.put(target, watch.into_known());
    StartNotes::of(&after).write(&slots.records, target.slot).await.map_err(Error::maybe_applied)?;
    let accepted = slots.accepted(target.slot).await.map_err(Error::maybe_applied)?;
    let instance = inner.instance(&accepted).await.map_err(Error::maybe_applied)?;
    if inner.endpoints.iter().any(|endpoint| instance.endpoint(Some(&endpoint.name)).is_none()) {
        return Err(Error::config("the container publishes no port: is its network an internal one?").maybe_applied());
    }
    Ok(instance)
}

/// The port of the engine's machine that the slot gets.
pub(super) async fn port(inner: &Inner, target: &Target, before: &[Container]) -> Result<Option<u16>> {
    let Some(port) = inner.settings.port else { return Ok(None) };
    let Slots { groups, service, engine, .. } = &inner.slots;
    let (group, other) = (&groups[target.slot], &groups[target.slot.other()]);
    let mut taken = Taken::by_others(engine, group, before, other).await.map_err(Error::not_applied)?;
    let (slot, service, address) = (target.slot, service.as_str(), LOOPBACK);
    let search = Search { group, slot, service, port, count: 1, address, within: None, before };
    search.find(&mut taken).map(|row| Some(*row.start()))
}

/// Whether the very release runs; a `Conflict` where something else does.
fn runs(found: &[Container], target: &Target, digest: &str) -> Result<bool> {
    occupant::is_not_another(found, target)?;
    match found.iter().find(|container| container.is_alive()) {
        None => Ok(false),
        Some(container) if container.label(labels::SETTINGS) == Some(digest) => Ok(true),
        Some(_) => {
            let what = format!("{} runs in the slot with other settings, or another image", target.version());
            Err(occupant::conflict(target, what))
        }
    }
}

/// Replaces what is left in the slot and does not run.
async fn make(inner: &Inner, target: &Target, creation: Creation, port: Option<u16>) -> Result<()> {
    let Slots { engine, groups, .. } = &inner.slots;
    let (docker, name, digest) = (engine.docker().await?, &groups[target.slot].name, creation.digest.clone());
    let body = creation.published(inner, target, port);
    for attempt in 1.. {
        let left = inner.slots.services(target.slot).await?;
        // The engine may just have done what a start asked for that was cut off.
        if runs(&left, target, &digest)? {
            return Ok(());
        }
        try_join_all(left.iter().map(|container| remove(engine, container))).await?;
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        let created = quick("create the container", docker.create_container(Some(options), body.clone())).await;
        let id = match created {
            Ok(created) => created.id,
            Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(refused(inner, error, None)),
        };
        let started = quick("start the container", docker.start_container(&id, None::<StartContainerOptions>)).await;
        return started.map_err(|error| refused(inner, error, Some(ErrorKind::Unhealthy)));
    }
    Ok(())
}

/// What the engine says of a container that it does not make or start, as an error of this kind.
fn refused(inner: &Inner, error: Error, kind: Option<ErrorKind>) -> Error {
    let says = |text: &str| error.message().contains(text);
    let (kind, hint) = match error.kind() {
        ErrorKind::Unreachable | ErrorKind::Timeout => return error,
        _ if says("port is already allocated") || says("address already in use") => {
            (ErrorKind::Conflict, Some("somebody else has taken the port just now: try again"))
        }
        _ if says("No such image") => (ErrorKind::NotFound, Some("deploy this version again: a deploy prepares it")),
        other => (kind.unwrap_or(other), None),
    };
    let told = Error::new(kind, inner.slots.mask.apply(error.message()).into_owned());
    let told = error.operation().map(str::to_owned).into_iter().fold(told, Error::with_operation);
    hint.into_iter().fold(told, Error::with_hint)
}
