//! One operation from its lease to its report: journals each step before and after, and stops when it must.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::builder::Parts;
use super::course::Course;
use super::defaults::OBSERVE_LIMIT;
use super::ledger::{Heartbeat, IfHeld, Ledger};
use super::narrator::{Narrator, millis};
use super::observe::Observed;
use super::report::{Outcome, Report};
use super::strategy::Retention;
use crate::error::{Error, ErrorKind, Result};
use crate::event::What;
use crate::state::{JournalEntry, Operation, OperationKind, Past, Progressed, State, Step};
use crate::types::{OperationId, Slot, Split, Timestamp, Version};

/// The version of the step sequence that this code writes into journals.
const PLAN_VERSION: u32 = 1;

/// Why an operation's body stopped.
#[derive(Debug)]
pub(super) enum Halt {
    /// It was refused before anything was done.
    Refused(Error),
    /// A step failed: undo.
    Failed(Error),
    /// The gates could not decide: leave everything as it is.
    Held(String),
    /// It failed where nothing is to be undone: leave everything as it is.
    Stands(Error),
    /// The lease or the journal is gone: not one more side effect, not even an undo.
    Lost(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) struct Session {
    pub(super) parts: Arc<Parts>,
    pub(super) narrator: Arc<Narrator>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) id: OperationId,
    pub(super) kind: OperationKind,
    pub(super) course: Option<Course>,
    cancellable: bool,
    heartbeat: Option<Heartbeat>,
    started: Timestamp,
    began: Instant,
}

impl Session {
    /// Claims the lease and notes the operation in the same write.
    pub(super) async fn begin(parts: Arc<Parts>, kind: OperationKind) -> Result<Self> {
        let (id, started, began) = (new_id(&parts, kind)?, parts.clock.now(), Instant::now());
        let operation = Operation {
            id: id.clone(),
            kind,
            by: parts.holder.clone(),
            started,
            version: None,
            target: Slot::Blue,
            from: None,
            plan_version: PLAN_VERSION,
            journal: Vec::new(),
            soak_until: None,
            unknown: serde_json::Map::new(),
        };
        let if_held = if kind == OperationKind::Recover { IfHeld::TakeOver } else { IfHeld::Refuse };
        let (ledger, heartbeat) = Ledger::claim(&parts, if_held, |state| {
            // A recovery goes on with the journal of the operation that it takes over.
            state.operation.get_or_insert_with(|| operation.clone());
        })
        .await?;
        let narrator = Narrator::new(parts.clone(), id.clone(), kind);
        Ok(Self {
            parts,
            narrator,
            ledger,
            id,
            kind,
            course: None,
            cancellable: true,
            heartbeat: Some(heartbeat),
            started,
            began,
        })
    }

    /// From here on a cancellation is not listened to any more: an undo is always finished.
    pub(super) fn no_more_cancelling(&mut self) {
        self.cancellable = false;
    }

    /// Says what the operation sets out to do: in the journal, to the observers, and to a later undo.
    pub(super) async fn set_course(&mut self, course: Course) {
        let (slot, version) = (course.target.slot, course.target.version().clone());
        let from = course.old.as_ref().map(|old| old.slot);
        // Before the first side effect there is a write.
        self.record(move |state| {
            if let Some(operation) = &mut state.operation {
                operation.target = slot;
                operation.from = from;
                operation.version = Some(version.clone());
            }
        })
        .await;
        self.narrator.about(Some(course.target.version()), slot);
        self.narrator.say(What::Begun);
        self.course = Some(course);
    }

    /// Looks at the router and both slots, says where the record differs, and brings the record into agreement.
    pub(super) async fn observe(&mut self) -> Result<Observed, Halt> {
        let (parts, state) = (self.parts.clone(), self.ledger.state().await);
        let seen = self.step(Step::Observe, OBSERVE_LIMIT * 2, Observed::now(&parts, &state)).await?;
        self.agree(&seen).await;
        Ok(seen)
    }

    /// The same, where it must be possible that the machine of one slot is gone.
    pub(super) async fn observe_within_reach(&mut self) -> Result<Observed, Halt> {
        let (parts, state) = (self.parts.clone(), self.ledger.state().await);
        let seen = self.step(Step::Observe, OBSERVE_LIMIT * 2, Observed::within_reach(&parts, &state)).await?;
        self.agree(&seen).await;
        Ok(seen)
    }

    async fn agree(&self, seen: &Observed) {
        let agreed = seen.clone();
        self.record(move |state| agreed.reconcile(state)).await;
        for drift in &seen.drift {
            self.narrator.note(drift.to_string());
        }
    }

    /// Runs one step whose end changes nothing in the record but the journal.
    pub(super) async fn step<T: Send + Sync>(
        &mut self,
        step: Step,
        limit: Duration,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T, Halt> {
        self.begun_step(step, limit, |_| {}, work).await
    }

    /// As [`step`](Self::step); `before` changes the record as it starts. That it is done is written with what comes next.
    pub(super) async fn begun_step<T: Send + Sync>(
        &mut self,
        step: Step,
        limit: Duration,
        before: impl Fn(&mut State) + Send + Sync,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T, Halt> {
        let (value, took) = self.work(step, limit, before, work).await?;
        let (progress, at) = (Progressed::Done, self.parts.clock.now());
        self.record(move |state| note(state, step, progress, at)).await;
        self.narrator.step_ended(took, None);
        Ok(value)
    }

    /// Runs one step: writes that it starts (with `before`), does `work`, and writes that it is done (with `after`).
    pub(super) async fn recorded_step<T: Send + Sync>(
        &mut self,
        step: Step,
        limit: Duration,
        before: impl Fn(&mut State) + Send + Sync,
        work: impl Future<Output = Result<T>> + Send,
        after: impl Fn(&mut State, &T) + Send + Sync,
    ) -> Result<T, Halt> {
        let (value, took) = self.work(step, limit, before, work).await?;
        self.write(step, Progressed::Done, |state| after(state, &value)).await?;
        self.narrator.step_ended(took, None);
        Ok(value)
    }

    /// Writes that a step starts, and does its work; if that fails, writes so. A step that only looks may look while that is
    /// written.
    ///
    /// The work is cut off when its time is over, when the lease is lost, and when the operation is cancelled.
    async fn work<T: Send + Sync>(
        &mut self,
        step: Step,
        limit: Duration,
        before: impl Fn(&mut State) + Send + Sync,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<(T, Duration), Halt> {
        let cancelled = || {
            Halt::Failed(
                Error::new(ErrorKind::Cancelled, "cancelled on request").trying(step.to_string()).not_applied(),
            )
        };
        if self.cancellable && self.parts.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let began = Instant::now();
        let (version, slot) = self.narrator.subject();
        let span = tracing::info_span!(
            "step",
            service = %self.parts.service,
            operation = %self.id,
            slot = slot.map(Slot::as_str),
            version = version.as_ref().map(Version::as_str),
            step = %step,
        );
        let start = async {
            self.write(step, Progressed::Started, &before).await?;
            self.narrator.step_started(step, limit);
            Ok::<_, Halt>(())
        };
        let work = async { Ok(tokio::time::timeout(limit, work.instrument(span)).await) };
        let both = async {
            match step.only_looks() {
                true => tokio::try_join!(start, work).map(|((), result)| result),
                false => {
                    start.await?;
                    work.await
                }
            }
        };
        let result = tokio::select! {
            biased;
            () = self.ledger.lost() => {
                let gone = self.ledger.gone("no heartbeat could be written in time, or another took over");
                self.narrator.step_ended(began.elapsed(), Some(gone.chain()));
                return Err(Halt::Lost(gone));
            }
            () = self.parts.cancel.cancelled(), if self.cancellable => {
                Err(Error::new(ErrorKind::Cancelled, "cancelled on request"))
            }
            result = both => result?.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, format!("did not end within {limit:?}")))
            }),
        };
        match result {
            Ok(value) => Ok((value, began.elapsed())),
            Err(error) => {
                let error = error.with("service", &self.parts.service);
                let error = match slot {
                    Some(slot) => error.with("slot", slot),
                    None => error,
                };
                self.narrator.step_ended(began.elapsed(), Some(error.chain()));
                let error = error.trying(step.to_string());
                self.write(step, Progressed::Failed, |_| {}).await?;
                Err(Halt::Failed(error))
            }
        }
    }

    async fn write(
        &self,
        step: Step,
        progress: Progressed,
        change: impl Fn(&mut State) + Send + Sync,
    ) -> Result<(), Halt> {
        let at = self.parts.clock.now();
        self.ledger
            .update(|state| {
                note(state, step, progress, at);
                change(state);
            })
            .await
            .map_err(Halt::Lost)
    }

    /// Whether a recovery that failed may undo what it took over: a release on its way, whose course is known.
    pub(super) async fn can_undo(&self) -> bool {
        use OperationKind::{Deploy, Promote, Stage};
        let taken_over = self.operation().await.map(|operation| operation.kind);
        self.course.is_some() && matches!(taken_over, Some(Deploy | Stage | Promote))
    }

    /// Whether the journal holds nothing that an undo does not bring back: data that was migrated, a warm release that
    /// was stopped, a failed one that could not be stopped.
    pub(super) async fn left_no_trace(&self) -> bool {
        use Step::{ExpandAfterStart, ExpandBeforeStart, Migrate, Retire, StopOccupant};
        let lasting = [ExpandAfterStart, ExpandBeforeStart, Migrate, Retire, StopOccupant];
        let state = self.ledger.state().await;
        let begun = |operation: &Operation| {
            let left_running = operation.started(Step::StopFailed) && !operation.done(Step::StopFailed);
            left_running || lasting.iter().any(|step| operation.started(*step))
        };
        !state.contract_begun() && !state.operation.as_ref().is_some_and(begun)
    }

    /// Whether the migrator refused the contract phase before it began: the way back is still there.
    pub(super) async fn contract_refused(&self) -> bool {
        let state = self.ledger.state().await;
        state.rollback_safe && state.operation.is_some_and(|operation| operation.started(Step::Contract))
    }

    /// Before a hold: if the new release has all traffic, the old one is retained as after a success. Returns what a person
    /// can do then.
    pub(super) async fn keep_way_back(&self) -> Result<&'static str> {
        let state = self.ledger.state().await;
        let Some(slot) = state.split.and_then(|split| split.sole()) else {
            return Ok("`promote` goes on, `rollback` goes back");
        };
        if self.course.as_ref().is_some_and(|course| course.target.slot == slot) {
            let until = match self.parts.retention {
                Retention::For(keep) => Some(self.parts.clock.now().plus(keep)),
                Retention::UntilNextDeploy | Retention::Retire => None,
            };
            self.ledger.update(|state| state.slot_mut(slot.other()).retain_until = until).await?;
        }
        Ok(if state.slot(slot).confirmed.is_none() {
            "it has all traffic, and was not confirmed at the public address: `promote` does that, `rollback` goes back"
        } else if self.contract_refused().await {
            "it has all traffic and is confirmed: `migrate` runs the contract phase again, `rollback` still goes back"
        } else {
            "it has all traffic: `rollback` goes back, to keep it nothing is to be done"
        })
    }

    /// Changes the record outside of a step, with the next write.
    pub(super) async fn record(&self, change: impl Fn(&mut State) + Send + Sync + 'static) {
        self.ledger.defer(Box::new(change)).await;
    }

    /// The operation with its journal, as last written.
    pub(super) async fn operation(&self) -> Option<Operation> {
        self.ledger.state().await.operation
    }

    /// Ends the operation: record, history and lease in one write, after a last look at what there is; then the report.
    pub(super) async fn finish(mut self, outcome: Outcome, error: Option<Error>) -> Result<Report> {
        self.no_more_cancelling();
        let seen = self.look_again().await;
        let split = seen.as_ref().and_then(|seen| seen.split);
        let duration = self.began.elapsed();
        let (version, slot) = self.narrator.subject();
        let past = Past {
            id: self.id.clone(),
            kind: self.kind,
            by: self.parts.holder.clone(),
            version: version.clone(),
            slot,
            started: self.started,
            millis: millis(duration),
            outcome: outcome.clone(),
        };
        let written = self
            .ledger
            .update(|state| {
                if let Some(seen) = &seen {
                    seen.reconcile(state);
                }
                // The operation that a recovery took over ends with it. One that found nothing to take over is called
                // before every deploy by careful tools, and would crowd the history.
                let dead = state.operation.take().filter(|dead| dead.id != past.id);
                let is_news = dead.is_some() || past.kind != OperationKind::Recover;
                if let Some(dead) = dead {
                    state.remember(ended(dead, &past));
                }
                if is_news {
                    state.remember(past.clone());
                }
                state.lease = None;
            })
            .await;
        drop(self.heartbeat.take());
        if let Err(error) = &written {
            self.narrator.note(format!("the end of the operation could not be recorded: {}", error.chain()));
        }
        self.narrator.say(What::Finished { result: outcome.clone(), millis: millis(duration) });
        let report = self.report(outcome, duration, split);
        match (error, written) {
            (Some(error), _) | (None, Err(error)) => Err(error.with_report(report)),
            (None, Ok(())) => Ok(report),
        }
    }

    /// Gives the lease back, and leaves no trace in the history: for an operation that was refused, and for a recovery
    /// that could not do its work. What it found unfinished stays unfinished.
    pub(super) async fn give_back(mut self, error: Error) -> Error {
        let released = self
            .ledger
            .update(|state| {
                state.operation = state.operation.take().filter(|operation| operation.id != self.id);
                state.lease = None;
            })
            .await;
        drop(self.heartbeat.take());
        match released {
            Ok(()) => error,
            Err(lost) => lost,
        }
    }

    /// Ends an operation that lost its lease or its journal: writes nothing, does nothing.
    pub(super) async fn abandon(mut self, error: Error) -> Error {
        drop(self.heartbeat.take());
        let outcome = Outcome::Stuck {
            cause: error.chain(),
            undo: "not tried, because the lease or the journal is gone".to_owned(),
            advice: "run `recover` when the state store answers again".to_owned(),
        };
        let duration = self.began.elapsed();
        self.narrator.say(What::Finished { result: outcome.clone(), millis: millis(duration) });
        let report = self.report(outcome, duration, None);
        error.with_report(report)
    }

    fn report(&self, outcome: Outcome, duration: Duration, split: Option<Split>) -> Report {
        let (version, slot) = self.narrator.subject();
        let (steps, notes, logs) = self.narrator.told();
        Report {
            operation: self.id.clone(),
            kind: self.kind,
            service: self.parts.service.clone(),
            version,
            slot,
            outcome,
            started: self.started,
            duration,
            steps,
            split,
            notes,
            logs,
        }
    }

    /// What there is at the end; a router or runtime that does not answer now must not spoil the report.
    async fn look_again(&self) -> Option<Observed> {
        let state = self.ledger.state().await;
        match Observed::within_reach(&self.parts, &state).await {
            Ok(seen) => Some(seen),
            Err(error) => {
                self.narrator.note(format!("what there is at the end could not be seen: {}", error.chain()));
                None
            }
        }
    }
}

/// The line in the history for an operation whose process died.
fn ended(dead: Operation, recovery: &Past) -> Past {
    Past {
        slot: dead.version.as_ref().map(|_| dead.target),
        millis: millis(recovery.started.since(dead.started)),
        id: dead.id,
        kind: dead.kind,
        by: dead.by,
        version: dead.version,
        started: dead.started,
        outcome: recovery.outcome.clone(),
    }
}

fn new_id(parts: &Parts, kind: OperationKind) -> Result<OperationId> {
    let moment: String = parts.clock.now().to_string().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    OperationId::new(format!("{kind}-{moment}-{:04x}", fastrand::u16(..)))
}

/// Adds an entry to the journal of the running operation.
fn note(state: &mut State, step: Step, progress: Progressed, at: Timestamp) {
    if let Some(operation) = &mut state.operation {
        operation.journal.push(JournalEntry { step, progress, at });
    }
}
