//! What an operation sets out to do, decided from what was observed. Nothing here has side effects.

use super::builder::Parts;
use super::observe::Observed;
use super::strategy::TrafficStep;
use crate::error::{Error, ErrorKind, Result};
use crate::state::{Operation, SlotStatus, State, Step};
use crate::types::{OperationId, Release, Slot, Split, Target, Version};

/// Where traffic goes, where it comes from, and where it can go back to.
#[derive(Debug, Clone)]
pub(super) struct Course {
    /// The release that is to get the traffic, in its slot.
    pub(super) target: Target,
    /// The release that has the traffic, if any has, even if it is down.
    pub(super) old: Option<Target>,
    /// Whether `old` runs, so that traffic can go back to it.
    pub(super) can_go_back: bool,
    /// Whether something is in the target slot that must be stopped first.
    pub(super) occupied: bool,
    /// The split when the operation began.
    pub(super) split: Option<Split>,
}

impl Course {
    /// The way of a release into the idle slot.
    ///
    /// # Errors
    /// `Conflict` when that is refused: see [`Pipeline::deploy`](super::Pipeline::deploy).
    pub(super) fn into_idle(
        parts: &Parts,
        operation: &OperationId,
        state: &State,
        seen: &Observed,
        release: Release,
    ) -> Result<Self> {
        refuse_divided(seen)?;
        let version = release.version().clone();
        let idle = last_live(state, seen).map_or_else(|| first_slot(seen), Slot::other);
        if let Some(live) = seen.live.filter(|live| seen.slot(*live).is_running())
            && holds(seen, state, live) == Some(version.clone())
        {
            return Err(refused(format!("{version} is live already, in {live}"), "there is nothing to deploy"));
        }
        if seen.slot(idle).is_running() && holds(seen, state, idle) == Some(version.clone()) {
            let (is, advice) = match state.slot(idle).status {
                SlotStatus::Retained => {
                    ("retained", "`rollback` brings it back; to deploy it anew, `retire_now` and deploy again")
                }
                _ => {
                    ("up already", "`promote` moves traffic to it; to bring it up anew, `retire_now` and deploy again")
                }
            };
            return Err(refused(format!("{version} is {is} in {idle}"), advice));
        }
        Ok(Self::new(
            parts,
            operation,
            state,
            seen,
            Target::new(parts.service.clone(), idle, release, operation.clone()),
        ))
    }

    /// The way of traffic to a slot that is up.
    pub(super) fn to_slot(
        parts: &Parts,
        operation: &OperationId,
        state: &State,
        seen: &Observed,
        slot: Slot,
    ) -> Result<Self> {
        let version = holds(seen, state, slot)
            .ok_or_else(|| refused(format!("nobody knows which version is in {slot}"), "deploy a release instead"))?;
        let target = Target::new(parts.service.clone(), slot, recorded(state, slot, version), operation.clone());
        Ok(Self::new(parts, operation, state, seen, target))
    }

    /// The way that a promotion was held on when it had all traffic: the slot has it and was never seen to answer at the
    /// public address. `None` where there is no such slot.
    pub(super) fn held_at_all(parts: &Parts, operation: &OperationId, state: &State, seen: &Observed) -> Option<Self> {
        let slot = seen.split.and_then(|split| split.sole())?;
        let other = slot.other();
        if !seen.slot(slot).is_running() || state.slot(slot).confirmed.is_some() {
            return None;
        }
        let mut course = Self::to_slot(parts, operation, state, seen, slot).ok()?;
        let is_way_back = state.slot(other).status == SlotStatus::Retained && state.rollback_safe;
        if seen.slot(other).is_running() && is_way_back {
            let version = holds(seen, state, other).unwrap_or_else(unknown);
            let release = recorded(state, other, version);
            course.old = Some(Target::new(parts.service.clone(), other, release, operation.clone()));
            course.can_go_back = true;
        }
        Some(course)
    }

    /// The course of an operation whose process died, by what there is now. `None` when it had not begun to do anything.
    pub(super) fn resume(parts: &Parts, operation: &Operation, state: &State, seen: &Observed) -> Option<Self> {
        let begun = operation.journal.iter().any(|entry| entry.step != Step::Observe);
        let version = operation.version.clone().filter(|_| begun)?;
        let target = |slot, version| {
            Target::new(parts.service.clone(), slot, recorded(state, slot, version), operation.id.clone())
        };
        let old = operation.from.map(|from| target(from, holds(seen, state, from).unwrap_or_else(unknown)));
        Some(Self {
            can_go_back: old.as_ref().is_some_and(|old| seen.slot(old.slot).is_running()),
            occupied: seen.slot(operation.target).is_running(),
            split: seen.split,
            target: target(operation.target, version),
            old,
        })
    }

    fn new(parts: &Parts, operation: &OperationId, state: &State, seen: &Observed, target: Target) -> Self {
        let other = target.slot.other();
        let routed = seen.split.is_some_and(|split| split.routes_to(other));
        let old = routed
            .then(|| holds(seen, state, other).unwrap_or_else(unknown))
            .map(|version| recorded(state, other, version))
            .map(|release| Target::new(parts.service.clone(), other, release, operation.clone()));
        Self {
            can_go_back: old.is_some() && seen.slot(other).is_running(),
            occupied: seen.slot(target.slot).is_running(),
            split: seen.split,
            target,
            old,
        }
    }

    /// The traffic steps that are left: all of them, or one to 100 when there is nobody to share the traffic with.
    pub(super) fn traffic_steps(&self, parts: &Parts) -> Vec<TrafficStep> {
        let have = self.split.map_or(0, |split| split.share(self.target.slot));
        let steps = &parts.strategy.steps;
        let shared = steps.iter().filter(|step| step.percent > have && (self.can_go_back || step.percent == 100));
        shared.cloned().collect()
    }
}

/// The slot that takes production traffic, or, where nothing is routed, the one that did last.
pub(super) fn last_live(state: &State, seen: &Observed) -> Option<Slot> {
    let recorded = |slot: &Slot| state.slot(*slot).status == SlotStatus::Live;
    seen.live.or_else(|| Slot::BOTH.into_iter().find(recorded))
}

/// Traffic that is divided belongs to an unfinished promotion, or to somebody's hand.
pub(super) fn refuse_divided(seen: &Observed) -> Result<()> {
    match seen.split {
        Some(split) if seen.is_divided() => Err(refused(
            format!("traffic is divided: {split}"),
            "`promote` goes on with it, `rollback` brings all traffic back to the live slot",
        )),
        _ => Ok(()),
    }
}

pub(super) fn refused(what: String, advice: &'static str) -> Error {
    Error::new(ErrorKind::Conflict, what).not_applied().advice(advice)
}

/// Stands for the version of a live release that neither the runtime nor the record knows.
const UNKNOWN: &str = "0-version-unknown";

fn unknown() -> Version {
    Version::from_static(UNKNOWN)
}

/// Whether an answer must come from this very version; of a release whose version nobody knows, any will do.
pub(super) fn is_known(version: &Version) -> bool {
    version.as_str() != UNKNOWN
}

/// The version in a slot: as the runtime knows it, or else as recorded.
pub(super) fn holds(seen: &Observed, state: &State, slot: Slot) -> Option<Version> {
    seen.slot(slot).version().or(state.slot(slot).version.as_ref()).cloned()
}

/// A release of this version, with the settings on record where the record is of that version.
fn recorded(state: &State, slot: Slot, version: Version) -> Release {
    let record = state.slot(slot);
    let settings = record.settings.iter().filter(|_| record.version.as_ref() == Some(&version));
    settings.fold(Release::from(version.clone()), |release, (key, value)| release.with_setting(key, value))
}

/// Where the first deploy goes: blue, unless only green is free.
fn first_slot(seen: &Observed) -> Slot {
    if seen.blue.is_running() && !seen.green.is_running() { Slot::Green } else { Slot::Blue }
}
