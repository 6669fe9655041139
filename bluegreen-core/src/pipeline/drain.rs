//! Waiting for the requests in flight on a slot that lost its traffic.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::session::{Halt, Session};
use crate::event::EventKind;
use crate::state::Step;
use crate::types::Slot;

/// Between two looks at what is in flight: a drain is over within a tenth of a second of its last request.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until nothing is in flight on the slot, for as long as a drain may take; then says what is left, and goes on.
/// Where the router cannot count, the whole time is waited.
pub(super) async fn step(session: &mut Session, step: Step, slot: Slot) -> Result<(), Halt> {
    let (context, reporter) = (session.context.clone(), session.reporter.clone());
    let drain = context.settings.drain;
    let deadline = Instant::now() + drain;
    let work = async {
        loop {
            // Not knowing what is in flight is no reason to undo anything: the whole time is waited then.
            let look = timeout(context.settings.check_timeout, context.router.in_flight(slot)).await;
            let in_flight = look.ok().and_then(Result::ok).flatten();
            reporter.say(EventKind::Draining { in_flight });
            let left = deadline.saturating_duration_since(Instant::now());
            match in_flight {
                Some(0) => {
                    reporter.detail(format!("nothing in flight on {slot}"));
                    return Ok(());
                }
                Some(count) if left.is_zero() => {
                    let text = format!("{count} requests still in flight on {slot} after {drain:?}");
                    reporter.detail(text.clone());
                    reporter.note(text);
                    return Ok(());
                }
                None if left.is_zero() => {
                    reporter.detail(format!("the router cannot count requests: waited {drain:?}"));
                    return Ok(());
                }
                Some(_) => sleep(LOOK_EVERY.min(left)).await,
                None => sleep(Duration::from_secs(1).min(left)).await,
            }
        }
    };
    session.step(step, work).await
}
