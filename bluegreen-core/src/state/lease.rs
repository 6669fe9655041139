use serde::{Deserialize, Serialize};

use crate::types::{OperationId, Timestamp};

/// The deploy lock of a service: one holder, proven alive by a counter that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Tells this claim from any other, should the answer to the claiming write be lost.
    pub id: OperationId,
    /// Who holds it: user, host, process.
    pub holder: String,
    /// The holder's number; a later holder has a higher one.
    pub epoch: u64,
    /// Moved by the holder several times per ttl. A contender that sees it stand still for a whole ttl, by its own
    /// monotonic clock, may take over; nobody's wall clock is trusted.
    pub heartbeat: u64,
    /// How long the counter may stand still, in milliseconds.
    pub ttl_millis: u64,
    /// When it was claimed, for people.
    pub since: Timestamp,
}
