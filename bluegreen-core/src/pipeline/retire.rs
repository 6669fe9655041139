//! Stopping the slot that is kept warm.

use super::hooks::{self, About};
use super::observe::Observed;
use super::route::{self, holds, last_live, refuse_divided};
use super::session::{Halt, Session};
use super::steps::stop;
use crate::state::{HookPlace, Operation, SlotStatus, Step};
use crate::types::{Slot, Target};

/// Stops what waits in the idle slot: when its time is over, or `now`.
pub(super) async fn retire(session: &mut Session, now: bool) -> Result<(), Halt> {
    let context = session.context.clone();
    let seen = session.observe().await?;
    let state = session.lease.state().await;
    refuse_divided(&state, &seen).map_err(Halt::Refused)?;
    let live = last_live(&state, &seen);
    for slot in Slot::BOTH.into_iter().filter(|slot| live != Some(*slot)) {
        let record = state.slot(slot);
        let is_kept = matches!(record.status, SlotStatus::Retained | SlotStatus::Staged);
        if !is_kept && !seen.slot(slot).is_running() {
            continue;
        }
        if let Some(reason) = seen.out_of_reach(slot) {
            session.reporter.note(format!("{slot} is out of reach, and was not stopped: {reason}"));
            continue;
        }
        let due = match (record.status, record.retain_until) {
            (SlotStatus::Retained, Some(until)) => context.clock.now() >= until,
            _ => false,
        };
        if !(now || due) {
            let until = record.retain_until.map_or_else(|| "not limited".to_owned(), |until| format!("until {until}"));
            session.reporter.note(format!("{slot} ({}, {until}) is not due", record.status));
            continue;
        }
        session.aim(slot, holds(&seen, &state, slot).as_ref(), None).await;
        let release = route::kept(&state, slot);
        let target = Target::new(context.service.clone(), slot, release, session.id.clone());
        let about = About { target, from: None, outcome: None };
        hooks::run_all(session, HookPlace::BeforeRetire(slot), &about).await?;
        stop(session, Step::Retire, slot).await?;
    }
    Ok(())
}

/// Ends a retirement whose process died. What it was asked to stop is stopped, and nothing else: neither a slot that has
/// traffic by now, nor another release.
pub(super) async fn complete(session: &mut Session, dead: &Operation, seen: &Observed) -> Result<(), Halt> {
    let slot = dead.target;
    let found = seen.slot(slot);
    let left = if !dead.started(Step::Retire) {
        "nothing was begun".to_owned()
    } else if let Some(reason) = seen.out_of_reach(slot) {
        format!("{slot} is out of reach, and was not stopped: {reason}")
    } else if !found.is_running() {
        format!("{slot} is {found}: the retirement was completed")
    } else if seen.split.is_some_and(|split| split.routes_to(slot)) {
        format!("{slot} has traffic by now, and is left alone")
    } else if found.version().is_some() && found.version() != dead.version.as_ref() {
        format!("{slot} holds another release by now, and is left alone: {found}")
    } else {
        session.reporter.note("the retirement is completed");
        session.reporter.about(dead.version.as_ref(), Some(slot));
        return stop(session, Step::Retire, slot).await;
    };
    session.reporter.note(left);
    Ok(())
}
