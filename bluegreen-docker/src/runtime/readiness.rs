//! When a slot is ready, and when it never will be. Pure: it is given what the engine shows, and the time.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::container::{Container, Health, State, check_fails};
use crate::compose::Project;

/// Judges the containers of a slot that is being started.
#[derive(Debug)]
pub(super) struct Readiness {
    jobs: BTreeSet<String>,
    wanted: BTreeSet<String>,
    /// How often each container had been restarted when we came.
    restarts_before: HashMap<String, i64>,
    /// Since when we see each container running.
    seen_running: HashMap<String, Instant>,
    settle: Duration,
}

/// What there is to wait for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// By container.
    pub(super) on: Vec<String>,
    /// When to look again although nothing has happened.
    pub(super) until: Option<Instant>,
}

/// What the containers come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Ready,
    Waiting(Waiting),
    /// The containers that make it fail, by id, with the reason.
    Failed(Vec<(String, String)>),
}

impl Readiness {
    /// `before` is what is there already.
    pub(super) fn new(project: &Project, before: &[Container], settle: Duration) -> Self {
        let alive = before.iter().filter(|container| container.is_alive());
        let wanted = project.services.iter().filter(|(_, service)| service.is_wanted());
        Self {
            jobs: project.jobs(),
            wanted: wanted.map(|(name, _)| name.clone()).collect(),
            restarts_before: alive.map(|container| (container.id.clone(), container.restarts)).collect(),
            seen_running: HashMap::new(),
            settle,
        }
    }

    /// Whether a service is meant to end.
    pub(super) fn is_job(&self, service: &str) -> bool {
        self.jobs.contains(service)
    }

    /// `is_up` says whether Compose has done its part: until then, a container may wait to be started.
    pub(super) fn judge(&mut self, containers: &[Container], is_up: bool, now: Instant) -> Judgement {
        let (mut on, mut until, mut failed) = (Vec::new(), None::<Instant>, Vec::new());
        for container in containers {
            let title = container.title(containers);
            let restarts = self.restarts_before.get(&container.id).copied().unwrap_or(0);
            match (&container.state, &container.health) {
                (State::Created { .. }, _) if !is_up => on.push(format!("{title}: not yet started")),
                (State::Exited { status: 0, .. }, _) if self.jobs.contains(&container.service) => {}
                // What had ended before is replaced by Compose, which is at it.
                (State::Exited { .. }, _) if !is_up => on.push(format!("{title}: {}", container.ending())),
                (State::Created { .. } | State::Exited { .. }, _) => {
                    failed.push((container.id.clone(), container.ending()));
                }
                (State::Restarting { .. }, _) => {
                    failed.push((container.id.clone(), container.ending()));
                }
                (State::Running, _) if container.restarts > restarts => {
                    failed.push((container.id.clone(), "was restarted by the engine".to_owned()));
                }
                (State::Running, Some(Health::Unhealthy(output))) => {
                    failed.push((container.id.clone(), check_fails(output)));
                }
                (State::Running, Some(Health::Healthy)) => {}
                (State::Running, Some(Health::Starting)) => on.push(format!("{title}: not yet healthy")),
                (State::Running, None) if self.jobs.contains(&container.service) => {
                    on.push(format!("{title}: not yet done"));
                }
                (State::Running, None) => {
                    let settled = *self.seen_running.entry(container.id.clone()).or_insert(now) + self.settle;
                    if settled > now {
                        on.push(format!("{title}: not yet running for {:?}", self.settle));
                        until = Some(until.map_or(settled, |until| until.min(settled)));
                    }
                }
            }
        }
        if !failed.is_empty() {
            return Judgement::Failed(failed);
        }
        let missing = self.wanted.iter().filter(|name| !containers.iter().any(|found| found.service == **name));
        on.extend(missing.map(|name| format!("{name}: no container yet")));
        if on.is_empty() && is_up { Judgement::Ready } else { Judgement::Waiting(Waiting { on, until }) }
    }
}
