//! Blocks of time.

use std::time::Duration;

use crate::gates::comparison::Pair;
use crate::metric::Counters;

/// The unit of judgement: what happens within one may depend on each other in any way.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// What the slot counted that is judged.
    pub(super) new: Counters,
    /// What both slots counted at the same time.
    pub(super) both: Pair,
    pub(super) span: Duration,
}

/// A block lasts at least as long as the pauses and outages that are usual: a collection of garbage, a lock, a failover.
const BLOCK_AT_LEAST: Duration = Duration::from_secs(2);

/// ... and holds several bursts of errors in a row, so that few are cut into two that look independent.
const BLOCK_REQUESTS: u64 = 50;

/// ... but with little traffic it ends after this time.
const BLOCK_AT_MOST: Duration = Duration::from_secs(60);

impl Block {
    pub(super) fn is_whole(&self) -> bool {
        let holds_enough = self.new.requests >= BLOCK_REQUESTS && self.span >= BLOCK_AT_LEAST;
        holds_enough || self.span >= BLOCK_AT_MOST
    }
}
