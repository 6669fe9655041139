//! Ends an operation by how its body ended: with a report, and the error that carries it.

use super::session::{Halt, Session};
use super::{hooks, unwind};
use crate::error::{Error, ErrorKind, Result};
use crate::report::Report;
use crate::state::{OperationKind, Outcome};

pub(super) async fn conclude(mut session: Session, result: Result<(), Halt>) -> Result<Report> {
    let tried = format!("{} {}", session.kind, session.context.service);
    let recovers = session.kind == OperationKind::Recover;
    match result {
        Ok(()) => session.finish(Outcome::Succeeded, None).await,
        // What a recovery found unfinished stays on record: nothing was undone, and the next recovery tries again.
        Err(Halt::Refused(error)) if recovers => {
            Err(session.give_back(error.not_applied()).await.with_operation(tried))
        }
        Err(Halt::Failed(cause)) if recovers && !session.can_undo().await => {
            Err(session.give_back(cause).await.with_operation(tried))
        }
        Err(Halt::Refused(error)) => Err(session.refuse(error.not_applied()).await.with_operation(tried)),
        Err(Halt::Lost(error)) => Err(session.abandon(error).await.with_operation(tried)),
        Err(Halt::Held(reason)) => hold(session, Error::new(ErrorKind::Timeout, reason)).await,
        Err(Halt::KeepAsIs(cause)) => hold(session, cause).await,
        Err(Halt::Spent(cause)) => {
            let contract_begun = session.lease.state().await.contract_begun();
            let outcome = match contract_begun {
                true => Outcome::Frozen { cause: cause.summary() },
                false => Outcome::Aborted { cause: cause.summary() },
            };
            let error = contract_begun.then(|| cause.ending(outcome.to_string()).with_operation(tried));
            finish(session, outcome, error).await
        }
        Err(Halt::Failed(cause)) if matches!(session.kind, OperationKind::Restore | OperationKind::Resume) => {
            let outcome = Outcome::Kept { cause: cause.summary() };
            let error = cause.ending(outcome.to_string()).with_operation(tried);
            session.finish(outcome, Some(error)).await
        }
        Err(Halt::Failed(cause)) => match unwind::unwind(&mut session, &cause).await {
            Err(lost) => Err(session.abandon(lost).await.with_operation(tried)),
            Ok(outcome) if is_recovered(session.kind, &outcome) => finish(session, outcome, None).await,
            Ok(outcome) => {
                let error = cause.ending(outcome.to_string()).with_operation(tried);
                let error = match &outcome {
                    Outcome::Stuck { advice, .. } => error.with_hint(advice.clone()),
                    _ => error,
                };
                let undone = matches!(outcome, Outcome::Aborted { .. } | Outcome::RolledBack { .. });
                let error = if undone && session.left_no_trace().await { error.not_applied() } else { error };
                finish(session, outcome, Some(error)).await
            }
        },
    }
}

/// Ends an operation and leaves everything as it is, for a person to decide.
async fn hold(session: Session, cause: Error) -> Result<Report> {
    let tried = format!("{} {}", session.kind, session.context.service);
    let outcome = Outcome::Held { reason: cause.summary() };
    let error = cause.ending(outcome.to_string()).with_operation(tried).retryable(false);
    match session.keep_rollback_target(&cause).await {
        Err(lost) => Err(session.abandon(lost).await),
        Ok(advice) => finish(session, outcome, Some(error.with_hint(advice))).await,
    }
}

/// Ends an operation that did not succeed, after its hooks.
async fn finish(mut session: Session, outcome: Outcome, error: Option<Error>) -> Result<Report> {
    match hooks::after_failure(&mut session, &outcome).await {
        Ok(()) => session.finish(outcome, error).await,
        Err(lost) => {
            let tried = format!("{} {}", session.kind, session.context.service);
            Err(session.abandon(lost).await.with_operation(tried))
        }
    }
}

/// A recovery that brought everything back has done what it was asked for.
fn is_recovered(kind: OperationKind, outcome: &Outcome) -> bool {
    kind == OperationKind::Recover && matches!(outcome, Outcome::Aborted { .. } | Outcome::RolledBack { .. })
}
