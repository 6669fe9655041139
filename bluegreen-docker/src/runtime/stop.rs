//! Taking a slot's project down: what depends on others first, without volumes, and nothing that is shared.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result, Slot, Stopped};
use bollard::query_parameters::{
    ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::container::{Container, State, containers_of, inspect};
use super::owner::is_ours;
use super::{Inner, logs, pre_stop};
use crate::compose::wait_for_others;
use crate::engine::{Engine, if_found, quick, within};
use crate::labels;

/// How often it is looked whether anything has appeared meanwhile, by a start that was cut off and whose last request
/// the engine was still at.
const ROUNDS: usize = 10;

/// What others depend on has that long to end, or the whole grace where that is shorter, also when those others have used
/// up the grace: a database must not pay for a program that ignores its signals.
const AT_LEAST: Duration = Duration::from_secs(10);

/// How long all that may take beyond the grace. A pipeline gives a stop a minute more than the grace.
const BEYOND: Duration = Duration::from_secs(30);

/// How much longer than the grace the engine may take to kill what did not end.
const TO_KILL: Duration = Duration::from_secs(60);

/// What a killed container lacks, most often.
const INIT: &str = "a program that ignores SIGTERM as the container's first process ends with `init: true`, or with `exec` in \
                    its start script; one that needs longer gets it by `stop_grace_period:`";

pub(super) async fn stop(inner: &Inner, slot: Slot, grace: Duration) -> Result<Stopped> {
    let (mut touched, mut killed) = (false, Vec::new());
    let done = take_down(inner, slot, grace, &mut touched, &mut killed).await;
    // A look that fails has changed nothing; what went before it has.
    done.map_err(|error| if touched { error.maybe_applied() } else { error })?;
    let stopped = killed.iter().map(|(title, _)| title.clone()).fold(Stopped::default(), Stopped::killing);
    Ok(if killed.iter().any(|(_, has_init)| !has_init) { stopped.with_hint(INIT) } else { stopped })
}

/// How long the containers of a slot are given in all, by the pipeline or by themselves.
pub(super) async fn grace_of(inner: &Inner, slot: Slot, grace: Duration) -> Result<Duration> {
    let containers = containers_of(&inner.engine, inner.name_of_project(slot)).await?;
    let mut all = Duration::ZERO;
    for now in in_order(&containers) {
        let own = now.iter().map(|container| container.own_grace).max().unwrap_or_default();
        all += grace.saturating_sub(all).max(own);
    }
    Ok(all.max(grace))
}

async fn take_down(
    inner: &Inner,
    slot: Slot,
    grace: Duration,
    touched: &mut bool,
    killed: &mut Vec<(String, bool)>,
) -> Result<()> {
    let Inner { service, engine, compose, state, records, .. } = inner;
    let project = &*inner.project_name(slot);
    state.verify().await?;
    records.verify().await?;
    let patience = Patience { deadline: Instant::now() + grace, at_least: grace.min(AT_LEAST) };
    let mut is_quiet = false;
    for round in 0..ROUNDS {
        let containers = containers_of(engine, project).await?;
        is_ours(&containers, service, project)?;
        if containers.is_empty() {
            if is_quiet {
                return remove_networks(inner, project).await;
            }
            // Compose may be at it still, for a deployer that was killed. With its containers gone, it ends.
            wait_for_others(&state.host, &state.lock(slot)).await?;
            is_quiet = true;
            continue;
        }
        if round > 0 && !is_quiet {
            // Something else is at these containers: a removal that is under way, or a start that was cut off.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        *touched = true;
        killed.extend(stop_in_order(engine, &containers, patience).await?);
        let services: Vec<_> = containers.iter().filter(|container| !container.is_one_off).cloned().collect();
        if let Err(error) = logs::keep(engine, &compose.mask, records, slot, &services).await {
            logs::not_kept(&error);
        }
        try_join_all(containers.iter().map(|container| remove(engine, container))).await?;
        tracing::info!(%slot, project, containers = containers.len(), "removed");
    }
    Err(Error::new(ErrorKind::Unexpected, "containers appear in the slot as fast as they are removed")
        .with("project", project)
        .with_hint("is someone else at work on this project?"))
}

/// How long containers are waited for until they are killed.
#[derive(Debug, Clone, Copy)]
struct Patience {
    deadline: Instant,
    at_least: Duration,
}

impl Patience {
    /// For those that are told to end now.
    fn left(self, now: Instant) -> Duration {
        let beyond = (self.deadline + BEYOND).saturating_duration_since(now);
        self.deadline.saturating_duration_since(now).max(self.at_least.min(beyond))
    }
}

/// Those that are told to end at the same time: what others depend on comes after these.
fn in_order(containers: &[Container]) -> Vec<Vec<&Container>> {
    let (mut left, mut order): (Vec<&Container>, _) = (containers.iter().collect(), Vec::new());
    while !left.is_empty() {
        let needed: BTreeSet<_> = left.iter().flat_map(|container| container.depends_on()).collect();
        let (later, mut now): (Vec<_>, Vec<_>) =
            left.iter().copied().partition(|container| needed.contains(container.service.as_str()));
        left = later;
        if now.is_empty() {
            // They wait for each other, which Compose refuses: someone changed the labels.
            now = std::mem::take(&mut left);
        }
        order.push(now);
    }
    order
}

/// Names what had to be killed, and says whether it had an init process.
async fn stop_in_order(engine: &Engine, containers: &[Container], patience: Patience) -> Result<Vec<(String, bool)>> {
    let mut killed = Vec::new();
    for now in in_order(containers) {
        let grace = patience.left(Instant::now());
        let stopped = now.into_iter().map(|container| async move {
            let was_killed = stop_one(engine, container, grace.max(container.own_grace)).await?;
            Ok::<_, Error>(was_killed.then(|| (container.title(containers), container.has_init)))
        });
        killed.extend(try_join_all(stopped).await?.into_iter().flatten());
    }
    Ok(killed)
}

/// Tells whether it had to be killed.
pub(super) async fn stop_one(engine: &Engine, container: &Container, grace: Duration) -> Result<bool> {
    if !container.is_alive() {
        return Ok(false);
    }
    let began = Instant::now();
    pre_stop::run(engine, container, grace).await;
    let grace = grace.saturating_sub(began.elapsed());
    // The engine counts in whole seconds, and kills at once at zero.
    let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::default().t(seconds).build();
    let docker = engine.docker().await?;
    let told = Instant::now();
    let stopped =
        within(grace + TO_KILL, "stop a container", docker.stop_container(&container.id, Some(options))).await;
    if_found(stopped).map_err(|error| error.with("compose service", &container.service))?;
    if told.elapsed() < grace {
        return Ok(false);
    }
    let ended = inspect(engine, &container.id).await?;
    Ok(ended.is_some_and(|ended| matches!(ended.state, State::Exited { status: 137, out_of_memory: false, .. })))
}

/// With its volumes that have no name: nobody could find them again. Those with a name stay.
async fn remove(engine: &Engine, container: &Container) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let docker = engine.docker().await?;
    let removed = within(TO_KILL, "remove a container", docker.remove_container(&container.id, Some(options))).await;
    match removed {
        // A removal is under way already; the next look waits for it.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        removed => if_found(removed).map(drop).map_err(|error| error.with("compose service", &container.service)),
    }
}

/// Removes the networks that were made for this project alone. One with a name of its own may be used by others.
async fn remove_networks(inner: &Inner, project: &str) -> Result<()> {
    let docker = inner.engine.docker().await?;
    let filters = HashMap::from([("label", vec![format!("{}={project}", labels::COMPOSE_PROJECT)])]);
    let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
    let networks = quick("list the networks of a slot", docker.list_networks(Some(options))).await?;
    for network in networks {
        let (Some(id), Some(name)) = (network.id, network.name) else { continue };
        let owner = network.labels.as_ref().and_then(|labels| labels.get(labels::SERVICE));
        let is_others = owner.is_some_and(|owner| owner != inner.service.as_str());
        if is_others || !name.starts_with(&format!("{project}_")) {
            continue;
        }
        match if_found(quick("remove a network", docker.remove_network(&id)).await) {
            Ok(_) => {}
            // Another container was connected to it by hand: it is that one's now.
            Err(error) if error.message().contains("active endpoints") => {
                tracing::warn!(network = name, "still in use, so it stays");
            }
            Err(error) => return Err(error.with("network", name)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_when_the_grace_is_used_up_is_little_and_has_an_end() {
        let begun = Instant::now();
        let left = |grace: u64, after: u64| {
            let (grace, after) = (Duration::from_secs(grace), Duration::from_secs(after));
            Patience { deadline: begun + grace, at_least: grace.min(AT_LEAST) }.left(begun + after).as_secs()
        };
        assert_eq!([left(30, 0), left(30, 12), left(30, 25), left(30, 30)], [30, 18, 10, 10]);
        // Layer after layer that does not end by itself.
        assert_eq!([left(30, 40), left(30, 50), left(30, 55), left(30, 60)], [10, 10, 5, 0]);
        assert_eq!([left(2, 2), left(0, 0)], [2, 0]);
    }
}
