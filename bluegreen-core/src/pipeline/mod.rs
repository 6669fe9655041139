//! The pipeline: the verbs of a blue-green deploy, crash-safe, over any adapters.
//!
//! ```
//! use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
//! use bluegreen_core::{Pipeline, Release, Slot};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
//! let pipeline = Pipeline::builder("shop")
//!     .runtime(runtime.clone())
//!     .router(router.clone())
//!     .store(MemoryStateStore::new())
//!     .health(MemoryHealth::new())
//!     .verify(MemoryPublic::new(&router, &runtime))
//!     .build()?;
//!
//! println!("{}", pipeline.plan(&Release::new("1.0.0")?).await?);
//! pipeline.deploy(Release::new("1.0.0")?).await?;
//! let report = pipeline.deploy(Release::new("1.1.0")?).await?;
//! println!("{report}");
//! assert_eq!(router.split().and_then(|split| split.sole()), Some(Slot::Green));
//!
//! pipeline.rollback().await?;
//! assert_eq!(router.split().and_then(|split| split.sole()), Some(Slot::Blue));
//! # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
//! ```

mod builder;
mod course;
pub mod defaults;
mod deploy;
mod drain;
mod health;
mod ledger;
mod migrate;
mod narrator;
mod observe;
mod plan;
mod promote;
mod recover;
mod report;
mod restore;
mod retire;
mod retry;
mod rollback;
mod session;
mod soak;
mod status;
mod strategy;
mod unwind;
mod verify;

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::migrator::Phase;
use crate::state::{OperationKind, Past, State};
use crate::types::{Release, ServiceName, Slot};

use builder::Parts;
use session::{Halt, Session};

pub use builder::Builder;
pub use observe::{Drift, Observed};
pub use plan::{Plan, PlannedStep};
pub(crate) use report::short;
pub use report::{Outcome, Report, StepReport};
pub use status::Status;
pub use strategy::{Contract, Retention, Strategy, TrafficStep, Undecided};

/// Deploys the releases of one service. Cheap to clone; clones share their parts.
///
/// # Guarantees
///
/// 1. The router sends traffic only to a slot that runs and was healthy when the shift began.
/// 2. A slot that the router routes to is never stopped.
/// 3. After [`recover`](Self::recover) from a death at any point, the router, the runtime and the record agree, the
///    lease is free, and the live slot answers.
/// 4. Two processes never both act under one service's lease.
/// 5. Success is reported only after the public address answered with the new version, several times in a row.
/// 6. A version that runs, or is present with other content, is never overwritten.
///
/// # Errors
///
/// `Ok` means that what was asked for is done. Everything else is an error: one that carries a
/// [`report`](Error::report) says how far it came and how it was undone ([`Outcome`]); one without was refused before
/// anything was done. The kind is that of the cause.
///
/// A future that is dropped half way is like a process that was killed: `recover` afterwards. To stop gracefully, use
/// [`Builder::cancel_on`].
#[derive(Clone)]
pub struct Pipeline {
    parts: Arc<Parts>,
}

impl Pipeline {
    /// Begins a pipeline for this service.
    pub fn builder(service: impl Into<String>) -> Builder {
        Builder::new(service.into())
    }

    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.parts.service
    }

    /// What a deploy of this release would do, compared with what there is. Touches nothing, and needs no lease.
    pub async fn plan(&self, release: &Release) -> Result<Plan> {
        let state = self.load().await?;
        plan::plan(&self.parts, &state, release).await.map_err(|error| self.tried("plan", error))
    }

    /// Brings a release up in the idle slot, tested, without traffic: what is in that slot is stopped first.
    ///
    /// # Errors
    /// As [`deploy`](Self::deploy).
    pub async fn stage(&self, release: Release) -> Result<Report> {
        let mut session = self.begin(OperationKind::Stage).await?;
        let result = async {
            let course = deploy::set_out(&mut session, &release).await?;
            deploy::stage(&mut session, &course).await
        };
        let result = result.await;
        conclude(session, result).await
    }

    /// Moves traffic to the staged release, as the strategy says; goes on with a promotion that was held. One that was held
    /// with all traffic already moved is confirmed at the public address, and made final: drain, bake, retain.
    ///
    /// # Errors
    /// `NotFound` when nothing is staged; `Conflict` when the idle slot holds a retained release.
    pub async fn promote(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Promote).await?;
        let result = promote::promote_staged(&mut session).await;
        conclude(session, result).await
    }

    /// Stages a release and promotes it.
    ///
    /// # Errors
    /// Refused with `Conflict`, and nothing changed: the version is live, staged or retained already; traffic is
    /// divided; another holds the lease; an operation's process died and was not recovered.
    pub async fn deploy(&self, release: Release) -> Result<Report> {
        let mut session = self.begin(OperationKind::Deploy).await?;
        let result = deploy::deploy(&mut session, &release).await;
        conclude(session, result).await
    }

    /// Moves all traffic back to the retained release, after checking that it is alive and well; or, while traffic is
    /// divided, back to the live one. The slot that is left is kept as the retention says, so that a rollback can be
    /// rolled back. The machine of the slot that is left need not be in reach.
    ///
    /// # Errors
    /// `NotFound` when there is nothing to go back to; `Conflict` when the contract phase has run, or the idle release
    /// was never live; `Unreachable` when the machine to go back to is out of reach.
    pub async fn rollback(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Rollback).await?;
        let result = rollback::rollback(&mut session).await;
        conclude(session, result).await
    }

    /// Brings the release that was live last up again, after a restart of its machine or when the router has lost its traffic:
    /// starts it if it does not run, waits until it is healthy, gives it all traffic if nothing is routed, and sees it answer
    /// at the public address. What runs with its traffic is only seen to answer.
    ///
    /// # Errors
    /// `NotFound` when no release is known to have been live; `Conflict` while traffic is divided. A failure leaves what
    /// was done, with [`Outcome::Kept`] in its report: the service was down before, and there is nothing to go back to.
    pub async fn restore(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Restore).await?;
        let result = restore::restore(&mut session).await;
        conclude(session, result).await
    }

    /// Stops the retained slot if its time is over. Not being due is `Ok`, and noted in the report.
    pub async fn retire(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Retire).await?;
        let result = retire::retire(&mut session, false).await;
        conclude(session, result).await
    }

    /// Stops what waits in the idle slot, retained or staged, at once.
    pub async fn retire_now(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Retire).await?;
        let result = retire::retire(&mut session, true).await;
        conclude(session, result).await
    }

    /// Runs one phase of migrations on its own: expand for the staged release if there is one, or else the live one;
    /// contract for the live one. From the moment a contract begins, `rollback` refuses, unless the migrator says that it
    /// has applied nothing.
    pub async fn migrate(&self, phase: Phase) -> Result<Report> {
        let mut session = self.begin(OperationKind::Migrate).await?;
        let result = migrate::migrate(&mut session, phase, None).await;
        conclude(session, result).await
    }

    /// Runs the expand phase for the release in one slot, whichever that is.
    ///
    /// # Errors
    /// `NotFound` when no release is known to be in that slot.
    pub async fn migrate_slot(&self, slot: Slot) -> Result<Report> {
        let mut session = self.begin(OperationKind::Migrate).await?;
        let result = migrate::migrate(&mut session, Phase::Expand, Some(slot)).await;
        conclude(session, result).await
    }

    /// Takes over an operation whose process died, and brings it to an end: forward when the new version was confirmed
    /// or there is no way back, otherwise back. Waits one lease ttl to be sure that the process is dead. With nothing
    /// unfinished, it brings the record into agreement with what there is. The report says what was found and done.
    ///
    /// What it leaves with all traffic, and what an operation that ended as [`Outcome::Stuck`] left, must have been confirmed
    /// at the public address, or is asked to answer there now. Going back needs no answer: the outcome `RolledBack` says
    /// where the router sends the traffic, to a release that was live before.
    ///
    /// # Errors
    /// `Conflict` when the holder of the lease is alive. Of the kind of the cause, with [`Outcome::Held`] in its report,
    /// when all is done but the public address does not answer as the release that has all traffic: nothing is unfinished
    /// then, and the next operation can begin.
    pub async fn recover(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Recover).await?;
        let result = recover::recover(&mut session).await;
        conclude(session, result).await
    }

    /// What there is, what is recorded, and what is going on. Touches nothing, and needs no lease.
    pub async fn status(&self) -> Result<Status> {
        let state = self.load().await?;
        let observed =
            Observed::within_reach(&self.parts, &state).await.map_err(|error| self.tried("status", error))?;
        Ok(Status { observed, state })
    }

    /// The last operations, oldest first.
    pub async fn history(&self) -> Result<Vec<Past>> {
        Ok(self.load().await?.history)
    }

    /// Takes the lease away from whoever holds it, without asking, and returns who that was. A holder that is alive
    /// stops before its next step; what it left unfinished waits for [`recover`](Self::recover).
    pub async fn unlock(&self) -> Result<Option<String>> {
        loop {
            let Parts { store, service, settings, .. } = &*self.parts;
            let loaded = ledger::in_time(settings.lease_ttl, store.load(service)).await;
            let Some(mut found) = loaded.map_err(|error| self.tried("unlock", error))? else { return Ok(None) };
            let Some(lease) = found.value.lease.take() else { return Ok(None) };
            let commit = store.commit(service, Some(&found.revision), &found.value);
            match ledger::in_time(settings.lease_ttl, commit).await {
                Ok(_) => return Ok(Some(lease.holder)),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(self.tried("unlock", error)),
            }
        }
    }

    async fn begin(&self, kind: OperationKind) -> Result<Session> {
        Session::begin(self.parts.clone(), kind).await.map_err(|error| self.tried(&kind.to_string(), error))
    }

    async fn load(&self) -> Result<State> {
        let limit = self.parts.settings.lease_ttl;
        let loaded = ledger::in_time(limit, self.parts.store.load(&self.parts.service)).await;
        let loaded = loaded.map_err(|error| self.tried("read the state", error))?;
        Ok(loaded.map_or_else(|| State::new(self.parts.service.clone()), |found| found.value))
    }

    fn tried(&self, what: &str, error: Error) -> Error {
        error.trying(format!("{what} {}", self.parts.service))
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("service", &self.parts.service).finish_non_exhaustive()
    }
}

/// Ends an operation by how its body ended.
async fn conclude(mut session: Session, result: Result<(), Halt>) -> Result<Report> {
    let tried = format!("{} {}", session.kind, session.parts.service);
    match result {
        Ok(()) => session.finish(Outcome::Succeeded, None).await,
        Err(Halt::Refused(error)) => Err(session.give_back(error.not_applied()).await.trying(tried)),
        Err(Halt::Lost(error)) => Err(session.abandon(error).await.trying(tried)),
        Err(Halt::Held(reason)) => hold(session, ErrorKind::Timeout, reason).await,
        Err(Halt::Stands(cause)) => hold(session, cause.kind(), cause.chain()).await,
        Err(Halt::Failed(cause)) if session.kind == OperationKind::Restore => {
            let outcome = Outcome::Kept { cause: cause.chain() };
            let error = Error::new(cause.kind(), outcome.to_string()).trying(tried).retryable(cause.is_retryable());
            session.finish(outcome, Some(error.maybe_applied())).await
        }
        // The dead operation stays on record: nothing was undone, and the next recovery tries again.
        Err(Halt::Failed(cause)) if session.kind == OperationKind::Recover && !session.can_undo().await => {
            Err(session.give_back(cause).await.trying(tried))
        }
        Err(Halt::Failed(cause)) => match unwind::unwind(&mut session, &cause).await {
            Err(lost) => Err(session.abandon(lost).await.trying(tried)),
            Ok(outcome) if is_recovered(session.kind, &outcome) => session.finish(outcome, None).await,
            Ok(outcome) => {
                let error = Error::new(cause.kind(), outcome.to_string()).trying(tried).retryable(cause.is_retryable());
                let undone = matches!(outcome, Outcome::Aborted { .. } | Outcome::RolledBack { .. });
                let error =
                    if undone && session.left_no_trace().await { error.not_applied() } else { error.maybe_applied() };
                session.finish(outcome, Some(error)).await
            }
        },
    }
}

/// Ends an operation and leaves everything as it is, for a person to decide.
async fn hold(session: Session, kind: ErrorKind, reason: String) -> Result<Report> {
    let tried = format!("{} {}", session.kind, session.parts.service);
    let outcome = Outcome::Held { reason };
    let error = Error::new(kind, outcome.to_string()).trying(tried).retryable(false).maybe_applied();
    match session.keep_way_back().await {
        Err(lost) => Err(session.abandon(lost).await),
        Ok(advice) => session.finish(outcome, Some(error.advice(advice))).await,
    }
}

/// A recovery that brought everything back has done what it was asked for.
fn is_recovered(kind: OperationKind, outcome: &Outcome) -> bool {
    kind == OperationKind::Recover && matches!(outcome, Outcome::Aborted { .. } | Outcome::RolledBack { .. })
}
