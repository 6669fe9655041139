//! What is said over the control socket: one line of JSON each way.

use bluegreen_core::{Effect, Error, ErrorKind, Reason, ServiceName, Slot, Split, Version};
use serde::{Deserialize, Serialize};

use super::address::Address;

/// The longest line either side accepts.
pub(crate) const LONGEST_LINE: u64 = 16 << 10;

/// What is asked of the proxy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Ask {
    Current,
    Attach {
        slot: Slot,
        address: Address,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Version>,
    },
    Shift {
        from: Option<Split>,
        to: Split,
    },
    InFlight {
        slot: Slot,
    },
    Counts {
        slot: Slot,
    },
    /// Nothing but whether the proxy is the service's.
    Whose,
}

/// A question, and the service that it is asked for, where that is known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    #[serde(flatten)]
    pub(crate) ask: Ask,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<ServiceName>,
}

/// What the proxy answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    Current { split: Option<Split> },
    InFlight { count: u64 },
    Counts { run: String, answered: u64, failed: u64 },
    Refused(Refused),
}

/// An error on its way to the other process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    kind: String,
    applied: bool,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

impl From<&Error> for Refused {
    fn from(error: &Error) -> Self {
        let applied = error.effect() == Effect::Unknown;
        Self { kind: error.kind().to_string(), applied, message: error.chain(), reason: error.reason() }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        const KINDS: [ErrorKind; 6] = [
            ErrorKind::Config,
            ErrorKind::NotFound,
            ErrorKind::Conflict,
            ErrorKind::Unauthorized,
            ErrorKind::Unsupported,
            ErrorKind::Corrupt,
        ];
        let kind = KINDS.into_iter().find(|kind| kind.to_string() == refused.kind).unwrap_or(ErrorKind::Unexpected);
        let error = Error::new(kind, refused.message);
        let error = match refused.reason {
            Some(reason) => error.with_reason(reason),
            None => error,
        };
        if refused.applied { error.maybe_applied() } else { error.not_applied() }
    }
}
