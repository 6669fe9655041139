use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::process_id::ProcessId;
use crate::types::{OperationId, Timestamp};

/// The deploy lock of a service: one holder, proven alive by a counter that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// Tells this claim from any other, should the answer to the claiming write be lost.
    pub id: OperationId,
    /// Who holds it: user, host, process.
    pub holder: String,
    /// The process that holds it, so that a contender on the same machine can tell at once that it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// The holder's number; a later holder has a higher one.
    pub epoch: u64,
    /// Moved by the holder several times per ttl. A contender that sees it stand still for a whole ttl, by its own
    /// monotonic clock, may take over; nobody's wall clock is trusted.
    pub heartbeat: u64,
    /// How long the counter may stand still, in milliseconds.
    pub ttl_millis: u64,
    /// When it was claimed, for people.
    pub since: Timestamp,
    /// Fields of a later minor version.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}
