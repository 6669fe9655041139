//! Services that run in the slot with all traffic alone.

use std::collections::HashMap;

use bluegreen_core::{Error, ErrorKind, Result, Slot};
use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::StartContainerOptions;
use futures::future::try_join_all;

use super::Inner;
use crate::engine::{Engine, quick};
use crate::labels;
use crate::slot::container::{self, Container, State, containers_of};
use crate::slot::restart_policy::restart_policy;
use crate::slot::take_down::stop_one;

/// How long one that asks for no other time is given to end, as by `docker stop`.
const GRACE: std::time::Duration = std::time::Duration::from_secs(10);

/// Stops them in the other slot, and starts them in this one: never are both at work.
pub(super) async fn promoted(inner: &Inner, live: Slot) -> Result<()> {
    if inner.wishes.only_while_live.is_empty() {
        return Ok(());
    }
    let of = async |slot: Slot| {
        let mut found = inner.slots.services(slot).await?;
        found.retain(|container| container.label(labels::ONLY_WHILE_LIVE).is_some());
        Ok::<_, Error>(found)
    };
    let (old, new) = futures::try_join!(of(live.other()), of(live))?;
    let end = async |container: &Container| {
        if !container.is_alive() {
            return Ok(());
        }
        // Or the engine would bring it up again when it is restarted itself.
        restart(&inner.slots.engine, container, "no").await?;
        stop_one(&inner.slots.engine, container, GRACE.max(container.own_grace)).await.map(drop)
    };
    try_join_all(old.iter().map(end)).await?;
    let begin = async |container: &Container| {
        if container.is_alive() {
            return Ok(());
        }
        restart(&inner.slots.engine, container, container.label(labels::ONLY_WHILE_LIVE).unwrap_or_default()).await?;
        let docker = inner.slots.engine.docker().await?;
        let started = docker.start_container(&container.id, None::<StartContainerOptions>);
        quick("start a container", started).await.map_err(|error| error.with("compose service", &container.service))
    };
    try_join_all(new.iter().map(begin)).await?;
    // One that cannot be started at all is noticed here, and all others by the next look at the slot.
    for container in &new {
        if let Some(found) = container::inspect(&inner.slots.engine, &container.id).await?
            && let State::Created { .. } = found.state
        {
            let what = format!("{}: {}", found.service, found.ending());
            return Err(Error::new(ErrorKind::Unhealthy, what));
        }
    }
    Ok(())
}

/// Sets what the engine does when a container ends: `no`, `always`, `unless-stopped`, `on-failure[:count]`.
async fn restart(engine: &Engine, container: &Container, policy: &str) -> Result<()> {
    let body = ContainerUpdateBody { restart_policy: Some(restart_policy(policy)), ..ContainerUpdateBody::default() };
    let updated = engine.docker().await?.update_container(&container.id, body);
    quick("set when a container restarts", updated)
        .await
        .map_err(|error| error.with("compose service", &container.service))
}

/// The ids of those that do not run because the other slot's do.
pub(super) async fn resting(inner: &Inner, found: &[Container]) -> Result<Vec<String>> {
    let mut down =
        found.iter().filter(|container| container.label(labels::ONLY_WHILE_LIVE).is_some() && !container.is_alive());
    let Some(first) = down.next() else { return Ok(Vec::new()) };
    let own = first.label(labels::COMPOSE_PROJECT);
    let other = inner.slots.groups.iter().find(|group| Some(group.name.as_str()) != own);
    let Some(other) = other else { return Ok(Vec::new()) };
    let others = containers_of(&inner.slots.engine, other).await?;
    let by_service: HashMap<_, _> = others.iter().map(|other| (other.service.as_str(), other.is_alive())).collect();
    let rests = |container: &&Container| {
        let is_unstarted = matches!(&container.state, State::Created { error } if error.is_empty());
        is_unstarted || by_service.get(container.service.as_str()) == Some(&true)
    };
    Ok([first].into_iter().chain(down).filter(rests).map(|container| container.id.clone()).collect())
}
