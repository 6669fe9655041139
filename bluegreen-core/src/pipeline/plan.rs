//! What a deploy would do, compared with what there is.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::claim::{held_by, unfinished};
use super::context::Context;
use super::health::judge_divided;
use super::observe::{Observed, in_time};
use super::route::{Route, holds};
use super::strategy::Retention;
use super::{deploy, hook_places, limits, verify};
use crate::duration_text::short;
use crate::error::{Error, Reason, Result};
use crate::preview::Preview;
use crate::state::{HookPlace, MemberRecord, State, Step};
use crate::types::{MemberName, OperationId, Release, ServiceName, Slot, Version};

/// What [`Pipeline::plan`](super::Pipeline::plan) found. `Display` prints it for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The service.
    pub service: ServiceName,
    /// The version that would be deployed.
    pub version: Version,
    /// The slot it would go into.
    pub slot: Option<Slot>,
    /// The version that takes the traffic now.
    pub live: Option<Version>,
    /// What there is, and where the record differs.
    pub observed: Observed,
    /// Why the deploy would be refused, if it would.
    pub refusal: Option<Refusal>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What the adapters would change in what the user wrote, as unified diffs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// What is on each member of a fleet. Those that were set aside are brought up to the live version first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<MemberName, MemberRecord>,
    /// The migrations that would be applied; `None` where that cannot be told.
    pub pending_migrations: Option<Vec<String>>,
    /// The steps, in order.
    pub steps: Vec<PlannedStep>,
    /// The hooks that run should it fail, once what is undone was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<PlannedStep>,
}

/// Why a deploy would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The reason, where callers have something to decide by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What stands in the way.
    pub what: String,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Refusal {
    fn of(error: &Error) -> Self {
        Self { reason: error.reason(), what: error.summary(), hint: error.hint().map(str::to_owned) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// One step of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// How long it may take before it counts as failed.
    pub timeout: Duration,
    /// What it would do.
    pub what: String,
}

/// Looks, and touches nothing.
pub(super) async fn plan(context: &Context, state: &State, release: &Release) -> Result<Plan> {
    let seen = Observed::recorded_and_now(context, state).await?;
    let operation = OperationId::new("plan")?;
    let held = match (&state.lease, &state.operation) {
        (Some(lease), _) => Some(held_by(lease, state)),
        (None, operation) => operation.as_ref().map(unfinished),
    };
    let mut plan = Plan {
        service: context.service.clone(),
        version: release.version().clone(),
        slot: None,
        live: seen.live.and_then(|live| holds(&seen, state, live)),
        observed: seen.clone(),
        refusal: held.as_ref().map(Refusal::of),
        notes: Vec::new(),
        changes: Vec::new(),
        members: BTreeMap::new(),
        pending_migrations: None,
        steps: Vec::new(),
        on_failure: Vec::new(),
    };
    let divided = judge_divided(context, &operation, state, &seen).await;
    let mut route = match Route::into_idle(context, &operation, state, &seen, release.clone(), divided) {
        Ok(route) => route,
        Err(error) => {
            plan.refusal.get_or_insert(Refusal::of(&error));
            return Ok(plan);
        }
    };
    plan.slot = Some(route.target.slot);
    if let Some(fleet) = &context.fleet {
        plan.members = fleet.records();
        if let Err(error) = fleet.admit() {
            plan.refusal.get_or_insert(Refusal::of(&error));
        }
    }
    if let Some(old) = &route.old
        && let Err(error) = verify::can_tell(context, old, seen.slot(old.slot)).await
    {
        plan.refusal.get_or_insert(Refusal::of(&error));
    }
    if let Some(reason) = deploy::without_rollback_target(context, &route).await {
        plan.notes.push(format!("there is no way back: {reason}"));
        route.can_go_back = false;
    }
    let (runtime, router) = tokio::join!(
        in_time(context.runtime.preview(&route.target)),
        in_time(context.router.preview(route.target.slot))
    );
    for preview in [runtime, router] {
        match preview {
            Ok(Preview { notes, changes }) => {
                plan.notes.extend(notes);
                plan.changes.extend(changes);
            }
            Err(error) => {
                plan.refusal.get_or_insert(Refusal::of(&error));
            }
        }
    }
    if let Some(old) = &route.old {
        for gate in &context.gates {
            if let Err(error) = in_time(gate.preview(old, seen.slot(old.slot))).await {
                plan.notes.push(format!("{gate} cannot be judged on {}: {}", old.slot, error.summary()));
            }
        }
    }
    plan.pending_migrations = Some(Vec::new());
    if let Some(migrator) = &context.migrator {
        plan.pending_migrations = in_time(migrator.pending(&route.target)).await?;
    }
    plan.steps = planned(context, &route, &seen, steps(context, &route));
    plan.on_failure = planned(context, &route, &seen, hook_places::at(context, HookPlace::AfterFailure));
    Ok(plan)
}

/// The very steps of [`deploy`](super::deploy).
fn steps(context: &Context, route: &Route) -> Vec<Step> {
    let mut steps = deploy::stage_steps(context, route);
    if context.strategy.auto_promote {
        steps.extend(deploy::promote_steps(context, route));
        steps.extend(deploy::finalize_steps(context, route, false));
    }
    steps
}

fn planned(context: &Context, route: &Route, seen: &Observed, steps: Vec<Step>) -> Vec<PlannedStep> {
    let planned =
        |step| PlannedStep { step, timeout: limits::limit(context, step), what: what(context, route, seen, step) };
    steps.into_iter().map(planned).collect()
}

fn what(context: &Context, route: &Route, seen: &Observed, step: Step) -> String {
    let (settings, slot, version) = (&context.settings, route.target.slot, route.target.version());
    let old = slot.other();
    let gates = match context.gates.len() {
        0 => "without gates".to_owned(),
        1 => "under 1 gate".to_owned(),
        count => format!("under {count} gates"),
    };
    match step {
        Step::CatchUp => "bring the members that were left behind to the live version".to_owned(),
        Step::Prepare => format!("bring {version} to {}", context.runtime),
        Step::ExpandBeforeStart | Step::ExpandAfterStart => {
            context.migrator.as_ref().map_or_else(String::new, |migrator| format!("expand by {migrator}"))
        }
        Step::StopOccupant => {
            format!("stop what is in {slot}: {}; a deploy that fails starts it again", seen.slot(slot))
        }
        Step::Start => format!("start {version} in {slot}"),
        Step::Health => format!("{} healthy answers in a row, by {}", settings.healthy_streak, context.health),
        Step::Smoke => context.smoke.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Step::Attach => format!("tell {} where {slot} listens", context.router),
        Step::CheckSlots(_) if route.can_go_back => "check that both slots are healthy".to_owned(),
        Step::CheckSlots(_) => "check that the slot is healthy".to_owned(),
        Step::Shift(percent) => format!("move {percent} % of the traffic to {slot}"),
        Step::Soak(percent) => {
            let soak = context.strategy.steps.iter().find(|traffic| traffic.percent == percent);
            format!("hold it for {} {gates}", short(soak.map_or(Duration::ZERO, |traffic| traffic.soak)))
        }
        Step::Verify => format!("{} answers in a row as {version}, by {}", settings.verify_streak, context.verify),
        Step::Drain => format!("wait for the requests in flight on {old}"),
        Step::Bake => format!("watch {slot} for {} {gates}, ready to go back", short(context.strategy.bake)),
        Step::Contract => "remove what only the old version needs: no way back".to_owned(),
        Step::Retain => match context.retention {
            Retention::For(keep) => format!("keep {old} warm for {}", short(keep)),
            _ => format!("keep {old} warm until the next deploy"),
        },
        Step::Hook(place, name) => {
            hook_places::hook(context, place, name).map_or_else(String::new, ToString::to_string)
        }
        _ => format!("stop {old}"),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, version, observed, .. } = self;
        write!(f, "deploy of {service} {version}")?;
        match self.slot {
            Some(slot) => writeln!(f, " into {slot}")?,
            None => writeln!(f)?,
        }
        let split = observed.split.map_or_else(|| "nothing".to_owned(), |split| split.to_string());
        writeln!(f, "  now: the router routes {split}; blue is {}; green is {}", observed.blue, observed.green)?;
        for drift in &observed.drift {
            writeln!(f, "  drift: {drift}")?;
        }
        let width = self.members.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
        for (name, record) in &self.members {
            writeln!(f, "  {name:width$}  {record}")?;
        }
        match &self.pending_migrations {
            None => writeln!(f, "  migrations: cannot be told before they run")?,
            Some(names) if names.is_empty() => writeln!(f, "  migrations: none")?,
            Some(names) => writeln!(f, "  migrations: {}", names.join(", "))?,
        }
        if let Some(refusal) = &self.refusal {
            writeln!(f, "  REFUSED: {refusal}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        for line in self.changes.iter().flat_map(|diff| diff.lines()) {
            writeln!(f, "  {line}")?;
        }
        let width =
            self.steps.iter().chain(&self.on_failure).map(|step| step.step.to_string().len()).max().unwrap_or(0);
        for PlannedStep { step, timeout, what } in &self.steps {
            writeln!(f, "  {step:width$}  at most {:>10}  {what}", short(*timeout))?;
        }
        if !self.steps.is_empty() {
            writeln!(f, "  on a failure: the last log lines are kept, and traffic goes back first")?;
        }
        for PlannedStep { step, timeout, what } in &self.on_failure {
            writeln!(f, "  {step:width$}  at most {:>10}  {what}", short(*timeout))?;
        }
        Ok(())
    }
}
