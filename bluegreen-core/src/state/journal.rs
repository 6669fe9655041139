use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::state::{SlotRecord, Step};
use crate::types::{OperationId, Slot, Timestamp, Version};

/// What kind of operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OperationKind {
    /// Stage and promote.
    Deploy,
    /// Bring a release up in the idle slot, without traffic.
    Stage,
    /// Move traffic to the staged slot.
    Promote,
    /// Move traffic back to the retained slot.
    Rollback,
    /// Stop the retained slot.
    Retire,
    /// Run a migration phase on its own.
    Migrate,
    /// Bring the members of a fleet that were left behind to the live version.
    Resume,
    /// Bring the release that was live last up again, with its traffic.
    Restore,
    /// Take over an operation whose process died.
    Recover,
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deploy => "deploy",
            Self::Stage => "stage",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Retire => "retire",
            Self::Migrate => "migrate",
            Self::Resume => "resume",
            Self::Restore => "restore",
            Self::Recover => "recover",
        })
    }
}

/// The operation that is running, with its write-ahead journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// What it is.
    pub kind: OperationKind,
    /// Who runs it.
    pub by: String,
    /// When it began.
    pub started: Timestamp,
    /// The version it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The slot that it gives the traffic to, or acts on.
    pub target: Slot,
    /// The slot that had the traffic when it began; none for a first deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Slot>,
    /// The version of the step sequence, should it ever change.
    pub plan_version: u32,
    /// What was started, what was finished and what failed, in the order in which each happened last.
    pub journal: Vec<JournalEntry>,
    /// When the running soak or bake ends, in absolute time, so that a restart does not shorten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak_until: Option<Timestamp>,
    /// What was in the target slot, should the operation be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What an operation replaces in the slot that it brings a release up in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replaced {
    /// What was recorded of the slot.
    pub record: SlotRecord,
    /// Whether it was running.
    pub running: bool,
    /// What [`State::rollback_safe`](crate::state::State::rollback_safe) was.
    pub rollback_safe: bool,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Operation {
    /// Adds a line to the journal. It takes the place of an older one that says the same: a step that is tried again and
    /// again must not make the document grow.
    pub(crate) fn note(&mut self, step: Step, progress: StepStatus, at: Timestamp) {
        self.journal.retain(|entry| (entry.step, entry.progress) != (step, progress));
        self.journal.push(JournalEntry { step, progress, at, unknown: Map::new() });
    }

    /// Whether the journal holds that `step` was started.
    pub fn started(&self, step: Step) -> bool {
        self.journal.iter().any(|entry| entry.step == step)
    }

    /// Whether the journal holds that `step` was finished.
    pub fn done(&self, step: Step) -> bool {
        self.journal.iter().any(|entry| entry.step == step && entry.progress == StepStatus::Done)
    }

    /// How far `step` is, by what the journal says of it last.
    pub fn status(&self, step: Step) -> Option<StepStatus> {
        self.journal.iter().rfind(|entry| entry.step == step).map(|entry| entry.progress)
    }

    /// What the journal says last.
    pub fn last(&self) -> Option<&JournalEntry> {
        self.journal.last()
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// The step.
    pub step: Step,
    /// Whether it was started or finished.
    pub progress: StepStatus,
    /// When.
    pub at: Timestamp,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// How far a step got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StepStatus {
    /// Written before the side effect: from here on it may have happened.
    Started,
    /// Written after the side effect: it has happened.
    Done,
    /// Written after the side effect failed.
    Failed,
    /// Written after a hook failed whose failure is only noted.
    Noted,
}
