//! Taking over an operation whose process died: the router is asked first, then the runtime, then the journal.

use super::deploy::{finalize, promote};
use super::observe::Observed;
use super::rollback::Moved;
use super::route::Route;
use super::session::{Halt, Session};
use super::steps::no_migrator;
use super::{health, hooks, migrate, restore, retire, rollback, verify};
use crate::error::{Error, ErrorKind};
use crate::migrator::Phase;
use crate::state::{JournalEntry, Operation, OperationKind, Outcome, State, Step, StepStatus};
use crate::types::Split;

/// Brings what is unfinished to an end, forward or back; with nothing unfinished, the record into agreement with what
/// there is. What it leaves with all traffic must have been seen to answer at the public address, or is asked to now.
pub(super) async fn recover(session: &mut Session) -> Result<(), Halt> {
    // As the dead process left it: observing brings the record into agreement with what there is.
    let state = session.lease.state().await;
    let unfinished = state.operation.clone().filter(|operation| operation.kind != OperationKind::Recover);
    let seen = session.observe().await?;
    let was_stuck = state.history.last().is_some_and(|past| matches!(past.outcome, Outcome::Stuck { .. }));
    match &unfinished {
        Some(operation) => complete(session, &state, operation, &seen).await?,
        None => session.reporter.note("nothing was unfinished"),
    }
    confirm_what_stands(session, &seen, unfinished.is_some() || was_stuck).await
}

/// Needs no more than what the journal says was acted on: a machine that is gone must not keep what it has nothing to do
/// with from coming to an end.
async fn complete(session: &mut Session, state: &State, operation: &Operation, seen: &Observed) -> Result<(), Halt> {
    session.reporter.note(found(operation, seen));
    hooks::note_cut_off(session, operation);
    match operation.kind {
        OperationKind::Deploy | OperationKind::Stage | OperationKind::Promote => {
            recover_deploy(session, state, operation, seen).await
        }
        OperationKind::Rollback => recover_rollback(session, state, operation, seen).await.map_err(ends_as_failed),
        OperationKind::Retire => retire::complete(session, operation, seen).await.map_err(ends_as_failed),
        OperationKind::Migrate => recover_migration(session, state, operation, seen).await,
        OperationKind::Restore => {
            session.reporter.note("the restore is run again");
            let result = restore::restore(session).await;
            unless_refused(session, result).map_err(stands_as_it_is)
        }
        OperationKind::Resume => {
            session.reporter.note("members may still be behind: run `resume` again");
            Ok(())
        }
        OperationKind::Recover => Ok(()),
    }
}

/// Runs the phase again that a dead process had begun. Where that fails, it ends as failed, as it would have without the death:
/// the next deploy may be what repairs it.
async fn recover_migration(
    session: &mut Session,
    state: &State,
    operation: &Operation,
    seen: &Observed,
) -> Result<(), Halt> {
    let phase = match (state.contract_begun(), operation.started(Step::Migrate)) {
        (true, _) => Phase::Contract,
        (false, true) => Phase::Expand,
        (false, false) => {
            session.reporter.note("nothing was begun");
            return Ok(());
        }
    };
    session.reporter.about(operation.version.as_ref(), Some(operation.target));
    if session.context.migrator.is_none() {
        return Err(Halt::Spent(no_migrator().with_operation(format!("run the {phase} phase again"))));
    }
    seen.in_reach(operation.target)
        .map_err(|error| Halt::Spent(error.with_operation(format!("run the {phase} phase again"))))?;
    session.reporter.note(format!("the {phase} phase is run again; repeating it is harmless"));
    let result = migrate::migrate(session, phase, Some(operation.target)).await;
    unless_refused(session, result).map_err(ends_as_failed)
}

/// A release that has all traffic, and was never seen to answer at the public address, is not accepted unseen. When it does
/// not answer, nothing is undone: nobody knows whether the release is to blame, and `rollback` is a person's to call.
///
/// Where the operation before has told its end, it is only noted: a recovery before each deploy must not keep the release
/// from being replaced that mends it.
async fn confirm_what_stands(session: &mut Session, seen: &Observed, is_to_ask: bool) -> Result<(), Halt> {
    let state = session.lease.state().await;
    let stands = state.split.and_then(|split| split.sole());
    let Some(slot) = stands.filter(|slot| state.slot(*slot).confirmed.is_none()) else { return Ok(()) };
    if !is_to_ask {
        session.reporter.note(format!("{slot} has all traffic, and was not confirmed at the public address"));
        return Ok(());
    }
    let Ok(route) = Route::to_slot(&session.context, &session.id, &state, seen, slot) else {
        session.reporter.note(format!("nobody knows which version {slot} should answer as, so it was not confirmed"));
        return Ok(());
    };
    session.reporter.about(Some(route.target.version()), Some(slot));
    session.reporter.note(format!("{slot} has all traffic, and was not confirmed yet"));
    verify::confirm(session, &route.target).await.map_err(stands_as_it_is)
}

/// What fails when it is repeated ends as it would have without the death, or nothing else could ever begin. What was called
/// off has not found anything out: the next recovery tries again.
fn ends_as_failed(halt: Halt) -> Halt {
    match halt {
        Halt::Failed(error) if error.kind() != ErrorKind::Cancelled => Halt::Spent(error),
        other => other,
    }
}

fn stands_as_it_is(halt: Halt) -> Halt {
    match halt {
        Halt::Failed(error) => Halt::KeepAsIs(error),
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
    let Some(route) = Route::resume(&session.context, operation, state, seen) else {
        session.reporter.note("it had not begun to do anything");
        return Ok(());
    };
    session.set_route(route.clone()).await;
    let slot = route.target.slot;
    let up = seen.slot(slot).is_running();
    let share = seen.split.map_or(0, |split| split.share(slot));
    let from_away = operation.from.and_then(|from| seen.out_of_reach(from).map(|reason| (from, reason.to_owned())));

    if state.contract_begun() {
        session.reporter.note("the contract phase had begun, so there is only the way forward");
        finalize(session, &route).await
    } else if operation.done(Step::Verify) && !had_failed(operation) && share == 100 && up {
        session.reporter.note("the new version was confirmed before: the deploy is completed");
        finalize(session, &route).await
    } else if let Some((from, reason)) = from_away.filter(|_| share > 0) {
        // Neither is certain to be right without a look at what traffic would go back to.
        session.reporter.note(format!("{from}, to which traffic would go back, is out of reach: {reason}"));
        match share {
            100 => Ok(()),
            _ => {
                let what = format!("traffic stays divided, because {from} is out of reach");
                Err(Halt::KeepAsIs(Error::new(ErrorKind::Unreachable, what)))
            }
        }
    } else if share > 0 && up && !route.can_go_back {
        session.reporter.note("there is nothing to go back to, and the new release runs: the deploy is completed");
        health::step(session, &route.target).await?;
        promote(session, &route).await?;
        finalize(session, &route).await
    } else {
        let step = operation.last().map_or(Step::Observe, |entry| entry.step);
        Err(Halt::Failed(Error::new(ErrorKind::Unexpected, format!("the deployer {} died in {step}", operation.by))))
    }
}

/// Whether the operation had failed already, and its process died while it was undone.
fn had_failed(operation: &Operation) -> bool {
    let undoing = [Step::ShiftBack, Step::CollectLogs, Step::DrainFailed, Step::StopFailed, Step::StartOccupant];
    // A contract phase that failed is never a reason to undo.
    let failed = |entry: &JournalEntry| entry.progress == StepStatus::Failed && entry.step != Step::Contract;
    operation.journal.iter().any(|entry| failed(entry) || undoing.contains(&entry.step))
}

/// What cannot be repeated as things are now has nothing left to bring to an end: it is noted, and the way is free for
/// the next operation.
fn unless_refused(session: &Session, result: Result<(), Halt>) -> Result<(), Halt> {
    match result {
        Err(Halt::Refused(error)) if error.kind() != ErrorKind::Config => {
            session.reporter.note(format!("it cannot be completed as things are now: {error}"));
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
    let Some(route) = Route::resume(&session.context, operation, state, seen).filter(|_| moved) else {
        session.reporter.note("no traffic had moved: it stays where it is");
        return Ok(());
    };
    if seen.split == Some(Split::all(route.target.slot)) {
        session.reporter.note("traffic had moved back: the rollback is completed");
        session.set_route(route.clone()).await;
        return complete_rollback(session, &route, state, seen).await;
    }
    session.reporter.note("traffic had not moved yet: the rollback is run again");
    match rollback::move_back(session).await {
        Ok(Moved { route, state, seen }) => complete_rollback(session, &route, &state, &seen).await,
        Err(halt) => unless_refused(session, Err(halt)),
    }
}

/// The traffic is where it was asked to go. A public address that is down must not keep the service from its next operation.
async fn complete_rollback(session: &mut Session, route: &Route, state: &State, seen: &Observed) -> Result<(), Halt> {
    verify::step(session, route).await.map_err(|halt| match halt {
        // One that was called off has not found anything out: the next recovery goes on.
        Halt::Failed(error) if error.kind() == ErrorKind::Cancelled => Halt::Failed(error),
        other => stands_as_it_is(other),
    })?;
    rollback::finalize_rollback(session, route, state, seen).await
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
