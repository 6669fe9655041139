//! Trying a part of an undo again: it can be repeated without harm, and giving up needs a person.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::defaults::UNDO_PAUSE;
use super::session::{Halt, Session};
use crate::duration_text::short;
use crate::error::{Error, ErrorKind};
use crate::event::EventKind;

/// The pauses between the tries of one part of an undo: they grow, and end when the time for it is over.
pub(super) struct Retry {
    pause: Duration,
    /// Counted from the first failure: a try that hung for its whole limit is repeated too.
    gives_up: Option<Instant>,
}

impl Retry {
    pub(super) fn new(session: &Session) -> Self {
        Self { pause: session.context.settings.check_interval.min(UNDO_PAUSE), gives_up: None }
    }

    /// Waits for the next try, and says so. The error, when there is none: it cannot pass, or the time is over.
    pub(super) async fn after(&mut self, session: &Session, error: Error) -> Result<(), Halt> {
        let now = Instant::now();
        let gives_up = *self.gives_up.get_or_insert(now + session.context.settings.undo_timeout);
        let left = gives_up.saturating_duration_since(now);
        if left.is_zero() || !may_pass(&error) {
            return Err(Halt::Failed(error));
        }
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(UNDO_PAUSE);
        let text =
            format!("the undo is tried again in {}, and given up in {}: {}", short(pause), short(left), error.chain());
        session.reporter.say(EventKind::Note { text });
        tokio::select! {
            biased;
            () = session.lease.lost() => Err(Halt::Lost(session.lease.gone("it was lost during an undo"))),
            () = sleep(pause) => Ok(()),
        }
    }
}

/// Whether it may go away by itself. What nobody knows the nature of is tried again, as a command is whose engine restarts.
fn may_pass(error: &Error) -> bool {
    error.is_retryable() || matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Unexpected)
}
