//! When a slot is ready, and when it never will be. Pure: it is given what the engine shows and tells, and the time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::container::{Container, Health, State, TO_PROVE_ITSELF, check_fails, in_words};

/// What is expected of a slot's services.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The services that may end with success.
    pub(crate) may_end: BTreeSet<String>,
    /// Those that are waited for until they have ended.
    pub(crate) jobs: BTreeSet<String>,
    /// Those that need not run yet.
    pub(crate) may_wait: BTreeSet<String>,
    pub(crate) wanted: BTreeSet<String>,
}

/// Judges the containers of a slot that is being brought up.
#[derive(Debug)]
pub(crate) struct Readiness {
    expected: Expected,
    /// How often each container may be restarted, if not for as long as it is waited for.
    restarts_allowed: Option<u32>,
    /// How often each container had been restarted when we came.
    restarts_before: HashMap<String, i64>,
    /// Since when we see each container running, by how often it was restarted before.
    seen_running: HashMap<(String, i64), Instant>,
    /// The exit statuses of each container since we came, by its id.
    ends: BTreeMap<String, Vec<i64>>,
    stabilization_time: Duration,
}

/// What there is to wait for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// By container.
    pub(crate) on: Vec<String>,
    /// When to look again although nothing has happened.
    pub(crate) until: Option<Instant>,
}

/// What the containers come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Ready,
    Waiting(Waiting),
    /// The containers that make it fail, by id, with the reason.
    Failed(Vec<(String, String)>),
}

impl Readiness {
    /// Of a slot that is about to be started. `before` is what is there already.
    pub(crate) fn of_start(
        expected: Expected,
        before: &[Container],
        stabilization_time: Duration,
        restarts_allowed: Option<u32>,
    ) -> Self {
        let alive = before.iter().filter(|container| container.is_alive());
        Self {
            expected,
            restarts_allowed,
            restarts_before: alive.map(|container| (container.id.clone(), container.restarts)).collect(),
            seen_running: HashMap::new(),
            ends: BTreeMap::new(),
            stabilization_time,
        }
    }

    /// Of a slot that was started before, by its containers: the compose file may be another one by now.
    pub(crate) fn of_kept(found: &[Container], may_wait: &BTreeSet<String>, restarts_allowed: Option<u32>) -> Self {
        let ends = found.iter().filter(|container| container.is_job() || container.was_done_at_start);
        let may_end = ends.map(|container| container.service.clone()).collect();
        let expected = Expected { may_end, may_wait: may_wait.clone(), ..Expected::default() };
        Self::of_start(expected, found, Duration::ZERO, restarts_allowed)
    }

    /// Whether it is well that a container of this service has ended with success.
    pub(crate) fn may_end(&self, service: &str) -> bool {
        self.expected.may_end.contains(service)
    }

    /// The engine told that a container has ended.
    pub(crate) fn ended(&mut self, id: &str, status: i64) {
        self.ends.entry(id.to_owned()).or_default().push(status);
    }

    /// The containers that have ended more than once, by id, with how often and how.
    pub(crate) fn loops(&self) -> HashMap<String, String> {
        self.ends.keys().filter_map(|id| Some((id.clone(), self.in_numbers(id)?))).collect()
    }

    /// "ended 9 times: exit status 1 (8 times), exit status 137 (killed)", where it was more than once.
    fn in_numbers(&self, id: &str) -> Option<String> {
        let ends = self.ends.get(id).filter(|ends| ends.len() > 1)?;
        let mut counts = BTreeMap::<i64, usize>::new();
        ends.iter().for_each(|status| *counts.entry(*status).or_default() += 1);
        let words = counts.into_iter().map(|(status, count)| match count {
            1 => in_words(status, false, ""),
            count => format!("{} ({count} times)", in_words(status, false, "")),
        });
        Some(format!("ended {} times: {}", ends.len(), words.collect::<Vec<_>>().join(", ")))
    }

    /// Why it does not run, or not for long.
    pub(crate) fn ending(&self, container: &Container) -> String {
        let in_numbers = self.in_numbers(&container.id);
        let last = || self.ends.get(&container.id).and_then(|ends| ends.last());
        in_numbers.unwrap_or_else(|| match (&container.state, last()) {
            (State::Running, Some(status)) => {
                format!("was restarted by the engine after {}", in_words(*status, false, ""))
            }
            (State::Running, None) => "was restarted by the engine".to_owned(),
            _ => container.ending(),
        })
    }

    fn restarts(&self, container: &Container) -> i64 {
        container.restarts - self.restarts_before.get(&container.id).copied().unwrap_or(0)
    }

    fn is_too_often(&self, container: &Container) -> bool {
        self.restarts_allowed.is_some_and(|allowed| self.restarts(container) > i64::from(allowed))
    }

    /// How long it must run until it counts as started: where nothing else vouches for it, and where it has ended before.
    fn to_run(&self, container: &Container) -> Duration {
        let stabilization_time = if container.health.is_none() { self.stabilization_time } else { Duration::ZERO };
        if self.restarts(container) > 0 { stabilization_time.max(TO_PROVE_ITSELF) } else { stabilization_time }
    }

    /// `is_up` says whether Compose has done its part: until then, a container may wait to be started.
    pub(crate) fn judge(&mut self, containers: &[Container], is_up: bool, now: Instant) -> Judgement {
        let (mut on, mut until, mut failed) = (Vec::new(), None::<Instant>, Vec::new());
        for container in containers {
            let title = container.title(containers);
            match (&container.state, &container.health) {
                (State::Created { .. } | State::Exited { .. }, _)
                    if self.expected.may_wait.contains(&container.service) => {}
                (State::Created { .. }, _) if !is_up => on.push(format!("{title}: not yet started")),
                (State::Exited { status: 0, .. }, _) if self.may_end(&container.service) => {}
                // What had ended before is replaced by Compose, which is at it.
                (State::Exited { .. }, _) if !is_up => on.push(format!("{title}: {}", container.ending())),
                (State::Created { .. } | State::Exited { .. }, _) => {
                    failed.push((container.id.clone(), self.ending(container)));
                }
                (State::Restarting { .. } | State::Running, _) if self.is_too_often(container) => {
                    failed.push((container.id.clone(), self.ending(container)));
                }
                (State::Restarting { .. }, _) => on.push(format!("{title}: {}", self.ending(container))),
                (State::Running, Some(Health::Unhealthy(output))) => {
                    failed.push((container.id.clone(), check_fails(output)));
                }
                (State::Running, Some(Health::Starting)) => on.push(format!("{title}: not yet healthy")),
                (State::Running, None) if self.expected.jobs.contains(&container.service) => {
                    on.push(format!("{title}: not yet done"));
                }
                (State::Running, Some(Health::Healthy) | None) => {
                    let start = (container.id.clone(), container.restarts);
                    let (since, to_run) = (*self.seen_running.entry(start).or_insert(now), self.to_run(container));
                    if since + to_run > now {
                        let why = self.in_numbers(&container.id).map(|why| format!("{why}; ")).unwrap_or_default();
                        on.push(format!("{title}: {why}not yet running for {to_run:?}"));
                        until = Some(until.map_or(since + to_run, |until| until.min(since + to_run)));
                    }
                }
            }
        }
        if !failed.is_empty() {
            return Judgement::Failed(failed);
        }
        let missing =
            self.expected.wanted.iter().filter(|name| !containers.iter().any(|found| found.service == **name));
        on.extend(missing.map(|name| format!("{name}: no container yet")));
        if on.is_empty() && is_up { Judgement::Ready } else { Judgement::Waiting(Waiting { on, until }) }
    }
}
