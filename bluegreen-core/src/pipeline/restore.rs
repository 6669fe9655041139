//! Giving a service back what it had, after a restart of its machine, or when its address was lost.

use super::route::{Route, last_live, refuse_divided};
use super::session::{Halt, Session};
use super::steps::{attach, is_to_be_started, shift, start};
use super::{health, observe, verify};
use crate::error::{Error, ErrorKind, Reason};
use crate::state::Step;
use crate::types::Split;

/// Starts the release that was live last where it does not run, gives it all traffic where it does not have it, and sees it
/// answer. Nothing is undone when that fails: the service was down before.
pub(super) async fn restore(session: &mut Session) -> Result<(), Halt> {
    let context = session.context.clone();
    let seen = session.observe().await?;
    let state = session.lease.state().await;
    let Some(slot) = last_live(&state, &seen) else {
        let error = Error::new(ErrorKind::NotFound, "no release is known to have been live");
        let error = error.with_reason(Reason::NothingToRollBackTo).not_applied();
        return Err(Halt::Refused(error.with_hint("deploy a release")));
    };
    // A canary whose live release runs is for `promote` or `rollback` to end.
    if seen.slot(slot).is_running() {
        refuse_divided(&state, &seen).map_err(Halt::Refused)?;
    }
    seen.in_reach(slot).map_err(Halt::Refused)?;
    let route = Route::to_slot(&context, &session.id, &state, &seen, slot).map_err(Halt::Refused)?;
    session.set_route(route.clone()).await;
    let target = session.reporter.watch(route.target.clone());

    if is_to_be_started(&context, seen.slot(slot)) {
        start(session, Step::Start, &target, |_| {}).await?;
    }
    health::step(session, &target).await?;
    attach(session, slot).await?;
    if seen.split != Some(Split::all(slot)) {
        shift(session, Step::Shift(100), seen.split, Split::all(slot)).await?;
    } else {
        observe::in_time(context.runtime.promoted(slot)).await?;
    }
    verify::confirm(session, &target).await
}
