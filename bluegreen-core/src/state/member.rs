use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::types::{PerSlot, Split, Timestamp, Version};

/// What is recorded of one member of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemberRecord {
    /// The version that was last seen to run in each of its slots.
    #[serde(default)]
    pub versions: PerSlot<Option<Version>>,
    /// The split that its own router last confirmed; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Why operations leave it out, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<SetAside>,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// Why a member of a fleet is left out of operations until [`resume`](crate::Pipeline::resume) brings it up to date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SetAside {
    /// Since when.
    pub since: Timestamp,
    /// What was tried on it and what came back.
    pub reason: String,
}

impl SetAside {
    pub(crate) const fn new(since: Timestamp, reason: String) -> Self {
        Self { since, reason }
    }
}

/// One line: the version in each slot, the split of its own router, and why it is set aside, if it is.
impl fmt::Display for MemberRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<Version>| version.as_ref().map_or("-".to_owned(), ToString::to_string);
        write!(f, "blue {}, green {}", version(&self.versions.blue), version(&self.versions.green))?;
        if let Some(split) = self.split {
            write!(f, ", traffic {split}")?;
        }
        match &self.set_aside {
            Some(SetAside { since, reason }) => write!(f, ", set aside since {since}: {reason}"),
            None => Ok(()),
        }
    }
}
