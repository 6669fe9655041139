//! Tells observers and the report what happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::context::Context;
use crate::event::{Event, EventKind};
use crate::fleet::Fleet;
use crate::report::{Report, StepReport};
use crate::state::{OperationKind, Outcome, Step};
use crate::types::{OperationId, Progress, Slot, Split, Target, Timestamp, Version};

pub(super) struct Reporter {
    context: Arc<Context>,
    operation: OperationId,
    kind: OperationKind,
    told: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    version: Option<Version>,
    slot: Option<Slot>,
    step: Option<Step>,
    detail: Option<String>,
    /// What a step told before its start was in the journal.
    held: Option<Vec<Event>>,
    steps: Vec<StepReport>,
    notes: Vec<String>,
    logs: Vec<String>,
}

impl Reporter {
    pub(super) fn new(context: Arc<Context>, operation: OperationId, kind: OperationKind) -> Arc<Self> {
        Arc::new(Self { context, operation, kind, told: Mutex::default() })
    }

    /// Says what the operation is about, once that is known.
    pub(super) fn about(&self, version: Option<&Version>, slot: Option<Slot>) {
        let mut told = self.lock();
        told.version = version.cloned();
        told.slot = slot;
    }

    pub(super) fn say(&self, what: EventKind) {
        let event = {
            let mut told = self.lock();
            let event = Event {
                at: self.context.clock.now(),
                service: self.context.service.clone(),
                operation: self.operation.clone(),
                kind: self.kind,
                version: told.version.clone(),
                slot: told.slot,
                host: None,
                step: told.step,
                what,
            };
            if let Some(held) = &mut told.held {
                held.push(event);
                return;
            }
            event
        };
        self.tell(&event);
    }

    /// A step begins to look while its start is being written: what it tells is held until [`Self::step_started`], so that
    /// whoever is told of a step finds it in the journal.
    pub(super) fn step_looks(&self, step: Step) {
        let mut told = self.lock();
        told.step = Some(step);
        told.detail = None;
        told.held = Some(Vec::new());
    }

    /// The step's start is in the journal.
    pub(super) fn step_started(&self, step: Step, limit: Duration) {
        let held = {
            let mut told = self.lock();
            let held = told.held.take();
            told.step = Some(step);
            if held.is_none() {
                told.detail = None;
            }
            held
        };
        self.say(EventKind::StepStarted { timeout_millis: millis(limit) });
        for event in held.unwrap_or_default() {
            self.tell(&event);
        }
    }

    pub(super) fn step_ended(&self, duration: Duration, error: Option<String>) {
        let held = self.lock().held.take();
        for event in held.unwrap_or_default() {
            self.tell(&event);
        }
        let detail = {
            let mut told = self.lock();
            let detail = told.detail.take();
            if let Some(step) = told.step {
                told.steps.push(StepReport { step, duration, error: error.clone(), detail: detail.clone() });
            }
            detail
        };
        let millis = millis(duration);
        self.say(match error {
            None => EventKind::StepDone { millis, detail },
            Some(error) => EventKind::StepFailed { millis, error },
        });
        self.lock().step = None;
    }

    fn tell(&self, event: &Event) {
        for observer in &self.context.observers {
            observer.observe(event);
        }
    }

    /// What the running step found, for the report.
    pub(super) fn detail(&self, detail: impl Into<String>) {
        self.lock().detail = Some(detail.into());
    }

    /// What a reader of the report should know.
    pub(super) fn note(&self, text: impl Into<String>) {
        let text = text.into();
        self.lock().notes.push(text.clone());
        self.say(EventKind::Note { text });
    }

    /// The failed slot's last lines.
    pub(super) fn logs(&self, lines: Vec<String>) {
        self.lock().logs = lines;
    }

    /// A handle through which adapters report bytes.
    pub(super) fn progress(self: &Arc<Self>) -> Progress {
        let reporter = self.clone();
        Progress::new(move |what, done, total| reporter.say(EventKind::Transfer { what: what.to_owned(), done, total }))
    }

    /// A target whose progress becomes events.
    pub(super) fn watch(self: &Arc<Self>, mut target: Target) -> Target {
        target.progress = self.progress();
        target
    }

    /// The report of what was told.
    pub(super) fn report(
        &self,
        outcome: Outcome,
        started: Timestamp,
        duration: Duration,
        split: Option<Split>,
    ) -> Report {
        let told = self.lock();
        Report {
            operation: self.operation.clone(),
            kind: self.kind,
            service: self.context.service.clone(),
            version: told.version.clone(),
            slot: told.slot,
            outcome,
            started,
            duration,
            steps: told.steps.clone(),
            members: self.context.fleet.as_ref().map(Fleet::report).unwrap_or_default(),
            split,
            notes: told.notes.clone(),
            hint: None,
            logs: told.logs.clone(),
        }
    }

    pub(super) fn subject(&self) -> (Option<Version>, Option<Slot>) {
        let told = self.lock();
        (told.version.clone(), told.slot)
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
