//! What there is, what is recorded, and what is going on.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::observe::Observed;
use crate::state::{Lease, MemberRecord, Operation, State};
use crate::types::{MemberName, Slot, Split};

/// What [`Pipeline::status`](super::Pipeline::status) found. `Display` prints it for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// What the router and the runtime say, and where the record differs.
    pub observed: Observed,
    /// The record.
    pub state: State,
    /// What is on each member, where the service runs on a fleet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<MemberName, MemberRecord>,
    /// What a person should know before the next deploy, from the router and the runtime.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Status {
    /// Who holds the lease, if anyone does.
    pub fn lease(&self) -> Option<&Lease> {
        self.state.lease.as_ref()
    }

    /// The operation that runs, or whose process died.
    pub fn operation(&self) -> Option<&Operation> {
        self.state.operation.as_ref()
    }

    /// Whether the record agrees with what was observed.
    pub fn agrees(&self) -> bool {
        self.observed.drift.is_empty()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { observed, state, members, notes } = self;
        let split = observed.split.map_or_else(|| "nothing".to_owned(), |split| split.to_string());
        writeln!(f, "{}: traffic: {split}", state.service)?;
        for slot in Slot::BOTH {
            let record = state.slot(slot);
            write!(f, "  {slot:5}  {:8}  {}", record.status, observed.slot(slot))?;
            if let Some(since) = record.since {
                write!(f, ", since {since}")?;
            }
            if observed.split == Some(Split::all(slot)) && record.confirmed.is_none() {
                write!(f, ", not confirmed at the public address")?;
            }
            if let Some(until) = record.retain_until {
                write!(f, ", kept until {until}")?;
            }
            writeln!(f)?;
        }
        let width = members.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
        for (name, record) in members {
            writeln!(f, "  {name:width$}  {record}")?;
        }
        if !state.rollback_safe {
            writeln!(f, "  no way back: the contract phase has run")?;
        }
        for drift in &observed.drift {
            writeln!(f, "  drift: {drift}")?;
        }
        for note in notes {
            writeln!(f, "  note: {note}")?;
        }
        if let Some(operation) = &state.operation {
            let step = operation.last().map_or_else(String::new, |entry| format!(", step {}", entry.step));
            writeln!(f, "  unfinished: {} {} by {}{step}", operation.kind, operation.id, operation.by)?;
        }
        if let Some(lease) = &state.lease {
            writeln!(f, "  lease: {} since {}", lease.holder, lease.since)?;
        }
        Ok(())
    }
}
