//! Tells observers and the report what happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::builder::Parts;
use super::report::StepReport;
use crate::event::{Event, What};
use crate::state::{OperationKind, Step};
use crate::types::{OperationId, Progress, Slot, Target, Version};

pub(super) struct Narrator {
    parts: Arc<Parts>,
    operation: OperationId,
    kind: OperationKind,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    version: Option<Version>,
    slot: Option<Slot>,
    step: Option<Step>,
    detail: Option<String>,
    steps: Vec<StepReport>,
    notes: Vec<String>,
    logs: Vec<String>,
}

impl Narrator {
    pub(super) fn new(parts: Arc<Parts>, operation: OperationId, kind: OperationKind) -> Arc<Self> {
        Arc::new(Self { parts, operation, kind, told: Mutex::default() })
    }

    /// Says what the operation is about, once that is known.
    pub(super) fn about(&self, version: Option<&Version>, slot: Slot) {
        let mut told = self.lock();
        told.version = version.cloned();
        told.slot = Some(slot);
    }

    pub(super) fn say(&self, what: What) {
        let event = {
            let told = self.lock();
            Event {
                at: self.parts.clock.now(),
                service: self.parts.service.clone(),
                operation: self.operation.clone(),
                kind: self.kind,
                version: told.version.clone(),
                slot: told.slot,
                host: None,
                step: told.step,
                what,
            }
        };
        for observer in &self.parts.observers {
            observer.observe(&event);
        }
    }

    pub(super) fn step_started(&self, step: Step, limit: Duration) {
        {
            let mut told = self.lock();
            told.step = Some(step);
            told.detail = None;
        }
        self.say(What::StepStarted { limit_millis: millis(limit) });
    }

    pub(super) fn step_ended(&self, duration: Duration, error: Option<String>) {
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
            None => What::StepDone { millis, detail },
            Some(error) => What::StepFailed { millis, error },
        });
        self.lock().step = None;
    }

    /// What the running step found, for the report.
    pub(super) fn detail(&self, detail: impl Into<String>) {
        self.lock().detail = Some(detail.into());
    }

    /// What a reader of the report should know.
    pub(super) fn note(&self, text: impl Into<String>) {
        let text = text.into();
        self.lock().notes.push(text.clone());
        self.say(What::Note { text });
    }

    /// The failed slot's last lines.
    pub(super) fn logs(&self, lines: Vec<String>) {
        self.lock().logs = lines;
    }

    /// A handle through which adapters report bytes.
    pub(super) fn progress(self: &Arc<Self>) -> Progress {
        let narrator = self.clone();
        Progress::new(move |what, done, total| narrator.say(What::Transfer { what: what.to_owned(), done, total }))
    }

    /// A target whose progress becomes events.
    pub(super) fn watch(self: &Arc<Self>, mut target: Target) -> Target {
        target.progress = self.progress();
        target
    }

    /// Steps, notes and logs, for the report.
    pub(super) fn told(&self) -> (Vec<StepReport>, Vec<String>, Vec<String>) {
        let told = self.lock();
        (told.steps.clone(), told.notes.clone(), told.logs.clone())
    }

    pub(super) fn subject(&self) -> (Option<Version>, Option<Slot>) {
        let told = self.lock();
        (told.version.clone(), told.slot)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
