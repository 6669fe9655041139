//! Moving traffic back to the slot that had it before.

use super::hooks::About;
use super::observe::Observed;
use super::route::{Route, last_live, refused, to_the_other};
use super::session::{Halt, Session};
use super::steps::{attach, is_to_be_started, retain, shift, start, stop};
use super::strategy::Retention;
use super::{drain, health, hooks, route, verify};
use crate::error::{Error, ErrorKind, Reason};
use crate::state::{HookPlace, Outcome, SlotStatus, State, Step};
use crate::types::{Slot, Split, Target};

/// Moves all traffic to the retained slot, or, while traffic is divided, back to the live one. Starts what went down there.
pub(super) async fn rollback(session: &mut Session) -> Result<(), Halt> {
    let Moved { route, state, seen } = move_back(session).await?;
    verify::step(session, &route).await?;
    finalize_rollback(session, &route, &state, &seen).await
}

/// What a rollback found before it moved the traffic.
pub(super) struct Moved {
    pub(super) route: Route,
    pub(super) state: State,
    pub(super) seen: Observed,
}

/// Decides where the traffic goes back to, checks it, and moves the traffic.
pub(super) async fn move_back(session: &mut Session) -> Result<Moved, Halt> {
    let context = session.context.clone();
    // What is left need not be in reach.
    let seen = session.observe().await?;
    let state = session.lease.state().await;
    let slot = match retained_beside_unhealthy(session, &state, &seen).await {
        Some(retained) => retained,
        None => destination(&state, &seen).map_err(Halt::Refused)?,
    };
    let route = Route::to_slot(&context, &session.id, &state, &seen, slot).map_err(Halt::Refused)?;
    session.set_route(route.clone()).await;

    if is_to_be_started(&context, seen.slot(slot)) {
        // It was kept, and went down since: it is prepared still.
        let target = session.reporter.watch(route.target.clone());
        start(session, Step::Start, &target, |_| {}).await?;
    }
    health::step(session, &route.target).await?;
    attach(session, slot).await?;
    shift(session, Step::Shift(100), route.split, Split::all(slot)).await?;
    Ok(Moved { route, state, seen })
}

/// Decides what becomes of the slot that was left, once the old version was seen to answer.
pub(super) async fn finalize_rollback(
    session: &mut Session,
    route: &Route,
    state: &State,
    seen: &Observed,
) -> Result<(), Halt> {
    leave(session, route, state, seen).await?;
    let about = About { outcome: Some(Outcome::Succeeded), ..About::route(route) };
    hooks::run_all(session, HookPlace::AfterRollback, &about).await
}

/// Drains the slot that was left, and keeps or stops it.
async fn leave(session: &mut Session, route: &Route, state: &State, seen: &Observed) -> Result<(), Halt> {
    let left = route.target.slot.other();
    if seen.out_of_reach(left).is_some() {
        session.reporter.note(format!("{left} is out of reach: what runs there was neither drained nor stopped"));
    }
    if !seen.slot(left).is_running() {
        return Ok(());
    }
    drain::step(session, Step::Drain, left).await?;
    let was_live = state.slot(left).status != SlotStatus::Staged;
    match session.context.retention {
        // A canary that was rolled back was never live: there is nothing to go back to it for.
        _ if !was_live => retire(session, route, state, left).await,
        Retention::Retire => retire(session, route, state, left).await,
        Retention::For(_) | Retention::UntilNextDeploy => retain(session, left).await,
    }
}

async fn retire(session: &mut Session, route: &Route, state: &State, left: Slot) -> Result<(), Halt> {
    let target = Target { slot: left, release: route::kept(state, left), ..route.target.clone() };
    hooks::run_all(session, HookPlace::BeforeRetire(left), &About { target, ..About::route(route) }).await?;
    match hooks::keep_from_retiring(session, left).await {
        true => retain(session, left).await,
        false => stop(session, Step::Retire, left).await,
    }
}

/// While traffic is divided between a live release that is not healthy and the one before it: that one, as somebody began it
/// by hand.
async fn retained_beside_unhealthy(session: &Session, state: &State, seen: &Observed) -> Option<Slot> {
    let live = seen.live.filter(|_| seen.is_divided() && state.rollback_safe)?;
    let retained = live.other();
    let is_retained = state.slot(retained).status == SlotStatus::Retained && seen.slot(retained).is_running();
    if !is_retained || health::is_healthy(&session.context, &session.id, state, seen, live).await {
        return None;
    }
    session.reporter.note(format!("{live} is not healthy: traffic goes back to what was live before it"));
    Some(retained)
}

/// Where traffic would go back to.
fn destination(state: &State, seen: &Observed) -> Result<Slot, Error> {
    let nothing = |what: String, advice| {
        let error = Error::new(ErrorKind::NotFound, what).with_reason(Reason::NothingToRollBackTo);
        error.not_applied().with_hint(advice)
    };
    let Some(live) = seen.live else {
        return Err(match last_live(state, seen) {
            Some(slot) => nothing(
                format!("the router routes nothing, and {slot} was live last"),
                "`restore` gives it the traffic back; then there is something to go back from",
            ),
            None => nothing("the router routes nothing yet".to_owned(), "deploy a release first"),
        });
    };
    if seen.is_divided() {
        seen.in_reach(live).map_err(|error| {
            let advice = match to_the_other(state, seen, live) {
                Some(verb) => format!("`{verb}` gives all traffic to {}, if its release is well", live.other()),
                None => "when its machine is gone for good, deploy with a pipeline that is built with \
                         `.require_healthy_rollback_target(false)`"
                    .to_owned(),
            };
            error.with_hint(advice)
        })?;
        return Ok(live);
    }
    // Before anything else: after it, the former version is no way back under any name.
    if !state.rollback_safe {
        return Err(refused(
            Reason::ContractHasRun,
            "the contract phase of the migrations has run: the former release cannot live with the data any more",
            "roll forward: deploy a release that repairs what is wrong",
        ));
    }
    let retained = live.other();
    seen.in_reach(retained)?;
    match (state.slot(retained).status, seen.slot(retained)) {
        (SlotStatus::Retained, _) => Ok(retained),
        (_, found) if !found.is_running() => Err(nothing(
            format!("{retained} is {found}: no release is kept there to go back to"),
            "deploy the former version again",
        )),
        (status, _) => Err(refused(
            Reason::NothingToRollBackTo,
            format!("{retained} is {status} and was not live before, as far as is known"),
            "`promote` is what moves traffic to a staged release",
        )),
    }
}
