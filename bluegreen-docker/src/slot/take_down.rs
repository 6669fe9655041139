//! Taking a slot down: what depends on others first, with what has no name and can be found by nobody again.

use std::collections::BTreeSet;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result, Slot, Stopped};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::container::{Container, State, containers_of, inspect};
use super::owner::is_ours;
use super::slots::Slots;
use super::{logs, pre_stop};
use crate::engine::{Engine, if_found, within};

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

/// A slot that is being taken down.
pub(crate) struct TakeDown<'a> {
    slots: &'a Slots,
    slot: Slot,
    patience: Patience,
    touched: bool,
    killed: Vec<(String, bool)>,
}

impl<'a> TakeDown<'a> {
    pub(crate) fn new(slots: &'a Slots, slot: Slot, grace: Duration) -> Self {
        let patience = Patience { deadline: Instant::now() + grace, at_least: grace.min(AT_LEAST) };
        Self { slots, slot, patience, touched: false, killed: Vec::new() }
    }

    /// Stops and removes what is there until nothing is left. `settle` is asked for once then: whatever is at work in the slot
    /// has ended when it returns, and what came of that is removed too.
    pub(crate) async fn run(&mut self, settle: impl Future<Output = Result<()>>) -> Result<()> {
        let Slots { service, engine, groups, mask, records, .. } = self.slots;
        let (group, mut settle) = (&groups[self.slot], Some(settle));
        records.verify().await?;
        for round in 0..ROUNDS {
            let containers = containers_of(engine, group).await?;
            is_ours(&containers, service, group)?;
            if containers.is_empty() {
                match settle.take() {
                    Some(settle) => settle.await?,
                    None => return Ok(()),
                }
                continue;
            }
            if round > 0 && settle.is_some() {
                // Something else is at these containers: a removal that is under way, or a start that was cut off.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            self.touched = true;
            self.killed.extend(stop_in_order(engine, &containers, self.patience).await?);
            let services: Vec<_> = containers.iter().filter(|container| !container.is_one_off).cloned().collect();
            if let Err(error) = logs::keep(engine, mask, records, self.slot, &services).await {
                logs::not_kept(&error);
            }
            try_join_all(containers.iter().map(|container| remove(engine, container))).await?;
            tracing::info!(slot = %self.slot, group = %group, containers = containers.len(), "removed");
        }
        Err(Error::new(ErrorKind::Unexpected, "containers appear in the slot as fast as they are removed")
            .with(group.kind(), group)
            .with_hint(format!("is someone else at work on this {}?", group.kind())))
    }

    /// How it ended. `hint` is for what had to be killed and has no init process.
    pub(crate) fn ended(self, done: Result<()>, hint: &str) -> Result<Stopped> {
        // A look that fails has changed nothing; what went before it has.
        done.map_err(|error| if self.touched { error.maybe_applied() } else { error })?;
        let stopped = self.killed.iter().map(|(title, _)| title.clone()).fold(Stopped::default(), Stopped::killing);
        Ok(if self.killed.iter().any(|(_, has_init)| !has_init) { stopped.with_hint(hint) } else { stopped })
    }
}

/// How long the containers of a slot are given in all, by the pipeline or by themselves.
pub(crate) async fn grace_of(slots: &Slots, slot: Slot, grace: Duration) -> Result<Duration> {
    let containers = containers_of(&slots.engine, &slots.groups[slot]).await?;
    let mut all = Duration::ZERO;
    for now in in_order(&containers) {
        let own = now.iter().map(|container| container.own_grace).max().unwrap_or_default();
        all += grace.saturating_sub(all).max(own);
    }
    Ok(all.max(grace))
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
pub(crate) async fn stop_one(engine: &Engine, container: &Container, grace: Duration) -> Result<bool> {
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
pub(crate) async fn remove(engine: &Engine, container: &Container) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    let docker = engine.docker().await?;
    let removed = within(TO_KILL, "remove a container", docker.remove_container(&container.id, Some(options))).await;
    match removed {
        // A removal is under way already; the next look waits for it.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        removed => if_found(removed).map(drop).map_err(|error| error.with("compose service", &container.service)),
    }
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
