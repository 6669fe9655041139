//! Giving a service back what it had, after a restart of its machine, or when its address was lost.

use super::course::{Course, last_live, refuse_divided};
use super::deploy::{attach, shift, start_limit};
use super::session::{Halt, Session};
use super::{health, verify};
use crate::error::{Error, ErrorKind};
use crate::state::Step;
use crate::types::Split;

/// Starts the release that was live last where it does not run, and gives it the traffic where nothing is routed; then sees
/// it answer. Nothing is undone when that fails: the service was down before.
pub(super) async fn restore(session: &mut Session) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let seen = session.observe_within_reach().await?;
    let state = session.ledger.state().await;
    refuse_divided(&seen).map_err(Halt::Refused)?;
    let Some(slot) = last_live(&state, &seen) else {
        let error = Error::new(ErrorKind::NotFound, "no release is known to have been live").trying("restore");
        return Err(Halt::Refused(error.not_applied().advice("deploy a release")));
    };
    seen.in_reach(slot).map_err(Halt::Refused)?;
    let course = Course::to_slot(&parts, &session.id, &state, &seen, slot).map_err(Halt::Refused)?;
    session.set_course(course.clone()).await;
    let target = session.narrator.watch(course.target.clone());

    if !seen.slot(slot).is_running() {
        session.step(Step::Start, start_limit(&parts), parts.runtime.start(&target)).await?;
    }
    health::step(session, &target).await?;
    attach(session, slot).await?;
    if seen.split.is_none() {
        shift(session, Step::Shift(100), None, Split::all(slot)).await?;
    }
    verify::confirm(session, &target).await
}
