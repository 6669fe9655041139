use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::Split;

/// What became of one member of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MemberChange {
    /// It failed, and the operation goes on without it.
    SetAside {
        /// What was tried on it and what came back.
        reason: String,
    },
    /// It is up to date, and takes part again.
    Rejoined,
    /// Its own router has confirmed a new split.
    Switched {
        /// The split now.
        to: Split,
    },
}

impl fmt::Display for MemberChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAside { reason } => write!(f, "set aside: {reason}"),
            Self::Rejoined => f.write_str("is up to date, and takes part again"),
            Self::Switched { to } => write!(f, "switched: {to}"),
        }
    }
}
