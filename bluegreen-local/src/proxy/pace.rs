//! How a body gets on: since when nothing has moved, and who is to blame.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Whom a transfer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// For more to come.
    Source,
    /// For what came to be taken.
    Sink,
    /// For nobody: all has been dealt with.
    Nobody,
}

/// The progress of one direction. Written by whoever transfers, read by whoever watches the time.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    moved: AtomicU64,
    waiting: AtomicU8,
    refused: AtomicBool,
}

impl Pace {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            moved: AtomicU64::new(0),
            waiting: AtomicU8::new(Waiting::Source as u8),
            refused: AtomicBool::new(false),
        }
    }

    /// Something has moved, and this is what comes next.
    pub(super) fn moved(&self, next: Waiting) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(elapsed, Ordering::Relaxed);
        self.waiting.store(next as u8, Ordering::Relaxed);
    }

    /// Nothing more is passed on: the sink does not take it.
    pub(super) fn refuse(&self) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            self.restart();
        }
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Time is counted anew from here.
    pub(super) fn restart(&self) {
        self.moved(self.waits_for());
    }

    pub(super) fn waits_for(&self) -> Waiting {
        match self.waiting.load(Ordering::Relaxed) {
            value if value == Waiting::Source as u8 => Waiting::Source,
            value if value == Waiting::Sink as u8 => Waiting::Sink,
            _ => Waiting::Nobody,
        }
    }

    /// When it will have been still for this long.
    pub(super) fn still_for(&self, limit: Duration) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed)) + limit
    }
}
