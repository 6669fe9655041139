//! What a deploy would do, compared with what there is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::builder::Parts;
use super::course::{Course, holds};
use super::defaults::{OBSERVE_LIMIT, WAY_BACK_ATTEMPTS};
use super::deploy::start_limit;
use super::observe::{Observed, in_time};
use super::report::short;
use super::strategy::{Contract, Retention};
use super::verify;
use crate::error::Result;
use crate::migrator::When;
use crate::state::{State, Step};
use crate::types::{OperationId, Release, ServiceName, Slot, Version};

/// What [`Pipeline::plan`](super::Pipeline::plan) found. `Display` prints it for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub refusal: Option<String>,
    /// The migrations that would be applied; `None` where that cannot be told.
    pub pending_migrations: Option<Vec<String>>,
    /// The steps, in order.
    pub steps: Vec<PlannedStep>,
}

/// One step of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The step.
    pub step: Step,
    /// How long it may take before it counts as failed.
    pub limit: Duration,
    /// What it would do.
    pub what: String,
}

/// Looks, and touches nothing.
pub(super) async fn plan(parts: &Parts, state: &State, release: &Release) -> Result<Plan> {
    let seen = Observed::now(parts, state).await?;
    let operation = OperationId::new("plan")?;
    let held = state
        .operation
        .as_ref()
        .map(|operation| format!("{} {} by {} has not ended", operation.kind, operation.id, operation.by));
    let mut plan = Plan {
        service: parts.service.clone(),
        version: release.version().clone(),
        slot: None,
        live: seen.live.and_then(|live| holds(&seen, state, live)),
        observed: seen.clone(),
        refusal: held,
        pending_migrations: None,
        steps: Vec::new(),
    };
    let course = match Course::into_idle(parts, &operation, state, &seen, release.clone()) {
        Ok(course) => course,
        Err(error) => {
            plan.refusal.get_or_insert(error.to_string());
            return Ok(plan);
        }
    };
    plan.slot = Some(course.target.slot);
    if let Some(old) = &course.old
        && let Err(error) = verify::can_tell(parts, old, seen.slot(old.slot)).await
    {
        plan.refusal.get_or_insert(error.to_string());
    }
    plan.pending_migrations = Some(Vec::new());
    if let Some(migrator) = &parts.migrator {
        plan.pending_migrations = in_time(migrator.pending(&course.target)).await?;
    }
    plan.steps = steps(parts, &course, &seen);
    Ok(plan)
}

fn steps(parts: &Parts, course: &Course, seen: &Observed) -> Vec<PlannedStep> {
    let (settings, slot, version) = (&parts.settings, course.target.slot, course.target.version());
    let mut steps = Vec::new();
    let mut add = |step, limit, what: String| steps.push(PlannedStep { step, limit, what });

    add(Step::Prepare, settings.prepare_limit, format!("bring {version} to {}", parts.runtime));
    let expands = |when| parts.migrator.as_ref().filter(|migrator| migrator.when() == when);
    if let Some(migrator) = expands(When::BeforeStart) {
        add(Step::ExpandBeforeStart, settings.migrate_limit, format!("expand by {migrator}"));
    }
    if course.occupied {
        add(Step::StopOccupant, settings.stop_grace, format!("stop what is in {slot}: {}", seen.slot(slot)));
    }
    add(Step::Start, start_limit(parts), format!("start {version} in {slot}"));
    let streak = settings.healthy_streak;
    add(Step::Health, settings.start_deadline, format!("{streak} healthy answers in a row, by {}", parts.health));
    if let Some(migrator) = expands(When::AfterStart) {
        add(Step::ExpandAfterStart, settings.migrate_limit, format!("expand by {migrator}"));
    }
    if !parts.smoke.is_empty() {
        let names: Vec<_> = parts.smoke.iter().map(ToString::to_string).collect();
        add(Step::Smoke, settings.smoke_limit, names.join(", "));
    }
    if !parts.strategy.auto_promote {
        return steps;
    }
    add(Step::Attach, OBSERVE_LIMIT, format!("tell {} where {slot} listens", parts.router));
    let gates = match parts.gates.len() {
        0 => "without gates".to_owned(),
        count => format!("under {count} gates"),
    };
    for traffic in course.traffic_steps(parts) {
        let percent = traffic.percent;
        if course.can_go_back {
            let limit = (settings.check_interval + settings.check_timeout) * WAY_BACK_ATTEMPTS;
            add(Step::CheckWayBack(percent), limit, format!("see that {} is well", slot.other()));
        }
        add(Step::Shift(percent), settings.shift_limit, format!("move {percent} % of the traffic to {slot}"));
        if !traffic.soak.is_zero() {
            let what = format!("hold it for {} {gates}", short(traffic.soak));
            add(Step::Soak(percent), traffic.max_soak_or_default(), what);
        }
    }
    let streak = settings.verify_streak;
    add(Step::Verify, settings.verify_deadline, format!("{streak} answers in a row as {version}, by {}", parts.verify));
    if course.can_go_back {
        add(Step::Drain, settings.drain, format!("wait for the requests in flight on {}", slot.other()));
    }
    let bake = parts.strategy.bake;
    if !bake.is_zero() {
        let what = format!("watch {slot} for {} {gates}, ready to go back", short(bake));
        add(Step::Bake, parts.strategy.max_bake_or_default(), what);
    }
    let contracts = parts.contract == Contract::AfterBake && parts.migrator.is_some();
    if contracts {
        add(Step::Contract, settings.migrate_limit, "remove what only the old version needs: no way back".to_owned());
    }
    if course.can_go_back {
        let old = slot.other();
        match parts.retention {
            Retention::For(keep) if !contracts => {
                add(Step::Retain, OBSERVE_LIMIT, format!("keep {old} warm for {}", short(keep)));
            }
            Retention::UntilNextDeploy if !contracts => {
                add(Step::Retain, OBSERVE_LIMIT, format!("keep {old} warm until the next deploy"));
            }
            _ => add(Step::Retire, settings.stop_grace, format!("stop {old}")),
        }
    }
    steps
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
        match &self.pending_migrations {
            None => writeln!(f, "  migrations: cannot be told before they run")?,
            Some(names) if names.is_empty() => writeln!(f, "  migrations: none")?,
            Some(names) => writeln!(f, "  migrations: {}", names.join(", "))?,
        }
        if let Some(refusal) = &self.refusal {
            writeln!(f, "  REFUSED: {refusal}")?;
        }
        let width = self.steps.iter().map(|step| step.step.to_string().len()).max().unwrap_or(0);
        for PlannedStep { step, limit, what } in &self.steps {
            writeln!(f, "  {step:width$}  at most {:>10}  {what}", short(*limit))?;
        }
        if !self.steps.is_empty() {
            writeln!(f, "  on a failure: the last log lines are kept, and traffic goes back first")?;
        }
        Ok(())
    }
}
