//! Undoing an operation that failed. The way back never depends on the new slot.

use super::course::Course;
use super::defaults::OBSERVE_LIMIT;
use super::deploy::{shift, stop};
use super::drain;
use super::observe;
use super::report::Outcome;
use super::retry::Retry;
use super::session::{Halt, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::state::{Operation, OperationKind, Step};
use crate::types::Split;

/// Undoes what the journal says was begun, and says how that ended. `Err` only when the lease or the journal is lost.
pub(super) async fn unwind(session: &mut Session, cause: &Error) -> Result<Outcome, Error> {
    session.no_more_cancelling();
    let cause = cause.chain();
    let state = session.ledger.state().await;
    let contract_begun = state.contract_begun();
    let Some(journal) = state.operation else { return Ok(Outcome::Aborted { cause }) };
    if contract_begun {
        if let Some(course) = session.course.clone() {
            collect_logs(session, &course).await?;
        }
        return Ok(Outcome::Frozen { cause });
    }
    let Some(course) = session.course.clone() else { return Ok(Outcome::Aborted { cause }) };
    let undone = undo(session, &course, &journal).await;
    let split = session.ledger.state().await.split;
    match undone {
        Ok(Undone::Nothing) => Ok(Outcome::Aborted { cause }),
        Ok(Undone::Traffic) => Ok(Outcome::RolledBack { cause }),
        Ok(Undone::NowhereToGo) => Ok(Outcome::Kept { cause }),
        Err(Halt::Lost(error)) => Err(error),
        Err(Halt::Failed(error) | Halt::Refused(error) | Halt::Stands(error)) => {
            Ok(Outcome::Stuck { cause, undo: error.chain(), advice: advice(session, &course, split) })
        }
        Err(Halt::Held(undo)) => Ok(Outcome::Stuck { cause, undo, advice: advice(session, &course, split) }),
    }
}

enum Undone {
    Nothing,
    Traffic,
    NowhereToGo,
}

async fn undo(session: &mut Session, course: &Course, journal: &Operation) -> Result<Undone, Halt> {
    let shifted = journal.journal.iter().any(|entry| matches!(entry.step, Step::Shift(_)));
    let moved = moved_split(session, course, journal.kind).await?;
    // A slot that is being stopped, or was given up, is no way back any more.
    if [Step::Retire, Step::Retain].iter().any(|step| journal.started(*step)) {
        return Ok(Undone::NowhereToGo);
    }
    if let Some(split) = moved {
        if !course.can_go_back {
            collect_logs(session, course).await.map_err(Halt::Lost)?;
            return Ok(Undone::NowhereToGo);
        }
        shift_back(session, course, journal.kind, split).await?;
    }
    let brought_up = [Step::StopOccupant, Step::Start].iter().any(|step| journal.started(*step));
    if journal.kind != OperationKind::Rollback && (brought_up || shifted || moved.is_some()) {
        stop_failed(session, course, shifted).await?;
    }
    Ok(if shifted || moved.is_some() { Undone::Traffic } else { Undone::Nothing })
}

/// The present split, if the target has traffic that it must not keep. A rollback that failed before it moved anything
/// leaves the traffic as it was.
async fn moved_split(session: &Session, course: &Course, kind: OperationKind) -> Result<Option<Split>, Halt> {
    let mut retry = Retry::new(session);
    let split = loop {
        match observe::current(&session.parts).await {
            Ok(split) => break split,
            Err(error) => retry.after(session, error).await?,
        }
    };
    let slot = course.target.slot;
    let had = match kind {
        OperationKind::Rollback => course.split.map_or(0, |split| split.share(slot)),
        _ => 0,
    };
    Ok(split.filter(|split| split.share(slot) > had))
}

async fn shift_back(session: &mut Session, course: &Course, kind: OperationKind, split: Split) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let old = course.target.slot.other();
    let to = match (kind, course.split) {
        (OperationKind::Rollback, Some(before)) => before,
        _ => Split::all(old),
    };
    let mut retry = Retry::new(session);
    loop {
        let result = match observe::inspect(&parts, old).await {
            Ok(instance) if !instance.is_running() => {
                let what = format!("traffic cannot go back to {old}, which is {instance}");
                return Err(Halt::Failed(Error::new(ErrorKind::Unhealthy, what)));
            }
            Ok(_) => shift(session, Step::ShiftBack, Some(split), to).await,
            Err(error) => Err(Halt::Failed(error)),
        };
        match result {
            Err(Halt::Failed(error)) => retry.after(session, error).await?,
            other => return other,
        }
    }
}

/// Reads the failed slot's log, lets its requests end, and stops it. A slot that nobody can reach must not make a deploy
/// whose traffic is back a matter for a person: it is left, and said.
async fn stop_failed(session: &mut Session, course: &Course, had_traffic: bool) -> Result<(), Halt> {
    let slot = course.target.slot;
    collect_logs(session, course).await.map_err(Halt::Lost)?;
    if had_traffic {
        match drain::step(session, Step::DrainFailed, slot).await {
            // Not knowing what is in flight is no reason to leave a failed release running.
            Ok(()) | Err(Halt::Failed(_)) => {}
            Err(other) => return Err(other),
        }
    }
    let mut retry = Retry::new(session);
    loop {
        let error = match stop(session, Step::StopFailed, slot).await {
            Err(Halt::Failed(error)) => error,
            other => return other,
        };
        match retry.after(session, error).await {
            Ok(()) => {}
            Err(Halt::Failed(error)) if observe::is_away(&error) => {
                session.narrator.note(format!(
                    "{slot} could not be stopped, because it is out of reach: what runs there has no traffic, and the \
                     next deploy into it stops it first: {}",
                    error.chain()
                ));
                return Ok(());
            }
            Err(halt) => return Err(halt),
        }
    }
}

/// Puts the failed slot's last lines into the report; that they cannot be read must not stop the undo.
async fn collect_logs(session: &mut Session, course: &Course) -> Result<(), Error> {
    let parts = session.parts.clone();
    let work = parts.runtime.logs(course.target.slot, parts.settings.log_lines);
    match session.step(Step::CollectLogs, OBSERVE_LIMIT, work).await {
        Ok(lines) => session.narrator.logs(lines),
        Err(Halt::Lost(error)) => return Err(error),
        Err(_) => {}
    }
    Ok(())
}

fn advice(session: &Session, course: &Course, split: Option<Split>) -> String {
    let (new, router) = (&course.target, &session.parts.router);
    let old = new.slot.other();
    if split == Some(Split::all(new.slot)) {
        return format!(
            "look where {router} sends traffic; `recover` says whether {} answers at the public address; if it does not, \
             and {old} runs, call `rollback`; if {old} is down, bring it up, and call `promote` to give it the traffic",
            new.slot
        );
    }
    format!(
        "look where {router} sends traffic and which of {old} and {} answers; bring {old} up, then call `rollback`; or, \
         if {} is well, call `promote`; `status` shows what there is",
        new.slot, new.slot
    )
}
