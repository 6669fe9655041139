use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::types::{Clock, Timestamp};

/// Absolute time that begins on 1 January 2030 and follows tokio's clock, paused or not.
#[derive(Debug, Clone, Copy)]
pub struct PausedClock {
    origin: Instant,
}

impl PausedClock {
    /// A clock that begins now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for PausedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        const JANUARY_2030: Duration = Duration::from_secs(1_893_456_000);
        Timestamp::from_system(SystemTime::UNIX_EPOCH + JANUARY_2030 + self.origin.elapsed())
    }
}
