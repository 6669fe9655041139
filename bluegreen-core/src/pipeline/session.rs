//! One operation from its lease to its report: journals each step before and after, and stops when it must.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::background::Background;
use super::claim::{IfHeld, claim};
use super::context::Context;
use super::lease::{Change, Heartbeat, LeaseGuard, WriteError};
use super::limits;
use super::observe::{Looking, Observed};
use super::reporter::{Reporter, millis};
use super::route::{Route, live_on_record};
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::event::EventKind;
use crate::fleet::{Fleet, Occupied};
use crate::report::Report;
use crate::state::{Deployed, HistoryEntry, Operation, OperationKind, Outcome, SlotStatus, State, Step, StepStatus};
use crate::types::{Instance, OperationId, PerSlot, Slot, Timestamp, Version};

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
    KeepAsIs(Error),
    /// What a dead process had begun was tried again and failed: it ends as failed, and nothing is undone.
    Spent(Error),
    /// The lease or the journal is gone: not one more side effect, not even an undo.
    Lost(Error),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error)
            | Self::Failed(error)
            | Self::KeepAsIs(error)
            | Self::Spent(error)
            | Self::Lost(error) => f.write_str(&error.chain()),
            Self::Held(reason) => f.write_str(reason),
        }
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) struct Session {
    pub(super) context: Arc<Context>,
    pub(super) reporter: Arc<Reporter>,
    pub(super) lease: Arc<LeaseGuard>,
    pub(super) id: OperationId,
    pub(super) kind: OperationKind,
    pub(super) route: Option<Route>,
    pub(super) background: Background,
    may_stop: bool,
    /// That the fleet is taken by this operation, once it is.
    occupied: Option<Occupied>,
    /// What the next step may take where that is longer than such steps usually may.
    allowance: Duration,
    /// Whether the next step looks while its start is written, and waits for that itself before it acts.
    looks_first: bool,
    begun: watch::Sender<bool>,
    /// What ran in each slot when it was last seen.
    seen: PerSlot<Option<Instance>>,
    /// A step that is to be written and told of at the end, with what it found.
    last: Option<(Step, String)>,
    /// The first look, which was begun while the lease was claimed.
    looking: Option<Looking>,
    heartbeat: Option<Heartbeat>,
    started: Timestamp,
    began: Instant,
}

impl Session {
    /// Claims the lease and notes the operation in the same write.
    ///
    /// # Errors
    /// With a report that says `Refused`, when another holds the lease, or an operation's process died.
    pub(super) async fn begin(context: Arc<Context>, kind: OperationKind, version: Option<&Version>) -> Result<Self> {
        let (id, started, began) = (new_id(&context, kind)?, context.clock.now(), Instant::now());
        let operation = Operation {
            id: id.clone(),
            kind,
            by: context.holder.clone(),
            started,
            version: version.cloned(),
            target: Slot::Blue,
            from: None,
            plan_version: PLAN_VERSION,
            journal: Vec::new(),
            soak_until: None,
            replaced: None,
            unknown: serde_json::Map::new(),
        };
        let if_held = if kind == OperationKind::Recover { IfHeld::TakeOver } else { IfHeld::Refuse };
        let reporter = Reporter::new(context.clone(), id.clone(), kind);
        reporter.about(version, None);
        let begin = |state: &mut State| {
            // A recovery goes on with the journal of the operation that it takes over.
            state.operation.get_or_insert_with(|| operation.clone());
        };
        let mut looking = None;
        let claimed = claim(&context, &reporter, if_held, begin, || {
            // A fleet looks by what is recorded of its members.
            let alone = context.fleet.as_ref().is_none_or(|fleet| fleet.sole().is_some());
            looking = alone.then(|| Looking::begin(context.clone()));
        });
        let (lease, heartbeat) = claimed.await.map_err(|error| match error.reason() {
            Some(Reason::LeaseHeld | Reason::Unfinished) => {
                let outcome = Outcome::Refused { reason: error.summary() };
                let report = reporter.report(outcome, started, began.elapsed(), None);
                reported(error, report)
            }
            _ => error,
        })?;
        Ok(Self {
            context,
            reporter,
            lease,
            id,
            kind,
            route: None,
            background: Background::default(),
            may_stop: true,
            occupied: None,
            allowance: Duration::ZERO,
            looks_first: false,
            begun: watch::Sender::default(),
            seen: PerSlot::default(),
            last: None,
            looking,
            heartbeat: Some(heartbeat),
            started,
            began,
        })
    }

    /// Ignores a cancellation from here on, and does not wait for a journal that cannot be written: what follows is an undo, or
    /// the end of an operation whose work is done, and must come through for as long as the lease is held.
    pub(super) fn see_it_through(&mut self) {
        self.may_stop = false;
    }

    /// Gives the next step so much time, where such steps usually may take less.
    pub(super) fn allow(&mut self, allowance: Duration) {
        self.allowance = allowance;
    }

    /// Lets the next step look while its start is written. Before it acts, it has to wait until that is so.
    pub(super) fn looks_first(&mut self) -> Begun {
        self.looks_first = true;
        self.begun.send_replace(false);
        Begun { begun: self.begun.subscribe(), lease: self.lease.clone() }
    }

    /// Notes what runs in a slot now.
    pub(super) fn saw(&mut self, slot: Slot, instance: &Instance) {
        let seen = Some(instance.clone()).filter(Instance::is_running);
        match slot {
            Slot::Blue => self.seen.blue = seen,
            Slot::Green => self.seen.green = seen,
        }
    }

    /// What ran in a slot when it was last seen.
    pub(super) fn seen(&self, slot: Slot) -> Option<Instance> {
        self.seen[slot].clone()
    }

    /// Says what the operation sets out to do: in the journal, to the observers, and to a later undo.
    pub(super) async fn set_route(&mut self, route: Route) {
        self.aim(route.target.slot, Some(route.target.version()), route.old.as_ref().map(|old| old.slot)).await;
        self.reporter.say(EventKind::Begun);
        self.route = Some(route);
    }

    /// Says which slot and which version the operation acts on, in the journal and to the observers. Before the first side
    /// effect there is a write, which this goes along with.
    pub(super) async fn aim(&self, slot: Slot, version: Option<&Version>, from: Option<Slot>) {
        self.reporter.about(version, Some(slot));
        let version = version.cloned();
        self.record(move |state| {
            if let Some(operation) = &mut state.operation {
                operation.target = slot;
                operation.from = from;
                operation.version.clone_from(&version);
            }
        })
        .await;
    }

    /// Looks at the router and both slots, says where the record differs, and brings the record into agreement. The machine of
    /// one slot may be out of reach.
    pub(super) async fn observe(&mut self) -> Result<Observed, Halt> {
        let (context, state, looking) = (self.context.clone(), self.lease.state().await, self.looking.take());
        self.take_fleet(&state)?;
        let look = async {
            look_at_aside(&context, &state).await;
            match looking {
                Some(looking) => Observed::of(looking.end().await?, &state),
                None => Observed::now(&context, &state).await,
            }
        };
        let seen = self.step(Step::Observe, look).await?;
        self.agree(&seen).await;
        Slot::BOTH.into_iter().for_each(|slot| self.saw(slot, seen.slot(slot)));
        Ok(seen)
    }

    /// Has the fleet go by what is recorded of its members, before the first look at them.
    fn take_fleet(&mut self, state: &State) -> Result<(), Halt> {
        let Some(fleet) = self.context.fleet.as_ref().filter(|_| self.occupied.is_none()) else { return Ok(()) };
        let (reporter, of_members) = (self.reporter.clone(), fleet.clone());
        self.occupied = Some(fleet.occupy(move |done, total, failed| {
            tell_of_members(&of_members, &reporter);
            reporter.say(EventKind::Members { done, total, failed });
        }));
        let notes = fleet.begin(state, Some(self.kind)).map_err(Halt::Refused)?;
        notes.into_iter().for_each(|note| self.reporter.note(note));
        Ok(())
    }

    fn tell_of_members(&self) {
        if let Some(fleet) = &self.context.fleet {
            tell_of_members(fleet, &self.reporter);
        }
    }

    async fn agree(&self, seen: &Observed) {
        let agreed = seen.clone();
        self.record(move |state| agreed.reconcile(state)).await;
        for drift in &seen.drift {
            self.reporter.note(drift.to_string());
        }
    }

    /// Runs one step that changes nothing in the record but the journal.
    pub(super) async fn step<T: Send>(
        &mut self,
        step: Step,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T, Halt> {
        self.step_with_start(step, |_| {}, work).await
    }

    /// As [`step`](Self::step); `before` changes the record as it starts.
    pub(super) async fn step_with_start<T: Send>(
        &mut self,
        step: Step,
        before: impl Fn(&mut State) + Send + Sync + 'static,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T, Halt> {
        self.step_with_result(step, before, work, |_| {}).await
    }

    /// As [`step`](Self::step); where the work fails, that is noted, and the operation goes on.
    pub(super) async fn step_that_may_fail(
        &mut self,
        step: Step,
        work: impl Future<Output = Result<()>> + Send,
    ) -> Result<(), Halt> {
        let work = async { Ok(work.await) };
        let (result, took) = Box::pin(self.work(step, |_| {}, work)).await?;
        let (at, status) =
            (self.context.clock.now(), if result.is_ok() { StepStatus::Done } else { StepStatus::Noted });
        self.record(move |state| note(state, step, status, at)).await;
        self.reporter.step_ended(took, result.err().map(|error| error.summary()));
        Ok(())
    }

    /// Runs one step: writes that it starts (with `before`), and does `work`. That it is done (with `after`) is written with what
    /// comes next, at the latest with the end of the operation: a process that dies before leaves what one leaves that dies in
    /// the step.
    pub(super) async fn step_with_result<T: Send>(
        &mut self,
        step: Step,
        before: impl Fn(&mut State) + Send + Sync + 'static,
        work: impl Future<Output = Result<T>> + Send,
        after: impl Fn(&mut State) + Send + Sync + 'static,
    ) -> Result<T, Halt> {
        // Boxed, here and in the deploy: in a debug build, all of it would not fit into the 2 MiB of a worker's stack.
        let (value, took) = Box::pin(self.work(step, before, work)).await?;
        self.done(step, after).await;
        self.reporter.step_ended(took, None);
        Ok(value)
    }

    /// The last step of an operation, where it changes the record alone: it is written while the operation takes its last look.
    pub(super) async fn last_step_on_record(
        &mut self,
        step: Step,
        detail: String,
        change: impl Fn(&mut State) + Send + Sync + 'static,
    ) -> Result<(), Halt> {
        self.may_begin(step)?;
        let at = self.context.clock.now();
        self.record(move |state| note(state, step, StepStatus::Started, at)).await;
        self.done(step, change).await;
        self.last = Some((step, detail));
        Ok(())
    }

    /// Writes the last step, and tells of it.
    async fn write_last_step(&self) {
        let Some((step, detail)) = &self.last else { return };
        // Should it not be written, the end of the operation is not either, which is told.
        let _ = self.lease.update_or_defer(Box::new(|_| {})).await;
        self.reporter.step_started(*step, limits::limit(&self.context, *step));
        self.reporter.detail(detail.clone());
        self.reporter.step_ended(Duration::ZERO, None);
    }

    async fn done(&self, step: Step, after: impl Fn(&mut State) + Send + Sync + 'static) {
        let at = self.context.clock.now();
        self.record(move |state| {
            note(state, step, StepStatus::Done, at);
            after(state);
        })
        .await;
    }

    fn may_begin(&self, step: Step) -> Result<(), Halt> {
        match self.may_stop && self.context.cancel.is_cancelled() {
            true => Err(Halt::Failed(cancelled().with_operation(step.to_string()).not_applied())),
            false => Ok(()),
        }
    }

    /// Writes that a step starts, and does its work; if that fails, writes so. A step that only looks may look while that is
    /// written.
    ///
    /// The work is cut off when its time is over, when the lease is lost, and when the operation is cancelled.
    async fn work<T: Send>(
        &mut self,
        step: Step,
        before: impl Fn(&mut State) + Send + Sync + 'static,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<(T, Duration), Halt> {
        let looks_first = std::mem::take(&mut self.looks_first);
        // What it would see is over when something was done before.
        self.looking = None;
        self.may_begin(step)?;
        let (began, usual) = (Instant::now(), limits::limit(&self.context, step));
        let limit = usual.max(std::mem::take(&mut self.allowance));
        let cut_off = limits::cut_off(&self.context, step) + (limit - usual);
        let start = self.write(step, StepStatus::Started, before);
        let work = async {
            // The process may have been stopped since that was written.
            self.lease.ensure_held().map_err(Halt::Lost)?;
            let work = tokio::time::timeout(cut_off, work.instrument(self.span(step)));
            Ok::<_, Halt>(
                work.await
                    .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, format!("did not end within {cut_off:?}")))),
            )
        };
        let start = async {
            start.await?;
            self.reporter.step_started(step, limit);
            self.begun.send_replace(true);
            Ok(())
        };
        let both = async {
            if step.only_looks() || looks_first {
                self.reporter.step_looks(step);
                return tokio::try_join!(start, work).map(|((), result)| result);
            }
            start.await?;
            work.await
        };
        let result = tokio::select! {
            biased;
            () = self.lease.lost() => {
                Err(Halt::Lost(self.lease.gone("no heartbeat could be written in time, or another took over")))
            }
            () = self.context.cancel.cancelled(), if self.may_stop => Ok(Err(cancelled())),
            result = both => result,
        };
        self.tell_of_members();
        let error = match result {
            Ok(Ok(value)) => return Ok((value, began.elapsed())),
            Ok(Err(error)) => error.with("service", &self.context.service),
            Err(halt) => {
                self.reporter.step_ended(began.elapsed(), Some(halt.to_string()));
                return Err(halt);
            }
        };
        let error = match self.reporter.subject().1 {
            Some(slot) => error.with("slot", slot),
            None => error,
        };
        self.reporter.step_ended(began.elapsed(), Some(error.summary()));
        match self.write(step, StepStatus::Failed, |_| {}).await {
            Err(Halt::Lost(lost)) => Err(Halt::Lost(lost)),
            _ => Err(Halt::Failed(error.with_operation(step.to_string()))),
        }
    }

    /// Writes how far a step is. Where the operation must be seen through, a journal that cannot be written does not stop it.
    async fn write(
        &self,
        step: Step,
        progress: StepStatus,
        change: impl Fn(&mut State) + Send + Sync + 'static,
    ) -> Result<(), Halt> {
        let at = self.context.clock.now();
        let fleet = self.context.fleet.clone().filter(|_| self.occupied.is_some());
        let change: Change = Box::new(move |state| {
            note(state, step, progress, at);
            if let Some(fleet) = &fleet {
                state.members = fleet.records();
            }
            change(state);
        });
        let written = match self.may_stop {
            true => self.lease.update(change).await,
            false => self.lease.update_or_defer(change).await,
        };
        written.map_err(|error| match error {
            WriteError::Lost(error) => Halt::Lost(error),
            WriteError::Failed(error) => Halt::Failed(error.with_operation(step.to_string())),
        })
    }

    fn span(&self, step: Step) -> tracing::Span {
        let (version, slot) = self.reporter.subject();
        tracing::info_span!(
            "step",
            service = %self.context.service,
            operation = %self.id,
            slot = slot.map(Slot::as_str),
            version = version.as_ref().map(Version::as_str),
            step = %step,
        )
    }

    /// Whether a recovery that failed may undo what it took over: a release on its way, whose route is known.
    pub(super) async fn can_undo(&self) -> bool {
        use OperationKind::{Deploy, Promote, Stage};
        let taken_over = self.operation().await.map(|operation| operation.kind);
        self.route.is_some() && matches!(taken_over, Some(Deploy | Stage | Promote))
    }

    /// Whether the journal holds nothing that an undo does not bring back: data that was migrated, what a hook did, a warm
    /// release that was stopped, a failed one that could not be stopped.
    pub(super) async fn left_no_trace(&self) -> bool {
        use Step::{CatchUp, ExpandAfterStart, ExpandBeforeStart, Migrate, Retire, StopOccupant};
        let lasting = [CatchUp, ExpandAfterStart, ExpandBeforeStart, Migrate, Retire];
        let state = self.lease.state().await;
        let begun = |operation: &Operation| {
            let left_running = operation.started(Step::StopFailed) && !operation.done(Step::StopFailed);
            let stays_down = operation.started(StopOccupant) && !operation.done(Step::StartOccupant);
            let ran_a_hook = operation.journal.iter().any(|entry| matches!(entry.step, Step::Hook(..)));
            left_running || stays_down || ran_a_hook || lasting.iter().any(|step| operation.started(*step))
        };
        !state.contract_begun() && !state.operation.as_ref().is_some_and(begun)
    }

    /// Whether the migrator refused the contract phase before it began: the way back is still there.
    pub(super) async fn contract_refused(&self) -> bool {
        let state = self.lease.state().await;
        state.rollback_safe && state.operation.is_some_and(|operation| operation.started(Step::Contract))
    }

    /// Before a hold: if the new release has all traffic, the old one is retained as after a success. Returns what a person
    /// can do then.
    pub(super) async fn keep_rollback_target(&self, cause: &Error) -> Result<String> {
        let state = self.lease.state().await;
        let target = self.route.as_ref().map(|route| route.target.slot);
        let restores = state.operation.as_ref().is_some_and(|operation| operation.kind == OperationKind::Restore);
        let Some(slot) = state.split.and_then(|split| split.sole()) else {
            return Ok(match (target.map(Slot::other), cause.reason(), cause.kind()) {
                _ if restores || state.split.is_none() => "`restore` tries it again".to_owned(),
                (Some(old), Some(Reason::RollbackTargetUnhealthy), _) => format!(
                    "`promote` goes on, where {old} still runs in a pipeline that is built with `.require_healthy_rollback_target(false)`; \
                     `rollback` goes back, once {old} is healthy or stopped"
                ),
                (Some(old), _, ErrorKind::Unreachable) => {
                    format!("`promote` goes on; `rollback` goes back, once {old} is in reach")
                }
                _ => "`promote` goes on, `rollback` goes back".to_owned(),
            });
        };
        if target == Some(slot) {
            let until = self.context.retain_until();
            let keep: Change = Box::new(move |state| state.slot_mut(slot.other()).retain_until = until);
            self.lease.update_or_defer(keep).await.map_err(WriteError::into_error)?;
        }
        let other = state.slot(slot.other()).status;
        let goes_back = state.rollback_safe && matches!(other, SlotStatus::Live | SlotStatus::Retained);
        let is = if restores {
            "`restore` tries it again"
        } else if state.slot(slot).confirmed.is_none() && other == SlotStatus::Staged {
            "it has all traffic, and was not confirmed at the public address: `restore` does that"
        } else if state.slot(slot).confirmed.is_none() {
            "it has all traffic, and was not confirmed at the public address: `promote` does that"
        } else if self.contract_refused().await {
            "it has all traffic and is confirmed: `migrate` runs the contract phase again"
        } else {
            "it has all traffic: to keep it nothing is to be done"
        };
        Ok(format!("{is}{}", if goes_back { ", `rollback` goes back" } else { "" }))
    }

    /// Changes the record outside of a step, with the next write.
    pub(super) async fn record(&self, change: impl Fn(&mut State) + Send + Sync + 'static) {
        self.lease.defer(Box::new(change)).await;
    }

    /// The operation with its journal, as last written.
    pub(super) async fn operation(&self) -> Option<Operation> {
        self.lease.state().await.operation
    }

    /// Ends the operation: record, history and lease in one write, after a last look at what there is; then the report.
    pub(super) async fn finish(mut self, outcome: Outcome, error: Option<Error>) -> Result<Report> {
        self.see_it_through();
        let (seen, ()) = tokio::join!(self.look_again(), self.write_last_step());
        let split = seen.as_ref().and_then(|seen| seen.split);
        let duration = self.began.elapsed();
        let past = self.past(outcome.clone(), duration);
        let fleet = self.context.fleet.clone().filter(|_| self.occupied.is_some());
        let now = self.context.clock.now();
        let written = self
            .lease
            .update_at_last(|state| {
                if let Some(seen) = &seen {
                    seen.reconcile(state);
                }
                if let Some(fleet) = &fleet {
                    state.members = fleet.records();
                }
                let succeeded = state.operation.as_ref().filter(|_| past.outcome.is_success());
                if let Some(deployed) = succeeded.and_then(|operation| Deployed::by(operation, now)) {
                    state.deployed = Some(deployed);
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
        self.background.end(&self.reporter).await;
        if let Err(WriteError::Lost(error) | WriteError::Failed(error)) = &written {
            self.reporter.note(format!("the end of the operation could not be recorded: {}", error.chain()));
        }
        self.reporter.say(EventKind::Finished { result: outcome.clone(), millis: millis(duration) });
        let report = self.reporter.report(outcome, self.started, duration, split);
        match (error, written) {
            (Some(error), _) => Err(reported(error, report)),
            (None, Err(error)) => Err(reported(error.into_error(), report)),
            (None, Ok(())) => Ok(report),
        }
    }

    /// Ends an operation that was refused before it did anything, with a line in the history.
    pub(super) async fn refuse(mut self, error: Error) -> Error {
        let outcome = Outcome::Refused { reason: error.summary() };
        let duration = self.began.elapsed();
        let past = self.past(outcome.clone(), duration);
        let split = self.lease.state().await.split;
        let written = self
            .lease
            .update_at_last(|state| {
                state.operation = None;
                state.remember_refusal(past.clone());
                state.lease = None;
            })
            .await;
        drop(self.heartbeat.take());
        if let Err(lost) = written {
            return lost.into_error();
        }
        self.reporter.say(EventKind::Finished { result: outcome.clone(), millis: millis(duration) });
        reported(error, self.reporter.report(outcome, self.started, duration, split))
    }

    fn past(&self, outcome: Outcome, duration: Duration) -> HistoryEntry {
        let (version, slot) = self.reporter.subject();
        HistoryEntry {
            id: self.id.clone(),
            kind: self.kind,
            by: self.context.holder.clone(),
            version,
            slot,
            started: self.started,
            millis: millis(duration),
            outcome,
            unknown: serde_json::Map::new(),
        }
    }

    /// Gives the lease back, and leaves no trace in the history: for a recovery that could not do its work. What it found
    /// unfinished stays unfinished.
    pub(super) async fn give_back(mut self, error: Error) -> Error {
        let released = self
            .lease
            .update_at_last(|state| {
                state.operation = state.operation.take().filter(|operation| operation.id != self.id);
                state.lease = None;
            })
            .await;
        drop(self.heartbeat.take());
        match released {
            Ok(()) => error,
            Err(failed) => failed.into_error(),
        }
    }

    /// Ends an operation that lost its lease or its journal: writes nothing, does nothing.
    pub(super) async fn abandon(mut self, error: Error) -> Error {
        drop(self.heartbeat.take());
        let advice = match (error.reason(), error.hint()) {
            (Some(Reason::LeaseLost), Some(hint)) => hint.to_owned(),
            (_, Some(hint)) => format!("{hint}; then run `recover`"),
            (_, None) => "run `recover` when the state store answers again".to_owned(),
        };
        let error = error.with_hint(advice.clone());
        let undo = "not tried, because the lease or the journal is gone".to_owned();
        let outcome = Outcome::Stuck { cause: error.summary(), undo, advice };
        let duration = self.began.elapsed();
        self.reporter.say(EventKind::Finished { result: outcome.clone(), millis: millis(duration) });
        reported(error, self.reporter.report(outcome, self.started, duration, None))
    }

    /// What there is at the end; a router or runtime that does not answer now must not spoil the report.
    async fn look_again(&self) -> Option<Observed> {
        let state = self.lease.state().await;
        if let Some(fleet) = &self.context.fleet {
            fleet.conclude();
        }
        look_at_aside(&self.context, &state).await;
        self.tell_of_members();
        match Observed::now(&self.context, &state).await {
            Ok(seen) => Some(seen),
            Err(error) => {
                self.reporter.note(format!("what there is at the end could not be seen: {}", error.chain()));
                None
            }
        }
    }
}

/// Tells what became of members of the fleet since this was last called.
fn tell_of_members(fleet: &Fleet, reporter: &Reporter) {
    for (member, change) in fleet.take_changes() {
        reporter.say(EventKind::Member { member, change });
    }
}

/// Members of a fleet that were set aside and are as the others are take part again, while no traffic is divided.
async fn look_at_aside(context: &Context, state: &State) {
    let Some(fleet) = &context.fleet else { return };
    match state.split {
        Some(split) if split.sole().is_none() => {}
        _ => fleet.look_at_aside(live_on_record(context, state).as_ref()).await,
    }
}

/// Whether the start of a step is written yet.
pub(super) struct Begun {
    begun: watch::Receiver<bool>,
    lease: Arc<LeaseGuard>,
}

impl Begun {
    /// Waits until the step's start is written. What follows may act.
    ///
    /// # Errors
    /// When the lease is not certain any more.
    pub(super) async fn wait(mut self) -> Result<()> {
        // The sender is the session's, which waits for this.
        let _ = self.begun.wait_for(|begun| *begun).await;
        self.lease.ensure_held()
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled on request")
}

/// The error with its report, which says what a person can do.
fn reported(error: Error, mut report: Report) -> Error {
    report.hint = error.hint().map(str::to_owned);
    error.with_report(report)
}

/// The line in the history for an operation whose process died.
fn ended(dead: Operation, recovery: &HistoryEntry) -> HistoryEntry {
    HistoryEntry {
        slot: dead.version.as_ref().map(|_| dead.target),
        millis: millis(recovery.started.since(dead.started)),
        id: dead.id,
        kind: dead.kind,
        by: dead.by,
        version: dead.version,
        started: dead.started,
        outcome: recovery.outcome.clone(),
        unknown: dead.unknown,
    }
}

fn new_id(context: &Context, kind: OperationKind) -> Result<OperationId> {
    let moment: String = context.clock.now().to_string().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    OperationId::new(format!("{kind}-{moment}-{:04x}", fastrand::u16(..)))
}

/// Adds an entry to the journal of the running operation.
fn note(state: &mut State, step: Step, progress: StepStatus, at: Timestamp) {
    if let Some(operation) = &mut state.operation {
        operation.note(step, progress, at);
    }
}
