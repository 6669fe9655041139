//! The state document of a service: what was last confirmed, what is going on, and what happened before.
//!
//! It is a record, not the truth: the router and the runtime are asked first, and win.

mod deployed;
mod history_filter;
mod hook_name;
mod hook_place;
mod journal;
mod lease;
mod member;
mod outcome;
mod step;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::types::{MemberName, OperationId, ServiceName, Slot, Split, Timestamp, Version};

pub use deployed::Deployed;
pub use history_filter::HistoryFilter;
pub use hook_name::HookName;
pub use hook_place::HookPlace;
pub use journal::{JournalEntry, Operation, OperationKind, Replaced, StepStatus};
pub use lease::Lease;
pub use member::{MemberRecord, SetAside};
pub use outcome::Outcome;
pub use step::Step;

use step::UNKNOWN_STEP;

/// The format this crate writes. A document with a higher number is refused, never guessed at.
pub const FORMAT: u32 = 1;

/// How many finished operations are kept in [`State::history`].
pub const HISTORY_LENGTH: usize = 50;

/// Everything that is remembered about one service.
///
/// Fields that this version does not know are kept and written back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct State {
    /// The format of the document; see [`FORMAT`].
    pub format: u32,
    /// The service it is about.
    pub service: ServiceName,
    /// The slot that took production traffic when it was last confirmed.
    pub live: Option<Slot>,
    /// The split when it was last confirmed.
    pub split: Option<Split>,
    /// What is in the blue slot.
    pub blue: SlotRecord,
    /// What is in the green slot.
    pub green: SlotRecord,
    /// What is on each member, where the service runs on a [`Fleet`](crate::Fleet).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<MemberName, MemberRecord>,
    /// Whether the retained release can still live with the data; false from the moment a contract phase begins, until the
    /// migrator says that it has applied nothing.
    pub rollback_safe: bool,
    /// The operation that is running, or whose process died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The deploy lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Counts the leases ever given; each holder has a higher one.
    pub epoch: u64,
    /// The deploy that succeeded last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<Deployed>,
    /// The last operations, oldest first.
    #[serde(default)]
    pub history: Vec<HistoryEntry>,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl State {
    /// The document of a service about which nothing is known.
    pub fn new(service: ServiceName) -> Self {
        Self {
            format: FORMAT,
            service,
            live: None,
            split: None,
            blue: SlotRecord::default(),
            green: SlotRecord::default(),
            members: BTreeMap::new(),
            rollback_safe: true,
            operation: None,
            lease: None,
            epoch: 0,
            deployed: None,
            history: Vec::new(),
            unknown: Map::new(),
        }
    }

    /// What is recorded of a slot.
    pub fn slot(&self, slot: Slot) -> &SlotRecord {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    /// What is recorded of a slot, to be changed.
    pub fn slot_mut(&mut self, slot: Slot) -> &mut SlotRecord {
        match slot {
            Slot::Blue => &mut self.blue,
            Slot::Green => &mut self.green,
        }
    }

    /// Whether the running operation has begun a contract phase that may have changed the data. One that the migrator
    /// refused before it began has not.
    pub(crate) fn contract_begun(&self) -> bool {
        !self.rollback_safe && self.operation.as_ref().is_some_and(|operation| operation.started(Step::Contract))
    }

    /// Adds a finished operation to the history and forgets the oldest beyond [`HISTORY_LENGTH`].
    pub fn remember(&mut self, past: HistoryEntry) {
        self.history.push(past);
        let surplus = self.history.len().saturating_sub(HISTORY_LENGTH);
        self.history.drain(..surplus);
    }

    /// As [`remember`](Self::remember); a refusal that only repeats the last one takes its place, so that a job that is run
    /// again and again does not crowd the history.
    pub(crate) fn remember_refusal(&mut self, past: HistoryEntry) {
        let same = |last: &HistoryEntry| {
            (last.kind, &last.version, &last.outcome) == (past.kind, &past.version, &past.outcome)
        };
        if self.history.last().is_some_and(same) {
            self.history.pop();
        }
        self.remember(past);
    }

    /// The document as stores write it: JSON, indented for the person who has to read it.
    ///
    /// # Errors
    /// `Unexpected` should it not be possible to serialize it.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(ErrorKind::Unexpected, "cannot write the state as JSON").with_source(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a stored document.
    ///
    /// # Errors
    /// `Corrupt` when it is not a state document; `Unsupported` when its format is newer than [`FORMAT`], or a newer minor
    /// version has written a step, a kind or an outcome that this one does not know. Stores add the place and the backup.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let corrupt = |error: serde_json::Error| {
            Error::new(ErrorKind::Corrupt, "not a readable state document").not_applied().with_source(error)
        };
        let newer = |what: String| {
            Error::new(ErrorKind::Unsupported, what)
                .with_hint("a newer version of this tool has deployed here: update this one")
        };
        let Format { format } = serde_json::from_slice(bytes).map_err(corrupt)?;
        if format > FORMAT {
            return Err(newer(format!(
                "the state document has format {format}, and this version reads up to {FORMAT}"
            )));
        }
        serde_json::from_slice(bytes).map_err(|error| {
            let text = error.to_string();
            match [UNKNOWN_STEP, "unknown variant"].iter().any(|unknown| text.contains(unknown)) {
                true => newer(format!("the state document holds what this version does not know: {text}")),
                false => corrupt(error),
            }
        })
    }
}

/// What is recorded of one slot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlotRecord {
    /// The version in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The settings that it was deployed with, for whatever is done with it later: they are not secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// When that version went up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What it is there for.
    pub status: SlotStatus,
    /// When the public address was last seen to answer as this version, several times in a row, since the slot was given
    /// its traffic; none until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Timestamp>,
    /// Until when it is kept for a rollback, where it is retained for a limited time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_until: Option<Timestamp>,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl SlotRecord {
    /// Forgets what was in the slot. Fields of a later minor version stay.
    pub(crate) fn clear(&mut self) {
        *self = Self { unknown: std::mem::take(&mut self.unknown), ..Self::default() };
    }
}

/// What a slot is there for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SlotStatus {
    /// Nothing of ours is in it.
    #[default]
    Empty,
    /// A release is being brought up in it.
    Starting,
    /// A release is up and tested, and waits for its promotion.
    Staged,
    /// It takes production traffic.
    Live,
    /// A release that was live before, kept warm for a rollback.
    Retained,
}

impl fmt::Display for SlotStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Empty => "empty",
            Self::Starting => "starting",
            Self::Staged => "staged",
            Self::Live => "live",
            Self::Retained => "retained",
        })
    }
}

/// A finished operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// Its id.
    pub id: OperationId,
    /// What it was.
    pub kind: OperationKind,
    /// Who ran it.
    pub by: String,
    /// The version it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The slot it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// One line: when, what, how it ended, how long it took, and who ran it.
impl fmt::Display for HistoryEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.started, self.kind)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        if let Some(slot) = self.slot {
            write!(f, " ({slot})")?;
        }
        write!(f, ": {}, {}.{} s, by {}", self.outcome, self.millis / 1000, self.millis / 100 % 10, self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new(ServiceName::new("shop").unwrap())
    }

    #[test]
    fn a_past_operation_is_one_line() {
        let past = HistoryEntry {
            id: OperationId::new("deploy-1").unwrap(),
            kind: OperationKind::Deploy,
            by: "ann@web1 (pid 7)".to_owned(),
            version: Some(Version::new("2.0").unwrap()),
            slot: Some(Slot::Green),
            started: serde_json::from_str("\"2026-01-02T03:04:05Z\"").unwrap(),
            millis: 11_950,
            outcome: Outcome::Succeeded,
            unknown: Map::new(),
        };
        assert_eq!(
            past.to_string(),
            "2026-01-02T03:04:05.000Z  deploy 2.0 (green): succeeded, 11.9 s, by ann@web1 (pid 7)"
        );
    }

    #[test]
    fn fields_of_a_later_version_are_kept() {
        let mut json: Value = serde_json::from_slice(&state().to_bytes().unwrap()).unwrap();
        json["comment"] = "by a later version".into();
        json["blue"]["weight"] = 3.into();
        json["history"] = serde_json::json!([{
            "id": "deploy-1", "kind": "deploy", "by": "me", "started": "2026-01-02T03:04:05.000Z", "millis": 1,
            "outcome": {"outcome": "succeeded"}, "commit": "abc"
        }]);
        json["lease"] = serde_json::json!({
            "id": "lease-1", "holder": "me", "epoch": 1, "heartbeat": 0, "ttl_millis": 15000,
            "since": "2026-01-02T03:04:05.000Z", "region": "eu"
        });
        json["operation"] = serde_json::json!({
            "id": "deploy-2", "kind": "deploy", "by": "me", "started": "2026-01-02T03:04:05.000Z", "target": "blue",
            "plan_version": 1, "reason": "hotfix",
            "journal": [{"step": "start", "progress": "started", "at": "2026-01-02T03:04:05.000Z", "member": "web1"}],
            "replaced": {"record": {"status": "retained"}, "running": true, "rollback_safe": true, "weight": 1}
        });
        let read = State::from_bytes(json.to_string().as_bytes()).unwrap();
        let written: Value = serde_json::from_slice(&read.to_bytes().unwrap()).unwrap();
        assert_eq!(written, json);
    }

    #[test]
    fn a_newer_format_is_refused_even_when_its_fields_cannot_be_read() {
        let error = State::from_bytes(br#"{"format": 2, "live": {"new": "shape"}}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_step_a_kind_or_an_outcome_of_a_later_version_is_refused_as_that_and_not_as_corrupt() {
        let with = |kind: &str, step: &str, outcome: &str| {
            let moment = "2026-01-02T03:04:05Z";
            let mut json = serde_json::to_value(state()).unwrap();
            json["operation"] = serde_json::json!({
                "id": "a", "kind": kind, "by": "me", "started": moment, "target": "blue", "plan_version": 1,
                "journal": [{"step": step, "progress": "done", "at": moment}]
            });
            json["history"] = serde_json::json!([{
                "id": "b", "kind": "deploy", "by": "me", "started": moment, "millis": 1, "outcome": {"outcome": outcome}
            }]);
            State::from_bytes(json.to_string().as_bytes())
        };
        with("deploy", "start", "succeeded").unwrap();
        for (kind, step, outcome) in [
            ("mirror", "start", "succeeded"),
            ("deploy", "warm-up", "succeeded"),
            ("deploy", "before-lunch:clear-cache", "succeeded"),
            ("deploy", "start", "parked"),
        ] {
            let error = with(kind, step, outcome).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains("update this one"), "{error}");
        }
    }

    #[test]
    fn a_truncated_document_is_corrupt_at_every_length() {
        let bytes = state().to_bytes().unwrap();
        for length in 0..bytes.len() - 2 {
            assert_eq!(State::from_bytes(&bytes[..length]).unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
        }
    }

    #[test]
    fn the_history_keeps_the_last_fifty() {
        let mut state = state();
        for number in 0..60 {
            state.remember(HistoryEntry {
                id: OperationId::new(format!("op-{number}")).unwrap(),
                kind: OperationKind::Deploy,
                by: "me".into(),
                version: None,
                slot: None,
                started: Timestamp::from_system(std::time::SystemTime::UNIX_EPOCH),
                millis: 1,
                outcome: Outcome::Succeeded,
                unknown: Map::new(),
            });
        }
        assert_eq!(state.history.len(), HISTORY_LENGTH);
        assert_eq!(state.history[0].id.as_str(), "op-10");
    }
}
