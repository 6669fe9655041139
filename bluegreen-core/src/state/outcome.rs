use std::fmt;

use serde::{Deserialize, Serialize};

use crate::state::OperationKind;
use crate::types::Slot;

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// What was asked for is done, and confirmed.
    Succeeded,
    /// It was refused before anything was done.
    Refused {
        /// Why.
        reason: String,
    },
    /// Traffic stays where it is until a person promotes or rolls back: the gates could not decide, or said that the release
    /// cannot be judged; the migrator refused the contract phase before it began; a recovery found that the public address
    /// does not answer as the release that has all traffic.
    Held {
        /// Why.
        reason: String,
    },
    /// It failed before any traffic moved. The live slot was not touched.
    Aborted {
        /// Why.
        cause: String,
    },
    /// It failed after traffic had moved, and all traffic is back on the old slot, as the router confirmed. Whether the public
    /// address answers was not asked.
    RolledBack {
        /// Why.
        cause: String,
    },
    /// It failed after traffic had moved, and there was nothing to go back to: traffic stays on the new slot. Also a restore
    /// that failed: nothing of it is undone.
    Kept {
        /// Why.
        cause: String,
    },
    /// It failed after the contract phase had begun, which the old release cannot live with: nothing was moved.
    Frozen {
        /// Why.
        cause: String,
    },
    /// It failed, and undoing it failed too. A person has to act.
    Stuck {
        /// Why the operation failed.
        cause: String,
        /// Why the undo failed.
        undo: String,
        /// What a person has to do.
        advice: String,
    },
}

impl Outcome {
    /// The names of all outcomes, as [`name`](Self::name) gives them.
    pub const NAMES: [&str; 8] = ["succeeded", "refused", "held", "aborted", "rolled-back", "kept", "frozen", "stuck"];

    /// Its name, as in JSON.
    pub fn name(&self) -> &'static str {
        let index = match self {
            Self::Succeeded => 0,
            Self::Refused { .. } => 1,
            Self::Held { .. } => 2,
            Self::Aborted { .. } => 3,
            Self::RolledBack { .. } => 4,
            Self::Kept { .. } => 5,
            Self::Frozen { .. } => 6,
            Self::Stuck { .. } => 7,
        };
        Self::NAMES[index]
    }

    /// Whether what was asked for is done.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// One word for tables: `succeeded`, `rolled back`, ...
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Refused { .. } => "refused",
            Self::Held { .. } => "held",
            Self::Aborted { .. } => "aborted",
            Self::RolledBack { .. } => "rolled back",
            Self::Kept { .. } => "failed, kept",
            Self::Frozen { .. } => "frozen",
            Self::Stuck { .. } => "STUCK",
        }
    }

    /// What it means for the traffic, without the cause. `live` is the slot that has all traffic, where that is known.
    pub fn headline(&self, kind: OperationKind, live: Option<Slot>) -> String {
        match self {
            Self::Succeeded => "succeeded".to_owned(),
            Self::Refused { .. } => "refused; nothing was changed".to_owned(),
            Self::Held { .. } => "held; traffic stays where it is".to_owned(),
            Self::Aborted { .. } if kind == OperationKind::Recover => "undone; no traffic had moved".to_owned(),
            Self::Aborted { .. } => "aborted before any traffic moved".to_owned(),
            Self::RolledBack { .. } => {
                let live = live.map_or_else(|| "the old slot".to_owned(), |slot| slot.to_string());
                format!("rolled back; all traffic is on {live}")
            }
            Self::Kept { .. } => "failed with nothing to go back to; traffic stays where it is".to_owned(),
            Self::Frozen { .. } => "failed after the contract phase had begun; nothing was moved".to_owned(),
            Self::Stuck { .. } => "STUCK; a person has to act".to_owned(),
        }
    }

    /// Why it ended that way; `None` after a success.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Succeeded => None,
            Self::Refused { reason } | Self::Held { reason } => Some(reason),
            Self::Aborted { cause }
            | Self::RolledBack { cause }
            | Self::Kept { cause }
            | Self::Frozen { cause }
            | Self::Stuck { cause, .. } => Some(cause),
        }
    }
}

/// The headline and the cause on one line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline(OperationKind::Deploy, None))?;
        if let Some(cause) = self.cause() {
            write!(f, ": {cause}")?;
        }
        match self {
            Self::Stuck { undo, .. } => write!(f, "; undoing it failed: {undo}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_has_one_name_here_and_in_json() {
        for name in Outcome::NAMES {
            let fields = r#""reason": "", "cause": "", "undo": "", "advice": """#;
            let outcome: Outcome = serde_json::from_str(&format!(r#"{{"outcome": "{name}", {fields}}}"#)).unwrap();
            assert_eq!(outcome.name(), name);
        }
    }
}
