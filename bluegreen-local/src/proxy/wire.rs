//! What is said over the control socket: one line of JSON each way.

use bluegreen_core::{Effect, Error, ErrorKind, Slot, Split};
use serde::{Deserialize, Serialize};

use super::address::Address;

/// The longest line either side accepts.
pub(crate) const LONGEST_LINE: u64 = 16 << 10;

/// What is asked of the proxy.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    Current,
    Attach { slot: Slot, address: Address },
    Shift { from: Option<Split>, to: Split },
    InFlight { slot: Slot },
    Counts { slot: Slot },
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
}

impl From<&Error> for Refused {
    fn from(error: &Error) -> Self {
        let applied = error.effect() == Effect::Unknown;
        Self { kind: error.kind().to_string(), applied, message: error.chain() }
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
        if refused.applied { error.maybe_applied() } else { error.not_applied() }
    }
}
