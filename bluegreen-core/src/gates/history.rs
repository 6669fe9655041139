//! What the old slot's bad requests were like before the deploy.

use std::time::Duration;

use tokio::time::Instant;

use crate::gates::block::Block;
use crate::gates::dispersion::Dispersion;
use crate::gates::tally::{Sum, Tally};
use crate::metric::Sample;
use crate::types::OperationId;

/// Learns from readings of the old slot.
#[derive(Debug)]
pub(super) struct History {
    pub(super) operation: OperationId,
    pub(super) dispersion: Dispersion,
    tally: Tally,
    block: Block,
    read_at: Option<Instant>,
}

impl History {
    pub(super) fn new(operation: OperationId) -> Self {
        Self {
            operation,
            dispersion: Dispersion::default(),
            tally: Tally::default(),
            block: Block::default(),
            read_at: None,
        }
    }

    /// Enters a reading. One without data, or that cannot be trusted, teaches nothing.
    pub(super) fn enter(&mut self, sample: &Sample) {
        let Sample::Data(series) = sample else { return };
        let now = Instant::now();
        let span = self.read_at.replace(now).map_or(Duration::ZERO, |before| now - before);
        let (counted, doubt) = self.tally.read(series);
        if doubt.is_some() {
            return;
        }
        self.block.new.add(counted.unwrap_or_default());
        self.block.span += span;
        if self.block.is_whole() {
            let block = std::mem::take(&mut self.block);
            self.dispersion.add(block.new, block.span);
        }
    }
}
