//! How long is waited for a provider, and how often it is asked.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// For a whole switch, unless set otherwise: clouds take seconds, and on a bad day minutes. Below the five minutes that
/// the pipeline gives a shift.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// Between two polls, drawn at random from this span unless set otherwise: 30 polls a minute, where 250 are allowed.
pub const POLL_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// For an answer to show up that was lost on its way: after that, a holder that is unchanged and not busy means that the
/// call never arrived.
pub const LOST_REPLY: Duration = Duration::from_secs(15);

/// For a look while the provider is busy with the address: within the minute that the pipeline gives a look.
pub(crate) const LOOK_TIMEOUT: Duration = Duration::from_secs(45);

#[derive(Debug, Clone)]
pub(crate) struct Polling {
    pub(crate) deadline: Duration,
    pub(crate) poll_every: (Duration, Duration),
    pub(crate) lost_reply: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Self { deadline: DEADLINE, poll_every: POLL_EVERY, lost_reply: LOST_REPLY }
    }
}

impl Polling {
    /// Waits until the next poll is due. False: the deadline comes first, and has passed now.
    pub(crate) async fn pause(&self, deadline: Instant) -> bool {
        let (least, most) = self.poll_every;
        let pause = least + most.saturating_sub(least).mul_f64(fastrand::f64());
        let next = Instant::now() + pause;
        sleep_until(next.min(deadline)).await;
        next < deadline
    }
}

/// The setters of every router that switches at a provider.
macro_rules! polling_setters {
    () => {
        /// How long a shift may take before its outcome counts as unknown; [`DEADLINE`](crate::DEADLINE) unless set. Keep
        /// it below the pipeline's limit for a shift.
        #[must_use]
        pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
            self.polling.deadline = deadline;
            self
        }

        /// How long to wait between two polls, drawn at random from this span; [`POLL_EVERY`](crate::POLL_EVERY) unless set.
        #[must_use]
        pub fn poll_every(mut self, least: std::time::Duration, most: std::time::Duration) -> Self {
            self.polling.poll_every = (least, most);
            self
        }

        /// How long a change that was cut off, or whose answer was lost, is given to show up before what is seen counts;
        /// [`LOST_REPLY`](crate::LOST_REPLY) unless set.
        #[must_use]
        pub fn lost_reply(mut self, wait: std::time::Duration) -> Self {
            self.polling.lost_reply = wait;
            self
        }
    };
}

pub(crate) use polling_setters;
