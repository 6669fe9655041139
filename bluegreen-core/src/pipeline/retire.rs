//! Stopping the slot that is kept warm.

use super::course::{Course, last_live, refuse_divided};
use super::deploy::stop;
use super::session::{Halt, Session};
use crate::state::{SlotStatus, Step};
use crate::types::Slot;

/// Stops what waits in the idle slot: when its time is over, or `now`.
pub(super) async fn retire(session: &mut Session, now: bool) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let seen = session.observe().await?;
    refuse_divided(&seen).map_err(Halt::Refused)?;
    let state = session.ledger.state().await;
    let live = last_live(&state, &seen);
    let idle = Slot::BOTH.into_iter().filter(|slot| live != Some(*slot) && seen.slot(*slot).is_running());
    for slot in idle {
        let record = state.slot(slot);
        let due = match (record.status, record.retain_until) {
            (SlotStatus::Retained, Some(until)) => parts.clock.now() >= until,
            _ => false,
        };
        if !(now || due) {
            let until = record.retain_until.map_or_else(|| "not limited".to_owned(), |until| format!("until {until}"));
            session.narrator.note(format!("{slot} ({}, {until}) is not due", record.status));
            continue;
        }
        if let Ok(course) = Course::to_slot(&parts, &session.id, &state, &seen, slot) {
            session.narrator.about(Some(course.target.version()), slot);
        }
        stop(session, Step::Retire, slot).await?;
    }
    Ok(())
}
