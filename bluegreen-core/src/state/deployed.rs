use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::duration_text::short;
use crate::state::{HistoryEntry, Operation, OperationKind, State, Step};
use crate::types::{Timestamp, Version};

/// The deploy that succeeded last: it gave a release the traffic, and ended well. A stage, a rollback and a deploy that was
/// undone are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deployed {
    /// The version.
    pub version: Version,
    /// Who ran the deploy.
    pub by: String,
    /// When it ended.
    pub at: Timestamp,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Deployed {
    /// The operation that has succeeded, if it is a deploy or the promotion of one.
    pub(crate) fn by(operation: &Operation, at: Timestamp) -> Option<Self> {
        let is_deploy = matches!(operation.kind, OperationKind::Deploy | OperationKind::Promote);
        let version = operation.version.clone().filter(|_| is_deploy && operation.done(Step::Verify))?;
        Some(Self { version, by: operation.by.clone(), at, unknown: Map::new() })
    }

    /// The last one on record; in a document of an older version, the last one in its history.
    pub(crate) fn last(state: &State) -> Option<Self> {
        let in_history = |entry: &HistoryEntry| {
            let is_deploy = matches!(entry.kind, OperationKind::Deploy | OperationKind::Promote);
            let at = entry.started.plus(Duration::from_millis(entry.millis));
            let version = entry.version.clone().filter(|_| is_deploy && entry.outcome.is_success())?;
            Some(Self { version, by: entry.by.clone(), at, unknown: Map::new() })
        };
        state.deployed.clone().or_else(|| state.history.iter().rev().find_map(in_history))
    }

    /// How long ago it was; zero when a clock says that it is still to come.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.at)
    }

    /// One line: `1.4.0 was deployed 9 d 3 h ago, by ann@web1 (pid 7)`.
    pub fn describe(&self, now: Timestamp) -> String {
        format!("{} was deployed {} ago, by {}", self.version, short(self.age(now)), self.by)
    }
}

impl fmt::Display for Deployed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was deployed at {}, by {}", self.version, self.at, self.by)
    }
}
