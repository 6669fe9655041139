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

mod background;
mod builder;
mod cancel;
mod claim;
mod conclude;
mod context;
pub mod defaults;
mod deploy;
mod drain;
mod health;
mod hook_places;
mod hooks;
mod learn;
mod lease;
mod limits;
mod migrate;
mod observe;
mod plan;
mod promote;
mod recover;
mod reporter;
mod restore;
mod resume;
mod retire;
mod retry;
mod rollback;
mod route;
mod session;
mod soak;
mod status;
mod steps;
mod strategy;
mod unwind;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::fleet::Fleet;
use crate::log_stream;
use crate::migrator::Phase;
pub use crate::report::{Report, StepReport};
pub use crate::state::Outcome;
use crate::state::{Deployed, HistoryEntry, OperationKind, State};
use crate::types::{Release, ServiceName, Slot, Version};

use conclude::conclude;
use context::Context;
use session::Session;

pub use builder::PipelineBuilder;
pub use observe::{Drift, Observed};
pub use plan::{Plan, PlannedStep, Refusal};
pub use status::Status;
pub use strategy::{Contract, Retention, Strategy, TrafficStep, Undecided};

/// Deploys the releases of one service. Cheap to clone; clones share their context.
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
/// `Ok` means that what was asked for is done. Everything else is an error, of the kind of its cause. Its
/// [`report`](Error::report) says how far the operation came and how it was undone ([`Outcome`]); what was refused before
/// anything was done has the outcome [`Refused`](Outcome::Refused) and, where there is something to decide by it, a
/// [`reason`](Error::reason). An error without a report is one of the state store: the operation could not even begin.
/// [`Error::render`] prints all of it for a person.
///
/// A future that is dropped half way is like a process that was killed: `recover` afterwards. To stop gracefully, use
/// [`PipelineBuilder::cancel_on`].
#[derive(Clone)]
pub struct Pipeline {
    context: Arc<Context>,
}

impl Pipeline {
    /// The service.
    pub fn service(&self) -> &ServiceName {
        &self.context.service
    }

    /// This pipeline, with a token that cancels the operations begun on what is returned. The builder's
    /// [`cancel_on`](PipelineBuilder::cancel_on) goes on cancelling all of them.
    ///
    /// ```
    /// # use bluegreen_core::{Pipeline, Release, Result};
    /// # async fn example(pipeline: Pipeline, release: Release) -> Result<()> {
    /// let token = tokio_util::sync::CancellationToken::new();
    /// let deploy = pipeline.cancel_on(token.clone());
    /// // Elsewhere, for example when a person presses "cancel": token.cancel();
    /// deploy.deploy(release).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn cancel_on(&self, token: CancellationToken) -> Self {
        let mut context = (*self.context).clone();
        context.cancel.add(token);
        Self { context: Arc::new(context) }
    }

    /// What a deploy of this release would do, compared with what there is. Touches nothing, and needs no lease.
    pub async fn plan(&self, release: &Release) -> Result<Plan> {
        let state = self.load().await?;
        plan::plan(&self.context, &state, release).await.map_err(|error| self.tried("plan", error))
    }

    /// Brings a release up in the idle slot, tested, without traffic: what is in that slot is stopped first.
    ///
    /// # Errors
    /// As [`deploy`](Self::deploy).
    pub async fn stage(&self, release: Release) -> Result<Report> {
        let mut session = self.begin(OperationKind::Stage, Some(release.version())).await?;
        let result = async {
            let route = deploy::plan_route(&mut session, &release).await?;
            deploy::stage(&mut session, &route).await
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
        let mut session = self.begin(OperationKind::Promote, None).await?;
        let result = promote::promote_staged(&mut session).await;
        conclude(session, result).await
    }

    /// Stages a release and promotes it.
    ///
    /// # Errors
    /// Refused with `Conflict`, and nothing changed: the version is live, staged or retained already; traffic is
    /// divided; another holds the lease; an operation's process died and was not recovered.
    pub async fn deploy(&self, release: Release) -> Result<Report> {
        let mut session = self.begin(OperationKind::Deploy, Some(release.version())).await?;
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
        let mut session = self.begin(OperationKind::Rollback, None).await?;
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
        let mut session = self.begin(OperationKind::Restore, None).await?;
        let result = restore::restore(&mut session).await;
        conclude(session, result).await
    }

    /// Brings the members of a fleet that were left behind to the release that is live on the others; `release` is that one, with
    /// its artifact. The others are not touched.
    ///
    /// # Errors
    /// `Conflict` when another version is live, or traffic is divided; `Config` without a fleet. Where members are still behind
    /// at the end, of the kind of the cause, with [`Outcome::Kept`] in its report, which names each with the reason.
    pub async fn resume(&self, release: Release) -> Result<Report> {
        let mut session = self.begin(OperationKind::Resume, Some(release.version())).await?;
        let result = resume::resume(&mut session, &release).await;
        conclude(session, result).await
    }

    /// Stops the retained slot if its time is over. Not being due is `Ok`, and noted in the report.
    pub async fn retire(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Retire, None).await?;
        let result = retire::retire(&mut session, false).await;
        conclude(session, result).await
    }

    /// Stops what waits in the idle slot, retained or staged, at once.
    pub async fn retire_now(&self) -> Result<Report> {
        let mut session = self.begin(OperationKind::Retire, None).await?;
        let result = retire::retire(&mut session, true).await;
        conclude(session, result).await
    }

    /// Runs one phase of migrations on its own: expand for the staged release if there is one, or else the live one;
    /// contract for the live one. From the moment a contract begins, `rollback` refuses, unless the migrator says that it
    /// has applied nothing.
    pub async fn migrate(&self, phase: Phase) -> Result<Report> {
        let mut session = self.begin(OperationKind::Migrate, None).await?;
        let result = migrate::migrate(&mut session, phase, None).await;
        conclude(session, result).await
    }

    /// Runs the expand phase for the release in one slot, whichever that is.
    ///
    /// # Errors
    /// `NotFound` when no release is known to be in that slot.
    pub async fn migrate_slot(&self, slot: Slot) -> Result<Report> {
        let mut session = self.begin(OperationKind::Migrate, None).await?;
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
        let mut session = self.begin(OperationKind::Recover, None).await?;
        let result = recover::recover(&mut session).await;
        conclude(session, result).await
    }

    /// What there is, what is recorded, and what is going on. Touches nothing, and needs no lease.
    pub async fn status(&self) -> Result<Status> {
        let state = self.load().await?;
        let observed =
            Observed::recorded_and_now(&self.context, &state).await.map_err(|error| self.tried("status", error))?;
        let idle = observed.live.map_or(Slot::Blue, Slot::other);
        let (router, runtime) = tokio::join!(
            observe::in_time(self.context.router.preview(idle)),
            observe::in_time(self.context.runtime.preview_slot(idle))
        );
        let notes = [router, runtime].into_iter().flat_map(|preview| match preview {
            Ok(preview) => preview.notes,
            // That a slot is out of reach is told by what was observed.
            Err(error) if observe::is_away(&error) && observed.out_of_reach(idle).is_some() => Vec::new(),
            Err(error) => vec![format!("the next deploy is refused: {}", error.summary())],
        });
        let members = self.context.fleet.as_ref().map(Fleet::records).unwrap_or_default();
        Ok(Status { notes: notes.collect(), observed, members, state })
    }

    /// The last operations, oldest first.
    pub async fn history(&self) -> Result<Vec<HistoryEntry>> {
        Ok(self.load().await?.history)
    }

    /// The deploy that succeeded last, however many operations there were since; none when none ever did, as far as is known.
    pub async fn last_deploy(&self) -> Result<Option<Deployed>> {
        Ok(Deployed::last(&self.load().await?))
    }

    /// How long ago the last deploy succeeded; none when none ever did. A stage, a rollback and a deploy that was undone are none.
    ///
    /// ```
    /// # use bluegreen_core::{Pipeline, Result};
    /// # use std::time::Duration;
    /// # async fn example(pipeline: Pipeline) -> Result<()> {
    /// const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// if pipeline.since_last_deploy().await?.is_none_or(|age| age > WEEK) {
    ///     eprintln!("{} was not deployed for a week: changes pile up", pipeline.service());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn since_last_deploy(&self) -> Result<Option<Duration>> {
        let last = self.last_deploy().await?;
        Ok(last.map(|last| last.age(self.context.clock.now())))
    }

    /// The last `tail` lines that the release in a slot wrote, oldest first, also after it has ended. Needs no lease.
    pub async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.context.runtime.logs(slot, tail).await.map_err(|error| self.tried("read the logs of", error))
    }

    /// The last `tail` lines that the release in a slot wrote, and then each further line, until the stream is dropped. An
    /// error is of one read; the stream goes on after it. The log is read every [`FOLLOW_INTERVAL`](crate::FOLLOW_INTERVAL).
    pub fn follow_logs(&self, slot: Slot, tail: usize) -> impl Stream<Item = Result<String>> + Send + use<> {
        log_stream::follow(self.context.runtime.clone(), slot, tail)
    }

    /// Takes the lease away from whoever holds it, without asking, and returns who that was. A holder that is alive
    /// stops before its next step; what it left unfinished waits for [`recover`](Self::recover).
    pub async fn unlock(&self) -> Result<Option<String>> {
        loop {
            let Context { store, service, settings, .. } = &*self.context;
            let loaded = lease::in_time(settings.lease_ttl, store.load(service)).await;
            let Some(mut found) = loaded.map_err(|error| self.tried("unlock", error))? else { return Ok(None) };
            let Some(lease) = found.value.lease.take() else { return Ok(None) };
            let commit = store.commit(service, Some(&found.revision), &found.value);
            match lease::in_time(settings.lease_ttl, commit).await {
                Ok(_) => return Ok(Some(lease.holder)),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(self.tried("unlock", error)),
            }
        }
    }

    async fn begin(&self, kind: OperationKind, version: Option<&Version>) -> Result<Session> {
        Session::begin(self.context.clone(), kind, version).await.map_err(|error| self.tried(&kind.to_string(), error))
    }

    async fn load(&self) -> Result<State> {
        let limit = self.context.settings.lease_ttl;
        let loaded = lease::in_time(limit, self.context.store.load(&self.context.service)).await;
        let loaded = loaded.map_err(|error| self.tried("read the state", error))?;
        Ok(loaded.map_or_else(|| State::new(self.context.service.clone()), |found| found.value))
    }

    fn tried(&self, what: &str, error: Error) -> Error {
        error.with_operation(format!("{what} {}", self.context.service))
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline").field("service", &self.context.service).finish_non_exhaustive()
    }
}
