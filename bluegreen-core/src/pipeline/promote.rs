//! Promoting what was staged before, or going on with a promotion that was held.

use super::course::{Course, last_live, refused};
use super::deploy::{promote, settle};
use super::observe::Observed;
use super::session::{Halt, Session};
use super::{health, verify};
use crate::error::{Error, ErrorKind};
use crate::state::{SlotStatus, State};
use crate::types::Slot;

/// Moves traffic to the staged slot.
pub(super) async fn promote_staged(session: &mut Session) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let seen = session.observe().await?;
    let state = session.ledger.state().await;
    let staged = staged(&state, &seen);
    if staged.is_err()
        && let Some(course) = Course::held_at_all(&parts, &session.id, &state, &seen)
    {
        return confirm_held(session, course).await;
    }
    let slot = staged.map_err(Halt::Refused)?;
    let course = Course::to_slot(&parts, &session.id, &state, &seen, slot).map_err(Halt::Refused)?;
    session.set_course(course.clone()).await;

    // It may have been staged long ago: it must be healthy now.
    health::step(session, &course.target).await?;
    promote(session, &course).await?;
    settle(session, &course).await
}

/// Goes on where a promotion was held with all traffic moved: sees the release answer at the public address, and makes it
/// final.
async fn confirm_held(session: &mut Session, course: Course) -> Result<(), Halt> {
    session.set_course(course.clone()).await;
    session.narrator.note(format!("{} has all traffic, and was not confirmed yet", course.target.slot));
    health::step(session, &course.target).await?;
    verify::confirm(session, &course.target).await?;
    settle(session, &course).await
}

fn staged(state: &State, seen: &Observed) -> Result<Slot, Error> {
    let live = last_live(state, seen);
    let waiting = |slot: &Slot| seen.slot(*slot).is_running() && live != Some(*slot);
    let nothing = || {
        Error::new(ErrorKind::NotFound, "nothing is staged")
            .trying("promote")
            .not_applied()
            .advice("`stage` brings a release up in the idle slot, `deploy` does all at once")
    };
    let slot = Slot::BOTH.into_iter().find(waiting).ok_or_else(nothing)?;
    if state.slot(slot).status == SlotStatus::Retained {
        return Err(refused(format!("{slot} holds the release that was live before"), "`rollback` brings it back")
            .trying("promote"));
    }
    Ok(slot)
}
