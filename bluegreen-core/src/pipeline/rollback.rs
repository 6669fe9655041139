//! Moving traffic back to the slot that had it before.

use super::course::{Course, last_live, refused};
use super::deploy::{attach, retain, shift, stop};
use super::observe::Observed;
use super::session::{Halt, Session};
use super::strategy::Retention;
use super::{drain, health, verify};
use crate::error::{Error, ErrorKind};
use crate::state::{SlotStatus, State, Step};
use crate::types::{Slot, Split};

/// Moves all traffic to the retained slot, or, while traffic is divided, back to the live one.
pub(super) async fn rollback(session: &mut Session) -> Result<(), Halt> {
    let Moved { course, state, seen } = move_back(session).await?;
    verify::step(session, &course).await?;
    settle_back(session, &course, &state, &seen).await
}

/// What a rollback found before it moved the traffic.
pub(super) struct Moved {
    pub(super) course: Course,
    pub(super) state: State,
    pub(super) seen: Observed,
}

/// Decides where the traffic goes back to, checks it, and moves the traffic.
pub(super) async fn move_back(session: &mut Session) -> Result<Moved, Halt> {
    let parts = session.parts.clone();
    // What is left need not be in reach.
    let seen = session.observe_within_reach().await?;
    let state = session.ledger.state().await;
    let slot = destination(&state, &seen).map_err(Halt::Refused)?;
    let course = Course::to_slot(&parts, &session.id, &state, &seen, slot).map_err(Halt::Refused)?;
    session.set_course(course.clone()).await;

    health::step(session, &course.target).await?;
    attach(session, slot).await?;
    shift(session, Step::Shift(100), course.split, Split::all(slot)).await?;
    Ok(Moved { course, state, seen })
}

/// Decides what becomes of the slot that was left, once the old version was seen to answer.
pub(super) async fn settle_back(
    session: &mut Session,
    course: &Course,
    state: &State,
    seen: &Observed,
) -> Result<(), Halt> {
    let left = course.target.slot.other();
    if seen.out_of_reach(left).is_some() {
        session.narrator.note(format!("{left} is out of reach: what runs there was neither drained nor stopped"));
    }
    if !seen.slot(left).is_running() {
        return Ok(());
    }
    drain::step(session, Step::Drain, left).await?;
    let was_live = state.slot(left).status != SlotStatus::Staged;
    match session.parts.retention {
        // A canary that was rolled back was never live: there is nothing to go back to it for.
        _ if !was_live => stop(session, Step::Retire, left).await,
        Retention::Retire => stop(session, Step::Retire, left).await,
        Retention::For(keep) => retain(session, left, Some(keep)).await,
        Retention::UntilNextDeploy => retain(session, left, None).await,
    }
}

/// Where traffic would go back to.
fn destination(state: &State, seen: &Observed) -> Result<Slot, Error> {
    let nothing =
        |what: String, advice| Error::new(ErrorKind::NotFound, what).trying("rollback").not_applied().advice(advice);
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
        return Ok(live);
    }
    // Before anything else: after it, the former version is no way back under any name.
    if !state.rollback_safe {
        return Err(refused(
            "the contract phase of the migrations has run: the former release cannot live with the data any more"
                .to_owned(),
            "roll forward: deploy a release that repairs what is wrong",
        )
        .trying("rollback"));
    }
    let retained = live.other();
    seen.in_reach(retained).map_err(|error| error.trying("rollback"))?;
    let found = seen.slot(retained);
    if !found.is_running() {
        return Err(nothing(
            format!("{retained} is {found}: there is nothing warm to go back to"),
            "deploy the former version under a new name",
        ));
    }
    match state.slot(retained).status {
        SlotStatus::Retained => Ok(retained),
        status => Err(refused(
            format!("{retained} is {status} and was not live before, as far as is known"),
            "`promote` is what moves traffic to a staged release",
        )
        .trying("rollback")),
    }
}
