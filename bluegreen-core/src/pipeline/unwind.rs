//! Undoing an operation that failed. The way back never depends on the new slot.

use super::drain;
use super::observe;
use super::retry::Retry;
use super::route::Route;
use super::session::{Halt, Session};
use super::steps::{shift, start, stop};
use crate::error::{Error, ErrorKind, Result};
use crate::log_lines::telling_lines;
use crate::state::{Operation, OperationKind, Outcome, Replaced, SlotRecord, Step};
use crate::types::{Release, Slot, Split, Target};

/// Undoes what the journal says was begun, and says how that ended. `Err` only when the lease or the journal is lost.
pub(super) async fn unwind(session: &mut Session, cause: &Error) -> Result<Outcome, Error> {
    session.see_it_through();
    if let Some(fleet) = &session.context.fleet {
        fleet.tolerate();
    }
    let cause = cause.summary();
    let state = session.lease.state().await;
    let contract_begun = state.contract_begun();
    let Some(journal) = state.operation else { return Ok(Outcome::Aborted { cause }) };
    if contract_begun {
        if let Some(route) = session.route.clone() {
            collect_logs(session, &route).await?;
        }
        return Ok(Outcome::Frozen { cause });
    }
    let Some(route) = session.route.clone() else { return Ok(Outcome::Aborted { cause }) };
    match undo(session, &route, &journal).await {
        Ok(Undone::Nothing) => Ok(Outcome::Aborted { cause }),
        Ok(Undone::Traffic) => Ok(Outcome::RolledBack { cause }),
        Ok(Undone::NowhereToGo) => Ok(Outcome::Kept { cause }),
        Err(Halt::Lost(error)) => Err(error),
        Err(Halt::Failed(error) | Halt::Refused(error) | Halt::KeepAsIs(error) | Halt::Spent(error)) => {
            Ok(Outcome::Stuck { cause, undo: error.summary(), advice: advice(session, &route, journal.kind) })
        }
        Err(Halt::Held(undo)) => Ok(Outcome::Stuck { cause, undo, advice: advice(session, &route, journal.kind) }),
    }
}

enum Undone {
    Nothing,
    Traffic,
    NowhereToGo,
}

async fn undo(session: &mut Session, route: &Route, journal: &Operation) -> Result<Undone, Halt> {
    let shifted = journal.journal.iter().any(|entry| matches!(entry.step, Step::Shift(_)));
    let moved = moved_split(session, route, journal.kind).await?;
    // A slot that is being stopped, or was given up, is no way back any more.
    if [Step::Retire, Step::Retain].iter().any(|step| journal.started(*step)) {
        return Ok(Undone::NowhereToGo);
    }
    if let Some(split) = moved {
        if !route.can_go_back {
            collect_logs(session, route).await.map_err(Halt::Lost)?;
            return Ok(Undone::NowhereToGo);
        }
        shift_back(session, route, journal.kind, split).await?;
    }
    let brought_up = [Step::StopOccupant, Step::Start].iter().any(|step| journal.started(*step));
    if journal.kind != OperationKind::Rollback && (brought_up || shifted || moved.is_some()) {
        if !holds_another(session, route).await {
            stop_failed(session, route, shifted).await?;
        }
        if journal.started(Step::Attach) {
            detach(session, route.target.slot).await.map_err(Halt::Lost)?;
        }
        bring_back(session, route.target.slot).await.map_err(Halt::Lost)?;
    }
    Ok(if shifted || moved.is_some() { Undone::Traffic } else { Undone::Nothing })
}

/// The present split, if the target has traffic that it must not keep. A rollback that failed before it moved anything
/// leaves the traffic as it was.
async fn moved_split(session: &Session, route: &Route, kind: OperationKind) -> Result<Option<Split>, Halt> {
    let mut retry = Retry::new(session);
    let split = loop {
        match observe::current(&session.context).await {
            Ok(split) => break split,
            Err(error) => retry.after(session, error).await?,
        }
    };
    let slot = route.target.slot;
    let had = match kind {
        OperationKind::Rollback => route.split.map_or(0, |split| split.share(slot)),
        _ => 0,
    };
    Ok(split.filter(|split| split.share(slot) > had))
}

async fn shift_back(session: &mut Session, route: &Route, kind: OperationKind, split: Split) -> Result<(), Halt> {
    let context = session.context.clone();
    let old = route.target.slot.other();
    let to = match (kind, route.split) {
        (OperationKind::Rollback, Some(before)) => before,
        _ => Split::all(old),
    };
    let mut retry = Retry::new(session);
    loop {
        let result = match observe::inspect(&context, old).await {
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
async fn stop_failed(session: &mut Session, route: &Route, had_traffic: bool) -> Result<(), Halt> {
    let slot = route.target.slot;
    collect_logs(session, route).await.map_err(Halt::Lost)?;
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
                session.reporter.note(format!(
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

/// Has the router put back what it was told of the failed slot. Traffic is back, so that this must not make an undone deploy a
/// matter for a person either: it is said.
async fn detach(session: &mut Session, slot: Slot) -> Result<(), Error> {
    let context = session.context.clone();
    match session.step(Step::Detach, context.router.detach(slot)).await {
        Err(Halt::Lost(error)) => Err(error),
        Err(halt) => {
            session.reporter.note(format!("{} could not put back what it was told of {slot}: {halt}", context.router));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Whether the slot holds another release than the failed one: what was there before, or what somebody put there since the
/// process died. It is none of the undo's business.
async fn holds_another(session: &Session, route: &Route) -> bool {
    let (slot, failed) = (route.target.slot, route.target.version());
    if session.kind != OperationKind::Recover {
        return false;
    }
    // A slot that cannot be seen is stopped as ever: the tries of that say what is wrong.
    let Ok(found) = observe::inspect(&session.context, slot).await else { return false };
    let is_another = found.is_running() && found.version().is_some_and(|version| version != failed);
    if is_another {
        session.reporter.note(format!("{slot} does not hold {failed}, and is left alone: it is {found}"));
    }
    is_another
}

/// Gives the slot back what the operation took out of it. That this fails must not make an undone deploy a matter for a
/// person: it is said.
async fn bring_back(session: &mut Session, slot: Slot) -> Result<(), Error> {
    let context = session.context.clone();
    let Some(Replaced { record, running, rollback_safe, .. }) =
        session.operation().await.and_then(|mut dead| dead.replaced.take())
    else {
        return Ok(());
    };
    let (status, Some(version)) = (record.status, record.version.clone()) else { return Ok(()) };
    if running {
        let release = record
            .settings
            .iter()
            .fold(Release::from(version.clone()), |release, (key, value)| release.with_setting(key, value));
        let target = Target::new(context.service.clone(), slot, release, session.id.clone());
        match start(session, Step::StartOccupant, &session.reporter.watch(target), |_| {}).await {
            Ok(()) => session.reporter.note(format!("{slot} holds {version} again ({status}), as before")),
            Err(Halt::Lost(error)) => return Err(error),
            Err(halt) => {
                session.reporter.note(format!(
                    "{version} ({status}), which was in {slot} before, could not be started again: {halt}"
                ));
                return Ok(());
            }
        }
    }
    session
        .record(move |state| {
            let unknown = std::mem::take(&mut state.slot_mut(slot).unknown);
            *state.slot_mut(slot) = SlotRecord { unknown, ..record.clone() };
            state.rollback_safe = rollback_safe;
        })
        .await;
    Ok(())
}

/// Of how many times as many lines those are chosen that tell something.
const LOOKED_AT: usize = 10;

/// Puts the failed slot's last lines into the report; that they cannot be read must not stop the undo.
async fn collect_logs(session: &mut Session, route: &Route) -> Result<(), Error> {
    let context = session.context.clone();
    let kept = context.settings.log_lines;
    let work = async {
        let lines = context.runtime.logs(route.target.slot, kept.saturating_mul(LOOKED_AT)).await?;
        Ok(telling_lines(lines, kept))
    };
    match session.step(Step::CollectLogs, work).await {
        Ok(lines) => session.reporter.logs(lines),
        Err(Halt::Lost(error)) => return Err(error),
        Err(_) => {}
    }
    Ok(())
}

/// What a person can do, wherever the traffic turns out to be: nobody could see or change that.
fn advice(session: &Session, route: &Route, kind: OperationKind) -> String {
    let (new, router) = (route.target.slot, &session.context.router);
    let look = format!("`status` shows where {router} sends traffic");
    match (kind, &route.old) {
        (OperationKind::Rollback, _) => format!(
            "{look}: if not all of it goes to {new}, `rollback` tries again; if it does, `restore` sees whether {new} answers"
        ),
        (_, Some(Target { slot: old, .. })) => format!(
            "{look}: if any goes to {new}, `rollback` gives it to {old}, and starts {old} where it is down, or, if {new} is \
             well and has a part of it, `promote` gives {new} the rest; if none does, `retire_now` stops what is left in {new}"
        ),
        (_, None) => format!(
            "{look}: if it goes to {new}, `promote` sees whether {new} answers; if not, `retire_now` stops what is left in {new}"
        ),
    }
}
