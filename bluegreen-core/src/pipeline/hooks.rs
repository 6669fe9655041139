//! How a hook runs as a step.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::hook_places::{at, hook};
use super::route::Route;
use super::session::{Halt, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::hook::{HookCall, HookStep};
use crate::state::{HookPlace, Operation, OperationKind, Outcome, Step, StepStatus};
use crate::types::{Slot, Target};

/// What a hook is given beyond its time to end by itself, with an error that says more than that the time is up: 5 s.
const GRACE: Duration = Duration::from_secs(5);

/// Runs all hooks of a place outside of a list of steps.
pub(super) async fn run_all(session: &mut Session, place: HookPlace, about: &About) -> Result<(), Halt> {
    for step in at(&session.context.clone(), place) {
        run(session, step, about).await?;
    }
    Ok(())
}

/// What hooks are told of.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) target: Target,
    pub(super) from: Option<Target>,
    pub(super) outcome: Option<Outcome>,
}

impl About {
    pub(super) fn route(route: &Route) -> Self {
        Self { target: route.target.clone(), from: route.old.clone(), outcome: None }
    }
}

/// Runs one hook, unless the journal says that it has run, or that it was begun and must not run twice.
pub(super) async fn run(session: &mut Session, step: Step, about: &About) -> Result<(), Halt> {
    let context = session.context.clone();
    let Some((place, hook)) = found(&context, step) else {
        return Err(Error::new(ErrorKind::Unexpected, format!("{step} is no hook of this pipeline")).into());
    };
    let Some(operation) = session.operation().await else { return Ok(()) };
    match operation.status(step) {
        Some(StepStatus::Done | StepStatus::Noted) => return Ok(()),
        Some(_) if !hook.repeatable || hook.in_background => {
            session.reporter.note(format!("{step} is not run again: it had begun, and is not said to be repeatable"));
            return Ok(());
        }
        _ => {}
    }
    if matches!(place, HookPlace::AfterSuccess | HookPlace::AfterFailure | HookPlace::AfterRollback) {
        session.see_it_through();
    }
    let call = call(session, &operation, step, hook, about);
    let (hook, is_noted) = (hook.clone(), hook.only_noted || cannot_undo(session, place));
    if hook.in_background {
        return start(session, step, hook, call).await;
    }
    let work = within_its_time(hook.hook.clone(), call);
    match is_noted {
        true => session.step_that_may_fail(step, work).await,
        false => session.step(step, work).await,
    }
}

/// Whether a slot is not stopped after all, because a hook before that failed.
pub(super) async fn keep_from_retiring(session: &Session, slot: Slot) -> bool {
    let Some(operation) = session.operation().await else { return false };
    let place = HookPlace::BeforeRetire(slot);
    let failed = at(&session.context, place).into_iter().find(|step| {
        let counts = found(&session.context, *step).is_some_and(|(_, hook)| !hook.only_noted);
        counts && operation.status(*step) == Some(StepStatus::Noted)
    });
    if let Some(step) = failed {
        session.reporter.note(format!("{slot} is kept, because {step} failed: `retire_now` tries again"));
    }
    failed.is_some()
}

/// The hooks of an operation that ended otherwise than it should, once what is undone of it was. `Err` only when the lease is
/// lost.
pub(super) async fn after_failure(session: &mut Session, outcome: &Outcome) -> Result<(), Error> {
    use OperationKind::{Deploy, Promote, Rollback, Stage};
    let kind = session.operation().await.map(|operation| operation.kind);
    let Some(route) = session.route.clone().filter(|_| matches!(kind, Some(Deploy | Stage | Promote | Rollback)))
    else {
        return Ok(());
    };
    let about = About { outcome: Some(outcome.clone()), ..About::route(&route) };
    match run_all(session, HookPlace::AfterFailure, &about).await {
        Err(Halt::Lost(error)) => Err(error),
        // The others are only noted.
        _ => Ok(()),
    }
}

/// Says which hooks a dead process was in. Whether one runs again depends on where its recovery goes.
pub(super) fn note_cut_off(session: &Session, dead: &Operation) {
    let hooks = dead.journal.iter().filter(|entry| {
        let is_last = dead.status(entry.step) == Some(StepStatus::Started);
        matches!(entry.step, Step::Hook(..)) && is_last && entry.progress == StepStatus::Started
    });
    for entry in hooks {
        session.reporter.note(format!("{} may have run: its process died before its end was on record", entry.step));
    }
}

fn found(context: &Context, step: Step) -> Option<(HookPlace, &HookStep)> {
    let Step::Hook(place, name) = step else { return None };
    hook(context, place, name).map(|hook| (place, hook))
}

/// Whether what has succeeded by then must not be undone for a hook.
fn cannot_undo(session: &Session, place: HookPlace) -> bool {
    match place {
        HookPlace::AfterShift(100) | HookPlace::AfterSuccess | HookPlace::AfterFailure | HookPlace::AfterRollback => {
            true
        }
        // Traffic has left it. What makes way for a new release is retired before anything has moved.
        HookPlace::BeforeRetire(slot) => session.route.as_ref().is_some_and(|route| route.target.slot != slot),
        _ => false,
    }
}

fn call(session: &Session, operation: &Operation, step: Step, hook: &HookStep, about: &About) -> HookCall {
    let Step::Hook(place, name) = step else { unreachable!("only hooks are called") };
    let About { target, from, outcome } = about.clone();
    HookCall {
        service: session.context.service.clone(),
        operation: operation.id.clone(),
        kind: operation.kind,
        by: operation.by.clone(),
        hook: name,
        place,
        target: session.reporter.watch(target),
        from,
        outcome,
        timeout: hook.timeout,
    }
}

async fn start(session: &mut Session, step: Step, hook: HookStep, call: HookCall) -> Result<(), Halt> {
    let reporter = session.reporter.clone();
    let begun = async {
        reporter.detail("goes on in the background");
        Ok(())
    };
    session.step(step, begun).await?;
    session.background.start(step, within_its_time(hook.hook, call));
    Ok(())
}

async fn within_its_time(hook: Arc<dyn crate::hook::Hook>, call: HookCall) -> Result<()> {
    let limit = call.timeout;
    let ended = tokio::time::timeout(limit + GRACE, hook.run(&call)).await;
    let ended = ended.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("did not end within {limit:?}"))));
    ended.map_err(|error| error.with("hook", &hook))
}
