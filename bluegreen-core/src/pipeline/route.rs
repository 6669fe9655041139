//! What an operation sets out to do, decided from what was observed. Nothing here has side effects.

use std::borrow::Cow;

use super::context::Context;
use super::observe::Observed;
use super::strategy::TrafficStep;
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::probe::unknown_version;
use crate::state::{Operation, SlotStatus, State, Step};
use crate::types::{OperationId, Release, Slot, Split, Target, Version};

/// Where traffic goes, where it comes from, and where it can go back to.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// The release that is to get the traffic, in its slot.
    pub(super) target: Target,
    /// The release that has the traffic, if any has, even if it is down.
    pub(super) old: Option<Target>,
    /// Whether `old` runs.
    pub(super) old_runs: bool,
    /// Whether traffic can go back to `old`.
    pub(super) can_go_back: bool,
    /// Whether something is in the target slot that must be stopped first.
    pub(super) occupied: bool,
    /// The split when the operation began.
    pub(super) split: Option<Split>,
}

impl Route {
    /// The way of a release into the idle slot.
    ///
    /// # Errors
    /// `Conflict` when that is refused: see [`Pipeline::deploy`](super::Pipeline::deploy).
    pub(super) fn into_idle(
        context: &Context,
        operation: &OperationId,
        state: &State,
        seen: &Observed,
        release: Release,
        divided: Divided,
    ) -> Result<Self> {
        match divided {
            Divided::IsCanary => refuse_divided(state, seen)?,
            Divided::LiveUnhealthy(live) => {
                refuse_divided(state, seen)
                    .map_err(|error| error.with_hint(if_live_is_unhealthy(state, seen, live)))?;
            }
            Divided::NoCanaryLeft => {}
        }
        let version = release.version().clone();
        let idle = last_live(state, seen).map_or_else(|| first_slot(seen), Slot::other);
        seen.in_reach(idle)?;
        if context.require_healthy_rollback_target {
            seen.in_reach(idle.other()).map_err(|error| {
                error.with_hint(
                    "when its machine is gone for good, build the pipeline with `.require_healthy_rollback_target(false)`: the release then \
                     gets all traffic at once",
                )
            })?;
        }
        if let Some(live) = seen.live.filter(|live| seen.slot(*live).is_running())
            && holds(seen, state, live) == Some(version.clone())
        {
            let what = format!("{version} is live already, in {live}");
            return Err(refused(Reason::AlreadyLive, what, "there is nothing to deploy"));
        }
        if seen.slot(idle).is_running() && holds(seen, state, idle) == Some(version.clone()) {
            let anew = "to deploy it anew, `retire_now` and deploy again";
            let (reason, is, verb) = match state.slot(idle).status {
                SlotStatus::Retained => {
                    let is_rollback_target = state.rollback_safe && seen.live.is_some();
                    (Reason::AlreadyRetained, "retained", is_rollback_target.then_some("`rollback` brings it back; "))
                }
                _ => {
                    let promotes = may_promote(state, idle).then_some("`promote` moves traffic to it; ");
                    (Reason::AlreadyStaged, "up already", promotes)
                }
            };
            let advice = format!("{}{anew}", verb.unwrap_or_default());
            return Err(refused(reason, format!("{version} is {is} in {idle}"), advice));
        }
        Ok(Self::new(
            context,
            operation,
            state,
            seen,
            Target::new(context.service.clone(), idle, release, operation.clone()),
        ))
    }

    /// The way of traffic to a slot that is up.
    pub(super) fn to_slot(
        context: &Context,
        operation: &OperationId,
        state: &State,
        seen: &Observed,
        slot: Slot,
    ) -> Result<Self> {
        let version = holds(seen, state, slot).ok_or_else(|| {
            let (found, nobody_knows) = (seen.slot(slot), format!("nobody knows which version is in {slot}"));
            let (what, advice) = match found.is_running() {
                true => (nobody_knows, "deploy a release instead"),
                false => (format!("{nobody_knows}, which is {found}"), "stage or deploy a release"),
            };
            Error::new(ErrorKind::NotFound, what).not_applied().with_hint(advice)
        })?;
        let target = Target::new(context.service.clone(), slot, recorded(state, slot, version), operation.clone());
        Ok(Self::new(context, operation, state, seen, target))
    }

    /// The way that a promotion was held on when it had all traffic: the slot has it and was never seen to answer at the
    /// public address. `None` where there is no such slot.
    pub(super) fn held_at_all(
        context: &Context,
        operation: &OperationId,
        state: &State,
        seen: &Observed,
    ) -> Option<Self> {
        let slot = seen.split.and_then(|split| split.sole())?;
        let other = slot.other();
        if !seen.slot(slot).is_running() || state.slot(slot).confirmed.is_some() {
            return None;
        }
        let mut route = Self::to_slot(context, operation, state, seen, slot).ok()?;
        let is_rollback_target = state.slot(other).status == SlotStatus::Retained && state.rollback_safe;
        if seen.slot(other).is_running() && is_rollback_target {
            let version = holds(seen, state, other).unwrap_or_else(unknown_version);
            let release = recorded(state, other, version);
            route.old = Some(Target::new(context.service.clone(), other, release, operation.clone()));
            (route.old_runs, route.can_go_back) = (true, true);
        }
        Some(route)
    }

    /// The route of an operation whose process died, by what there is now. `None` when it had not begun to do anything.
    pub(super) fn resume(context: &Context, operation: &Operation, state: &State, seen: &Observed) -> Option<Self> {
        let begun = operation.journal.iter().any(|entry| entry.step != Step::Observe);
        let version = operation.version.clone().filter(|_| begun)?;
        let target = |slot, version| {
            Target::new(context.service.clone(), slot, recorded(state, slot, version), operation.id.clone())
        };
        let old = operation.from.map(|from| target(from, holds(seen, state, from).unwrap_or_else(unknown_version)));
        let old_runs = old.as_ref().is_some_and(|old| seen.slot(old.slot).is_running());
        Some(Self {
            old_runs,
            can_go_back: old_runs,
            occupied: seen.slot(operation.target).is_running(),
            split: seen.split,
            target: target(operation.target, version),
            old,
        })
    }

    fn new(context: &Context, operation: &OperationId, state: &State, seen: &Observed, target: Target) -> Self {
        let other = target.slot.other();
        let routed = seen.split.is_some_and(|split| split.routes_to(other));
        let old = routed
            .then(|| holds(seen, state, other).unwrap_or_else(unknown_version))
            .map(|version| recorded(state, other, version))
            .map(|release| Target::new(context.service.clone(), other, release, operation.clone()));
        let old_runs = old.is_some() && seen.slot(other).is_running();
        Self {
            old_runs,
            can_go_back: old_runs,
            occupied: seen.slot(target.slot).is_running(),
            split: seen.split,
            target,
            old,
        }
    }

    /// The traffic steps that are left: all of them, or one to 100 when there is nobody to share the traffic with.
    pub(super) fn traffic_steps(&self, context: &Context) -> Vec<TrafficStep> {
        let have = self.split.map_or(0, |split| split.share(self.target.slot));
        let steps = &context.strategy.steps;
        let shared = steps.iter().filter(|step| step.percent > have && (self.can_go_back || step.percent == 100));
        shared.cloned().collect()
    }
}

/// What divided traffic means for a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Divided {
    /// It belongs to a canary, which `promote`, `rollback` or `restore` ends.
    IsCanary,
    /// The same, and the live release runs and is not healthy.
    LiveUnhealthy(Slot),
    /// No release is left that could get all of it: a new one may.
    NoCanaryLeft,
}

/// The slot that takes production traffic, or, where nothing is routed, the one that did last.
pub(super) fn last_live(state: &State, seen: &Observed) -> Option<Slot> {
    let recorded = |slot: &Slot| state.slot(*slot).status == SlotStatus::Live;
    seen.live.or_else(|| Slot::BOTH.into_iter().find(recorded))
}

/// Traffic that is divided belongs to an unfinished promotion, or to somebody's hand.
pub(super) fn refuse_divided(state: &State, seen: &Observed) -> Result<()> {
    let Some(split) = seen.split.filter(|_| seen.is_divided()) else { return Ok(()) };
    let advice = seen.live.map_or_else(String::new, |live| if_divided(state, seen, live));
    Err(refused(Reason::TrafficDivided, format!("traffic is divided: {split}"), advice))
}

/// The verbs that end divided traffic, each only where it would.
pub(super) fn if_divided(state: &State, seen: &Observed, live: Slot) -> String {
    let other = live.other();
    let verb = to_the_other(state, seen, live);
    if seen.slot(live).is_running() {
        let goes_on = if verb == Some("promote") { "`promote` goes on with it, " } else { "" };
        return format!("{goes_on}`rollback` brings all traffic back to {live}");
    }
    let restore = format!("`restore` starts {live} and gives it all traffic");
    match verb {
        Some(verb) => format!(
            "{restore}, `{verb}` gives all of it to {other}; if both fail, direct all traffic to {live} by hand, and deploy"
        ),
        None if seen.slot(other).is_running() => {
            format!("{restore}; if that fails, direct all traffic to {live} by hand, and deploy")
        }
        None => format!("{restore}; if that fails, deploy a release"),
    }
}

/// The verb that gives all traffic to the slot beside a live one that is not well, where there is one.
pub(super) fn to_the_other(state: &State, seen: &Observed, live: Slot) -> Option<&'static str> {
    let other = live.other();
    match state.slot(other).status {
        _ if !seen.slot(other).is_running() => None,
        SlotStatus::Retained => state.rollback_safe.then_some("rollback"),
        _ => may_promote(state, other).then_some("promote"),
    }
}

/// Whether what waits in a slot may get traffic. Where nobody saw it being brought up, it may be the release from before a
/// contract phase.
pub(super) fn may_promote(state: &State, slot: Slot) -> bool {
    state.rollback_safe || state.slot(slot).since.is_some()
}

fn if_live_is_unhealthy(state: &State, seen: &Observed, live: Slot) -> String {
    let other = live.other();
    let by_hand = format!("direct all traffic to {live} by hand, and deploy");
    match to_the_other(state, seen, live) {
        Some(verb) => format!(
            "{live} is not healthy: build the pipeline with `.require_healthy_rollback_target(false)`; if {other} is healthy, `{verb}` then \
             gives it all traffic; if not, {by_hand}"
        ),
        None if seen.slot(other).is_running() => {
            format!(
                "{live} is not healthy: build the pipeline with `.require_healthy_rollback_target(false)`, {by_hand}"
            )
        }
        None => format!(
            "{live} is not healthy, and {other} is {}: when {live} cannot be repaired, build the pipeline with \
             `.require_healthy_rollback_target(false)`; a new release then gets all traffic at once",
            seen.slot(other)
        ),
    }
}

pub(super) fn refused(
    reason: Reason,
    what: impl Into<Cow<'static, str>>,
    advice: impl Into<Cow<'static, str>>,
) -> Error {
    Error::new(ErrorKind::Conflict, what).with_reason(reason).not_applied().with_hint(advice)
}

/// The version in a slot: as the runtime knows it, or else as recorded.
pub(super) fn holds(seen: &Observed, state: &State, slot: Slot) -> Option<Version> {
    seen.slot(slot).version().or(state.slot(slot).version.as_ref()).cloned()
}

/// The release that is live as far as is recorded.
pub(super) fn live_on_record(context: &Context, state: &State) -> Option<Target> {
    let slot = state.live?;
    let release = recorded(state, slot, state.slot(slot).version.clone()?);
    Some(Target::new(context.service.clone(), slot, release, OperationId::from_static("record")))
}

/// A release of this version, with the settings on record where the record is of that version.
pub(super) fn recorded(state: &State, slot: Slot, version: Version) -> Release {
    let record = state.slot(slot);
    let settings = record.settings.iter().filter(|_| record.version.as_ref() == Some(&version));
    settings.fold(Release::from(version.clone()), |release, (key, value)| release.with_setting(key, value))
}

/// The release on record for a slot.
pub(super) fn kept(state: &State, slot: Slot) -> Release {
    recorded(state, slot, state.slot(slot).version.clone().unwrap_or_else(unknown_version))
}

/// Where the first deploy goes: blue, unless only green is free.
fn first_slot(seen: &Observed) -> Slot {
    if seen.blue.is_running() && !seen.green.is_running() { Slot::Green } else { Slot::Blue }
}
