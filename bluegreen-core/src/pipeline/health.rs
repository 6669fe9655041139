//! Polling: how one look becomes a verdict.

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::time::{Instant, sleep};

use super::context::{Context, Settings};
use super::defaults::LOOKS;
use super::observe::{self, Observed};
use super::reporter::Reporter;
use super::route::{Divided, Route};
use super::session::{Halt, Session};
use crate::error::{Error, ErrorKind, LAST_LINES, Reason, Result};
use crate::event::EventKind;
use crate::health::Health;
use crate::log_lines::telling_lines;
use crate::probe::{Probe, look};
use crate::state::{State, Step};
use crate::types::{Instance, OperationId, PerSlot, Slot, Target};

/// How many log lines an error carries; the report has more.
const LINES_IN_ERROR: usize = 5;

/// How many different reasons an error names.
const REASONS_IN_ERROR: usize = 3;

/// Waits until the target is healthy, several times in a row, as the version it should be.
pub(super) async fn step(session: &mut Session, target: &Target) -> Result<(), Halt> {
    let (context, reporter) = (session.context.clone(), session.reporter.clone());
    let healthy = Box::pin(await_healthy(&context, &reporter, target, session.seen(target.slot)));
    session.step(Step::Health, context.runtime.supervise(target, healthy)).await
}

/// Runs each smoke test once.
pub(super) async fn smoke_step(session: &mut Session, target: &Target) -> Result<(), Halt> {
    let (context, reporter) = (session.context.clone(), session.reporter.clone());
    let work = async {
        let instance = context.runtime.inspect(target.slot).await?;
        for test in &context.smoke {
            if let Health::Unhealthy { reason } = test.check(target, &instance).await?
                && !without_the_unwell(&context, target.slot).await
            {
                return Err(Error::new(ErrorKind::Unhealthy, reason).with("test", test));
            }
        }
        reporter.detail(format!("{} passed", context.smoke.len()));
        Ok(())
    };
    session.step(Step::Smoke, work).await
}

/// Checks, before a share of traffic moves, that the slot that gains it is healthy, and that the slot to go back to still is.
pub(super) async fn slots_step(session: &mut Session, route: &Route, percent: u8) -> Result<(), Halt> {
    let context = session.context.clone();
    let new = route.target.clone();
    let old = route.old.clone().filter(|_| route.can_go_back);
    let seen = PerSlot::from_fn(|slot| session.seen(slot));
    let work = async {
        let rollback_target = async {
            match &old {
                Some(old) => unhealthy(&context, old, seen[old.slot].as_ref()).await,
                None => None,
            }
        };
        match tokio::join!(unhealthy(&context, &new, seen[new.slot].as_ref()), rollback_target) {
            (None, None) => Ok(()),
            (Some(reason), _) => {
                let what = format!("it is not healthy any more: {reason}");
                Err(with_logs(&context, &new, Error::new(ErrorKind::Unhealthy, what)).await)
            }
            (None, Some(reason)) => {
                Err(Error::new(ErrorKind::Unhealthy, format!("the way back is not safe: {reason}"))
                    .with_reason(Reason::RollbackTargetUnhealthy)
                    .not_applied()
                    .with_hint(
                        "to replace a live release that is unhealthy, build the pipeline with `.require_healthy_rollback_target(false)`",
                    ))
            }
        }
    };
    session.step(Step::CheckSlots(percent), work).await
}

/// What divided traffic, if there is any, means for a deploy. A slot that is down is no canary; a live release that is not
/// healthy is nothing to go back to.
pub(super) async fn judge_divided(
    context: &Context,
    operation: &OperationId,
    state: &State,
    seen: &Observed,
) -> Divided {
    let Some(live) = seen.live.filter(|_| seen.is_divided()) else { return Divided::IsCanary };
    let other_runs = seen.slot(live.other()).is_running();
    if !seen.slot(live).is_running() {
        return if other_runs { Divided::IsCanary } else { Divided::NoCanaryLeft };
    }
    match is_healthy(context, operation, state, seen, live).await {
        true => Divided::IsCanary,
        false if other_runs || context.require_healthy_rollback_target => Divided::LiveUnhealthy(live),
        false => Divided::NoCanaryLeft,
    }
}

/// Whether what is in a slot is healthy now.
pub(super) async fn is_healthy(
    context: &Context,
    operation: &OperationId,
    state: &State,
    seen: &Observed,
    slot: Slot,
) -> bool {
    match Route::to_slot(context, operation, state, seen, slot) {
        Ok(route) => unhealthy(context, &route.target, Some(seen.slot(slot))).await.is_none(),
        Err(_) => false,
    }
}

/// Why the old slot is no way back, if it is not.
pub(super) async fn rollback_target_is_unhealthy(context: &Context, route: &Route) -> Option<String> {
    unhealthy(context, route.old.as_ref()?, None).await
}

/// Why a slot is not healthy, if it is not. Looks a few times: one lost packet must not stop a deploy. `seen` is what ran there
/// when it was last seen.
async fn unhealthy(context: &Context, target: &Target, seen: Option<&Instance>) -> Option<String> {
    let mut attempt = 1;
    loop {
        let (running, reason) = match look_inside(context, target, seen, observe::inspect(context, target.slot)).await {
            Err(error) => (true, error.chain()),
            Ok((_, Probe::Healthy)) => return None,
            Ok((instance, Probe::Unhealthy(reason))) => {
                (instance.is_running(), format!("{} is {instance}: {reason}", target.slot))
            }
        };
        if attempt == LOOKS || !running {
            if !without_the_unwell(context, target.slot).await {
                return Some(reason);
            }
            attempt = 0;
        }
        attempt += 1;
        sleep(context.settings.check_interval).await;
    }
}

/// Whether the members of a fleet that were not well at the last look are set aside, so that the others can go on.
pub(super) async fn without_the_unwell(context: &Context, slot: Slot) -> bool {
    match &context.fleet {
        Some(fleet) => fleet.set_aside_unwell(slot).await,
        None => false,
    }
}

/// What is in a slot, and whether it is healthy: side by side where what was `seen` there last is there still.
async fn look_inside(
    context: &Context,
    target: &Target,
    seen: Option<&Instance>,
    inspect: impl Future<Output = Result<Instance>>,
) -> Result<(Instance, Probe)> {
    let check = |instance| look(&*context.health, context.settings.check_timeout, target, instance);
    let instance = match seen.filter(|seen| seen.is_running()) {
        None => inspect.await?,
        Some(seen) => {
            let (instance, probe) = tokio::join!(inspect, check(seen));
            let instance = instance?;
            if instance == *seen {
                return Ok((instance, probe));
            }
            instance
        }
    };
    let probe = check(&instance).await;
    Ok((instance, probe))
}

/// Waits until enough answers in a row are healthy. After the first one, each look begins at its time, and does not wait for the
/// answer to the one before.
async fn await_healthy(
    context: &Context,
    reporter: &Reporter,
    target: &Target,
    mut seen: Option<Instance>,
) -> Result<()> {
    let Settings { check_interval, healthy_streak: needed, start_deadline, .. } = context.settings;
    let mut deadline = Instant::now() + start_deadline;
    let (mut streak, mut looks) = (0, 0);
    let mut reasons = Reasons::default();
    'looks: loop {
        let known = seen.take();
        let look_after = async |pause| {
            sleep(pause).await;
            look_inside(context, target, known.as_ref(), context.runtime.inspect(target.slot)).await
        };
        let at_once = if streak == 0 { 1 } else { needed - streak };
        let mut answers: FuturesOrdered<_> = (0..at_once).map(|number| look_after(check_interval * number)).collect();
        while let Some(answer) = answers.next().await {
            let (instance, probe) = answer?;
            let ended = match &context.fleet {
                Some(fleet) if instance.is_degraded() => fleet.set_aside_ended(target.slot).await,
                _ => None,
            };
            if ended == Some(true) {
                continue 'looks;
            }
            if !instance.is_running() || ended == Some(false) {
                let what = format!("it ended while it was waited for: {instance}");
                return Err(with_logs(context, target, Error::new(ErrorKind::Unhealthy, what)).await);
            }
            seen = Some(instance);
            looks += 1;
            let reason = match probe {
                Probe::Healthy => None,
                Probe::Unhealthy(reason) => Some(reason),
            };
            let is_ill = reason.is_some();
            streak = if is_ill { 0 } else { streak + 1 };
            reporter.say(EventKind::Checked { streak, needed, reason: reason.clone() });
            if streak == needed {
                reporter.detail(format!("{needed} healthy answers in a row, {looks} looks"));
                return Ok(());
            }
            if let Some(reason) = reason {
                reasons.add(reason);
            }
            if Instant::now() + check_interval > deadline {
                if without_the_unwell(context, target.slot).await {
                    // Those that are left have answered until now.
                    deadline += check_interval * (needed + 1);
                    break;
                }
                let what = match reasons.newest_first() {
                    None => format!("{streak} healthy answers in a row within {start_deadline:?}, {needed} are needed"),
                    Some(reasons) => format!("not healthy within {start_deadline:?}: {reasons}"),
                };
                return Err(with_logs(context, target, Error::new(ErrorKind::Timeout, what)).await);
            }
            if is_ill {
                break;
            }
        }
        sleep(check_interval).await;
    }
}

/// Why an instance was not healthy, each reason with how often it was given.
#[derive(Default)]
struct Reasons(Vec<(String, u32)>);

impl Reasons {
    fn add(&mut self, reason: String) {
        let known = self.0.iter().position(|(known, _)| *known == reason);
        let count = known.map_or(0, |index| self.0.remove(index).1);
        self.0.push((reason, count + 1));
    }

    fn newest_first(&self) -> Option<String> {
        let text = |(reason, count): &(String, u32)| match count {
            1 => reason.clone(),
            count => format!("{reason} ({count} times)"),
        };
        let newest: Vec<_> = self.0.iter().rev().take(REASONS_IN_ERROR).map(text).collect();
        (!newest.is_empty()).then(|| newest.join("; before that: "))
    }
}

async fn with_logs(context: &Context, target: &Target, error: Error) -> Error {
    let lines =
        context.runtime.logs(target.slot, context.settings.log_lines.max(LINES_IN_ERROR)).await.unwrap_or_default();
    let last = telling_lines(lines, LINES_IN_ERROR).join(" | ");
    error.with(LAST_LINES, if last.is_empty() { "none" } else { &last })
}
