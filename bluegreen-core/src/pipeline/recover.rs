//! Taking over an operation whose process died: the router is asked first, then the runtime, then the journal.

use super::course::Course;
use super::deploy::{promote, settle};
use super::observe::Observed;
use super::report::Outcome;
use super::rollback::Moved;
use super::session::{Halt, Session};
use super::{health, migrate, restore, retire, rollback, verify};
use crate::error::{Error, ErrorKind};
use crate::migrator::Phase;
use crate::state::{JournalEntry, Operation, OperationKind, Progressed, State, Step};
use crate::types::{Slot, Split};

/// Brings what is unfinished to an end, forward or back; with nothing unfinished, the record into agreement with what
/// there is. What it leaves with all traffic must have been seen to answer at the public address, or is asked to now.
pub(super) async fn recover(session: &mut Session) -> Result<(), Halt> {
    // As the dead process left it: observing brings the record into agreement with what there is.
    let state = session.ledger.state().await;
    let unfinished = state.operation.clone().filter(|operation| operation.kind != OperationKind::Recover);
    let seen = session.observe_within_reach().await?;
    if let Some(operation) = &unfinished {
        slots_that_must_be_seen(operation).into_iter().try_for_each(|slot| seen.in_reach(slot))?;
    }
    let was_stuck = state.history.last().is_some_and(|past| matches!(past.outcome, Outcome::Stuck { .. }));
    match &unfinished {
        Some(operation) => complete(session, &state, operation, &seen).await?,
        None => session.narrator.note("nothing was unfinished"),
    }
    confirm_what_stands(session, &seen, unfinished.is_some() || was_stuck).await
}

/// The slot that traffic may go back to must be seen. What it leaves need not be: going back must not depend on it.
fn slots_that_must_be_seen(operation: &Operation) -> Vec<Slot> {
    use OperationKind::{Deploy, Migrate, Promote, Recover, Restore, Retire, Rollback, Stage};
    match operation.kind {
        Deploy | Stage | Promote if operation.started(Step::Contract) => Slot::BOTH.to_vec(),
        Deploy | Stage | Promote => operation.from.into_iter().collect(),
        Rollback => vec![operation.target],
        Migrate | Retire => Slot::BOTH.to_vec(),
        Restore | Recover => Vec::new(),
    }
}

async fn complete(session: &mut Session, state: &State, operation: &Operation, seen: &Observed) -> Result<(), Halt> {
    session.narrator.note(found(operation, seen));
    match operation.kind {
        OperationKind::Deploy | OperationKind::Stage | OperationKind::Promote => {
            recover_deploy(session, state, operation, seen).await
        }
        OperationKind::Rollback => recover_rollback(session, state, operation, seen).await,
        OperationKind::Retire => {
            let begun = operation.started(Step::Retire);
            session.narrator.note(if begun { "the retirement is completed" } else { "nothing was begun" });
            let result = if begun { retire::retire(session, true).await } else { Ok(()) };
            unless_refused(session, result)
        }
        OperationKind::Migrate => {
            let phase = match (state.contract_begun(), operation.started(Step::Migrate)) {
                (true, _) => Phase::Contract,
                (false, true) => Phase::Expand,
                (false, false) => {
                    session.narrator.note("nothing was begun");
                    return Ok(());
                }
            };
            session.narrator.note(format!("the {phase} phase is run again; repeating it is harmless"));
            let result = migrate::migrate(session, phase, Some(operation.target)).await;
            unless_refused(session, result)
        }
        OperationKind::Restore => {
            session.narrator.note("the restore is run again");
            let result = restore::restore(session).await;
            unless_refused(session, result).map_err(stands_as_it_is)
        }
        OperationKind::Recover => Ok(()),
    }
}

/// A release that has all traffic, and was never seen to answer at the public address, is not accepted unseen. When it does
/// not answer, nothing is undone: nobody knows whether the release is to blame, and `rollback` is a person's to call.
///
/// Where the operation before has told its end, it is only noted: a recovery before each deploy must not keep the release
/// from being replaced that mends it.
async fn confirm_what_stands(session: &mut Session, seen: &Observed, is_to_ask: bool) -> Result<(), Halt> {
    let state = session.ledger.state().await;
    let stands = state.split.and_then(|split| split.sole());
    let Some(slot) = stands.filter(|slot| state.slot(*slot).confirmed.is_none()) else { return Ok(()) };
    if !is_to_ask {
        session.narrator.note(format!("{slot} has all traffic, and was not confirmed at the public address"));
        return Ok(());
    }
    let Ok(course) = Course::to_slot(&session.parts, &session.id, &state, seen, slot) else {
        session.narrator.note(format!("nobody knows which version {slot} should answer as, so it was not confirmed"));
        return Ok(());
    };
    session.narrator.about(Some(course.target.version()), slot);
    session.narrator.note(format!("{slot} has all traffic, and was not confirmed yet"));
    verify::confirm(session, &course.target).await.map_err(stands_as_it_is)
}

fn stands_as_it_is(halt: Halt) -> Halt {
    match halt {
        Halt::Failed(error) => Halt::Stands(error),
        other => other,
    }
}

/// Forward when the new release was confirmed or there is no way back; otherwise back.
async fn recover_deploy(
    session: &mut Session,
    state: &State,
    operation: &Operation,
    seen: &Observed,
) -> Result<(), Halt> {
    let Some(course) = Course::resume(&session.parts, operation, state, seen) else {
        session.narrator.note("it had not begun to do anything");
        return Ok(());
    };
    session.set_course(course.clone()).await;
    let slot = course.target.slot;
    let up = seen.slot(slot).is_running();
    let share = seen.split.map_or(0, |split| split.share(slot));

    if state.contract_begun() {
        session.narrator.note("the contract phase had begun, so there is only the way forward");
        settle(session, &course).await
    } else if operation.done(Step::Verify) && !had_failed(operation) && share == 100 && up {
        session.narrator.note("the new version was confirmed before: the deploy is completed");
        settle(session, &course).await
    } else if share > 0 && up && !course.can_go_back {
        session.narrator.note("there is nothing to go back to, and the new release runs: the deploy is completed");
        health::step(session, &course.target).await?;
        promote(session, &course).await?;
        settle(session, &course).await
    } else {
        let step = operation.last().map_or(Step::Observe, |entry| entry.step);
        Err(Halt::Failed(
            Error::new(ErrorKind::Unexpected, format!("the process of {} died in step {step}", operation.by))
                .trying(format!("{} {}", operation.kind, operation.id)),
        ))
    }
}

/// Whether the operation had failed already, and its process died while it was undone.
fn had_failed(operation: &Operation) -> bool {
    let undoing = [Step::ShiftBack, Step::CollectLogs, Step::DrainFailed, Step::StopFailed];
    // A contract phase that failed is never a reason to undo.
    let failed = |entry: &JournalEntry| entry.progress == Progressed::Failed && entry.step != Step::Contract;
    operation.journal.iter().any(|entry| failed(entry) || undoing.contains(&entry.step))
}

/// What cannot be repeated as things are now has nothing left to bring to an end: it is noted, and the way is free for
/// the next operation.
fn unless_refused(session: &Session, result: Result<(), Halt>) -> Result<(), Halt> {
    match result {
        Err(Halt::Refused(error)) if error.kind() != ErrorKind::Config => {
            session.narrator.note(format!("it cannot be completed as things are now: {error}"));
            Ok(())
        }
        other => other,
    }
}

async fn recover_rollback(
    session: &mut Session,
    state: &State,
    operation: &Operation,
    seen: &Observed,
) -> Result<(), Halt> {
    let moved = operation.journal.iter().any(|entry| matches!(entry.step, Step::Shift(_)));
    let Some(course) = Course::resume(&session.parts, operation, state, seen).filter(|_| moved) else {
        session.narrator.note("no traffic had moved: it stays where it is");
        return Ok(());
    };
    if seen.split == Some(Split::all(course.target.slot)) {
        session.narrator.note("traffic had moved back: the rollback is completed");
        session.set_course(course.clone()).await;
        return complete_rollback(session, &course, state, seen).await;
    }
    session.narrator.note("traffic had not moved yet: the rollback is run again");
    match rollback::move_back(session).await {
        Ok(Moved { course, state, seen }) => complete_rollback(session, &course, &state, &seen).await,
        Err(halt) => unless_refused(session, Err(halt)),
    }
}

/// The traffic is where it was asked to go. A public address that is down must not keep the service from its next operation.
async fn complete_rollback(session: &mut Session, course: &Course, state: &State, seen: &Observed) -> Result<(), Halt> {
    verify::step(session, course).await.map_err(|halt| match halt {
        // One that was called off has not found anything out: the next recovery goes on.
        Halt::Failed(error) if error.kind() == ErrorKind::Cancelled => Halt::Failed(error),
        other => stands_as_it_is(other),
    })?;
    rollback::settle_back(session, course, state, seen).await
}

/// One line on what the dead process left.
fn found(operation: &Operation, seen: &Observed) -> String {
    let version = operation.version.as_ref().map(|version| format!(" of {version}")).unwrap_or_default();
    let step = operation.last().map_or_else(
        || "before its first step".to_owned(),
        |entry| format!("in step {} ({:?})", entry.step, entry.progress).to_lowercase(),
    );
    let split = seen.split.map_or_else(|| "nothing".to_owned(), |split| split.to_string());
    format!(
        "found: {} {}{version} by {} ended {step}; the router routes {split}; blue is {}; green is {}",
        operation.kind, operation.id, operation.by, seen.blue, seen.green
    )
}
