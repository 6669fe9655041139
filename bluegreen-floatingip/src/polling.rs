//! How long is waited for a provider, and how often it is asked.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Default for a whole switch: 180 s. Clouds take seconds, and on a bad day minutes. Below the five minutes that
/// the pipeline gives a shift.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(180);

/// Default span from which the time between two polls is drawn at random: 1 s to 3 s, which is 30 polls a minute where
/// 250 are allowed.
pub const DEFAULT_POLL_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// Default time for a call to show up whose answer was lost: 15 s. After that, a holder that is unchanged and not busy means that the
/// call never arrived.
pub const DEFAULT_LOST_REPLY: Duration = Duration::from_secs(15);

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
        Self { deadline: DEFAULT_DEADLINE, poll_every: DEFAULT_POLL_EVERY, lost_reply: DEFAULT_LOST_REPLY }
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

/// The setters of the builder of every router that switches at a provider.
macro_rules! polling_setters {
    () => {
        /// How long a shift may take before its outcome counts as unknown. Default: 180 s
        /// ([`DEFAULT_DEADLINE`](crate::DEFAULT_DEADLINE)). Keep it below the pipeline's limit for a shift.
        pub fn deadline(mut self, deadline: std::time::Duration) -> Self {
            self.polling.deadline = deadline;
            self
        }

        /// How long to wait between two polls, drawn at random from this span. Default: 1 s to 3 s
        /// ([`DEFAULT_POLL_EVERY`](crate::DEFAULT_POLL_EVERY)).
        pub fn poll_every(mut self, least: std::time::Duration, most: std::time::Duration) -> Self {
            self.polling.poll_every = (least, most);
            self
        }

        /// How long a change that was cut off, or whose answer was lost, is given to show up before what is seen counts.
        /// Default: 15 s ([`DEFAULT_LOST_REPLY`](crate::DEFAULT_LOST_REPLY)).
        pub fn lost_reply(mut self, wait: std::time::Duration) -> Self {
            self.polling.lost_reply = wait;
            self
        }
    };
}

pub(crate) use polling_setters;
