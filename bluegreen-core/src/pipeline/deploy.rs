//! The deploy, from top to bottom. [`plan_route`] decides where a release goes; [`stage_steps`], [`promote_steps`] and
//! [`finalize_steps`] say what is done, in order, and a plan shows these very steps; [`perform`] does one of them. Each step is
//! journalled before and after; an error goes to `unwind`.

use super::context::Context;
use super::hooks::About;
use super::observe::in_time;
use super::route::{self, Route};
use super::session::{Halt, Session};
use super::steps::{attach, contract, expand, retain, shift, start, stop, stop_noting};
use super::strategy::{Contract, Retention};
use super::{drain, health, hook_places, hooks, learn, resume, soak, verify};
use crate::error::{Error, ErrorKind, Reason};
use crate::fleet::Fleet;
use crate::migrator::When;
use crate::state::{HookPlace, Outcome, Replaced, SlotRecord, SlotStatus, State, Step};
use crate::types::{Release, Slot, Split, Target};

/// Stage and promote.
pub(super) async fn deploy(session: &mut Session, release: &Release) -> Result<(), Halt> {
    let route = plan_route(session, release).await?;
    stage(session, &route).await?;
    if session.context.strategy.auto_promote {
        promote(session, &route).await?;
        finalize(session, &route).await?;
    }
    Ok(())
}

/// Decides where the release goes, and refuses what must not be done, before anything is done.
pub(super) async fn plan_route(session: &mut Session, release: &Release) -> Result<Route, Halt> {
    let context = session.context.clone();
    // Where it most likely goes, the router is asked beside.
    let likely = session.lease.state().await.live.map_or(Slot::Blue, Slot::other);
    let (seen, preview) = tokio::join!(session.observe(), in_time(context.router.preview(likely)));
    let seen = seen?;
    let state = session.lease.state().await;
    let divided = health::judge_divided(&context, &session.id, &state, &seen).await;
    let route = Route::into_idle(&context, &session.id, &state, &seen, release.clone(), divided);
    let route = route.map_err(|error| Halt::Refused(or_resume(&context, error)))?;
    if let Some(fleet) = &context.fleet {
        fleet.admit().map_err(Halt::Refused)?;
    }
    if let Some(old) = &route.old {
        verify::can_tell(&context, old, seen.slot(old.slot)).await.map_err(Halt::Refused)?;
    }
    let preview = match route.target.slot {
        slot if slot == likely => preview,
        slot => in_time(context.router.preview(slot)).await,
    };
    let preview = preview.map_err(Halt::Refused)?;
    preview.notes.into_iter().for_each(|note| session.reporter.note(note));
    session.set_route(route.clone()).await;
    Ok(route)
}

/// A version that is live already may not be so on each member of a fleet.
fn or_resume(context: &Context, error: Error) -> Error {
    let is_behind = context.fleet.as_ref().is_some_and(Fleet::is_behind);
    match error.reason() {
        Some(Reason::AlreadyLive) if is_behind => {
            error.with_hint("`resume` brings it to the members that were left behind")
        }
        _ => error,
    }
}

/// Brings the release up in the idle slot, tested, without traffic.
pub(super) async fn stage(session: &mut Session, route: &Route) -> Result<(), Halt> {
    let context = session.context.clone();
    let live = route.old.as_ref().filter(|_| route.old_runs);
    let steps = async {
        for step in stage_steps(&context, route) {
            Box::pin(perform(session, route, step)).await?;
        }
        Ok::<_, Halt>(())
    };
    learn::meanwhile(&context, live, Box::pin(steps)).await?;
    let slot = route.target.slot;
    session.record(move |state| state.slot_mut(slot).status = SlotStatus::Staged).await;
    Ok(())
}

/// Moves the traffic to the staged release, step by step, and sees it answer at the public address.
pub(super) async fn promote(session: &mut Session, route: &Route) -> Result<(), Halt> {
    let mut route = route.clone();
    if let Some(reason) = without_rollback_target(&session.context, &route).await {
        session.reporter.note(format!("there is no way back: {reason}"));
        route.can_go_back = false;
        session.route = Some(route.clone());
    }
    for step in promote_steps(&session.context, &route) {
        Box::pin(perform(session, &route, step)).await?;
    }
    Ok(())
}

/// Makes it final: drains the old slot, watches the new one, and decides what becomes of the old one.
///
/// Also where a recovery goes on; what the journal holds as done is not done again.
pub(super) async fn finalize(session: &mut Session, route: &Route) -> Result<(), Halt> {
    let contract_begun = session.lease.state().await.contract_begun();
    for step in finalize_steps(&session.context, route, contract_begun) {
        if !session.operation().await.is_some_and(|journal| journal.done(step)) {
            Box::pin(perform(session, route, step)).await?;
        }
    }
    Ok(())
}

pub(super) fn stage_steps(context: &Context, route: &Route) -> Vec<Step> {
    let expands = |when| context.migrator.as_ref().is_some_and(|migrator| migrator.when() == when);
    let hooks = |place| hook_places::at(context, place);
    let retires = if route.occupied { hooks(HookPlace::BeforeRetire(route.target.slot)) } else { Vec::new() };
    let is_behind = context.fleet.as_ref().is_some_and(Fleet::is_behind);
    [
        hooks(HookPlace::BeforeDeploy),
        only([(route.old_runs && is_behind, Step::CatchUp), (true, Step::Prepare)]),
        hooks(HookPlace::AfterPrepare),
        only([(expands(When::BeforeStart), Step::ExpandBeforeStart)]),
        retires,
        only([(route.occupied, Step::StopOccupant), (true, Step::Start), (true, Step::Health)]),
        hooks(HookPlace::AfterHealth),
        only([(expands(When::AfterStart), Step::ExpandAfterStart), (!context.smoke.is_empty(), Step::Smoke)]),
    ]
    .concat()
}

pub(super) fn promote_steps(context: &Context, route: &Route) -> Vec<Step> {
    let has_traffic = route.split.is_some_and(|split| split.routes_to(route.target.slot));
    let shares = route.traffic_steps(context).into_iter().enumerate().flat_map(|(index, traffic)| {
        let percent = traffic.percent;
        let is_first = index == 0 && !has_traffic;
        [
            // Slots are checked right before the shift.
            hook_places::at_shift(context, HookPlace::BeforeShift(percent), is_first),
            vec![Step::CheckSlots(percent), Step::Shift(percent)],
            hook_places::at(context, HookPlace::AfterShift(percent)),
            only([(!traffic.soak.is_zero(), Step::Soak(percent))]),
        ]
        .concat()
    });
    [Step::Attach].into_iter().chain(shares).chain([Step::Verify]).collect()
}

/// After a contract phase the old release cannot run any more.
pub(super) fn finalize_steps(context: &Context, route: &Route, contract_begun: bool) -> Vec<Step> {
    let contracts = contract_begun || (context.contract == Contract::AfterBake && context.migrator.is_some());
    let retires = contracts || context.retention == Retention::Retire;
    let old = HookPlace::BeforeRetire(route.target.slot.other());
    [
        only([
            (route.old_runs, Step::Drain),
            (!context.strategy.bake.is_zero(), Step::Bake),
            (contracts, Step::Contract),
        ]),
        if route.old_runs && retires { hook_places::at(context, old) } else { Vec::new() },
        only([(route.old_runs && retires, Step::Retire), (route.old_runs && !retires, Step::Retain)]),
        hook_places::at(context, HookPlace::AfterSuccess),
    ]
    .concat()
}

fn only<const N: usize>(steps: [(bool, Step); N]) -> Vec<Step> {
    steps.into_iter().filter(|(wanted, _)| *wanted).map(|(_, step)| step).collect()
}

/// Why traffic moves at once and stays: the live release is not healthy, and the pipeline may replace it all the same.
pub(super) async fn without_rollback_target(context: &Context, route: &Route) -> Option<String> {
    if !route.can_go_back || context.require_healthy_rollback_target {
        return None;
    }
    health::rollback_target_is_unhealthy(context, route).await
}

/// Does one step of a deploy.
async fn perform(session: &mut Session, route: &Route, step: Step) -> Result<(), Halt> {
    let context = session.context.clone();
    let target = session.reporter.watch(route.target.clone());
    let (slot, old) = (target.slot, target.slot.other());
    match step {
        Step::CatchUp => match &route.old {
            Some(live) => resume::step(session, live).await,
            None => Ok(()),
        },
        Step::Prepare => session.step(step, context.runtime.prepare(&target)).await,
        Step::ExpandBeforeStart | Step::ExpandAfterStart => expand(session, &target, step).await,
        Step::StopOccupant => stop_noting(session, step, slot, move |state| replacing(state, slot, true)).await,
        Step::Start => start(session, step, &target, starting(route, &context)).await,
        Step::Health => health::step(session, &target).await,
        Step::Smoke => health::smoke_step(session, &target).await,
        Step::Attach => attach(session, slot).await,
        Step::CheckSlots(percent) => check_slots(session, route, percent).await,
        Step::Shift(percent) => {
            let from = session.lease.state().await.split;
            shift(session, step, from, Split::toward(slot, percent)?).await
        }
        Step::Soak(percent) => soak::step(session, route, step, Split::toward(slot, percent)?).await,
        Step::Verify => verify::step(session, route).await,
        Step::Drain => drain::step(session, step, old).await,
        Step::Bake => soak::step(session, route, step, Split::all(slot)).await,
        Step::Contract => match contract(session, &target).await {
            Err(Halt::Failed(error)) if session.contract_refused().await => Err(Halt::KeepAsIs(error)),
            result => result,
        },
        Step::Retain | Step::Retire => {
            // The deploy is done; what becomes of the old slot is no reason to undo it.
            session.see_it_through();
            match step {
                Step::Retire if !hooks::keep_from_retiring(session, old).await => stop(session, step, old).await,
                _ => retain(session, old).await,
            }
        }
        Step::Hook(place, _) => hooks::run(session, step, &about(session, route, place).await).await,
        other => Err(Error::new(ErrorKind::Unexpected, format!("{other} is no step of a deploy")).into()),
    }
}

/// What a hook is told of.
async fn about(session: &Session, route: &Route, place: HookPlace) -> About {
    let about = About::route(route);
    match place {
        HookPlace::BeforeRetire(slot) => {
            let release = route::kept(&session.lease.state().await, slot);
            let target = Target { slot, release, ..about.target };
            About { target, ..about }
        }
        HookPlace::AfterSuccess => About { outcome: Some(Outcome::Succeeded), ..about },
        _ => about,
    }
}

/// Before any traffic has moved, an unhealthy way back ends the deploy. Later it holds it: the new release is well, and traffic
/// must not be sent back to one that is not.
async fn check_slots(session: &mut Session, route: &Route, percent: u8) -> Result<(), Halt> {
    let split = session.lease.state().await.split;
    let moved = split.is_some_and(|split| split.routes_to(route.target.slot));
    match health::slots_step(session, route, percent).await {
        Err(Halt::Failed(error)) if moved && error.reason() == Some(Reason::RollbackTargetUnhealthy) => {
            Err(Halt::KeepAsIs(error))
        }
        result => result,
    }
}

/// What the record says of a release that is being started.
fn starting(route: &Route, context: &Context) -> impl Fn(&mut State) + Send + Sync + 'static {
    let Target { slot, release, .. } = &route.target;
    let slot = *slot;
    let record = SlotRecord {
        version: Some(release.version().clone()),
        settings: release.settings_map().clone(),
        since: Some(context.clock.now()),
        status: SlotStatus::Starting,
        ..SlotRecord::default()
    };
    move |state| {
        replacing(state, slot, false);
        // From now on the way back is the release that is live, which has lived with the data as they are.
        state.rollback_safe = true;
        let unknown = std::mem::take(&mut state.slot_mut(slot).unknown);
        *state.slot_mut(slot) = SlotRecord { unknown, ..record.clone() };
    }
}

/// Notes what is in the slot, and whether it runs, for an undo to bring back.
fn replacing(state: &mut State, slot: Slot, running: bool) {
    let record = state.slot(slot).clone();
    let was_up = matches!(record.status, SlotStatus::Retained | SlotStatus::Staged);
    let rollback_safe = state.rollback_safe;
    if let Some(operation) = &mut state.operation
        && was_up
    {
        operation.replaced.get_or_insert(Replaced { record, rollback_safe, running, unknown: serde_json::Map::new() });
    }
}
