//! [`Event`]: everything a pipeline does, as data.

use serde::{Deserialize, Serialize};

use crate::fleet::MemberChange;
use crate::gate::Verdict;
use crate::state::{OperationKind, Outcome, Step};
use crate::types::{MemberName, OperationId, ServiceName, Slot, Split, Timestamp, Version};

/// Something that happened in an operation. Serializes to one flat JSON object; durations are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// In which service.
    pub service: ServiceName,
    /// In which operation.
    pub operation: OperationId,
    /// What kind of operation that is.
    pub kind: OperationKind,
    /// The version it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<Version>,
    /// The slot it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slot: Option<Slot>,
    /// The host it happened on, where there are several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
    /// The step that was running.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<Step>,
    /// What happened.
    #[serde(flatten)]
    pub what: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EventKind {
    /// The operation holds the lease and begins.
    Begun,
    /// The record and what was observed disagree, or something else a person should know.
    Note {
        /// The text.
        text: String,
    },
    /// Something became of a member of a fleet.
    Member {
        /// The member.
        member: MemberName,
        /// What.
        #[serde(flatten)]
        change: MemberChange,
    },
    /// A step has been done on so many members of a fleet. Told about twenty times in a step, however many there are.
    Members {
        /// On how many it is done, or has failed.
        done: usize,
        /// Of how many.
        total: usize,
        /// On how many it has failed.
        failed: usize,
    },
    /// A step begins.
    StepStarted {
        /// How long it may take.
        timeout_millis: u64,
    },
    /// A step is done.
    StepDone {
        /// How long it took.
        millis: u64,
        /// What it found.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        detail: Option<String>,
    },
    /// A step failed.
    StepFailed {
        /// How long it took.
        millis: u64,
        /// Why.
        error: String,
    },
    /// Bytes are on their way.
    Transfer {
        /// Of what.
        what: String,
        /// How many are through.
        done: u64,
        /// How many there are, where that is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        total: Option<u64>,
    },
    /// One look at an instance's health, or through the public address.
    Checked {
        /// Healthy answers in a row so far.
        streak: u32,
        /// How many are needed.
        needed: u32,
        /// What was wrong, if something was.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reason: Option<String>,
    },
    /// The router has confirmed a new split.
    Shifted {
        /// The split before.
        from: Option<Split>,
        /// The split now.
        to: Split,
    },
    /// A traffic step is being held.
    Soaking {
        /// Time left of the configured soak; 0 while it is extended.
        remaining_millis: u64,
        /// What each gate says.
        verdicts: Vec<GateVerdict>,
    },
    /// Requests are in flight on the slot that lost its traffic.
    Draining {
        /// How many; none where the router cannot know.
        in_flight: Option<u64>,
    },
    /// The operation ended.
    Finished {
        /// How.
        result: Outcome,
        /// How long it took.
        millis: u64,
    },
}

/// What one gate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GateVerdict {
    /// The gate's name.
    pub gate: String,
    /// Its verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}
