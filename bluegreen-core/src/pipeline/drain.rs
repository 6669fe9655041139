//! Waiting for the requests in flight on a slot that lost its traffic.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::defaults::OBSERVE_LIMIT;
use super::session::{Halt, Session};
use crate::event::What;
use crate::state::Step;
use crate::types::Slot;

/// Between two looks at what is in flight: a drain is over within a tenth of a second of its last request.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until nothing is in flight on the slot, for as long as a drain may take; then says what is left, and goes on.
/// Where the router cannot count, the whole time is waited.
pub(super) async fn step(session: &mut Session, step: Step, slot: Slot) -> Result<(), Halt> {
    let (parts, narrator) = (session.parts.clone(), session.narrator.clone());
    let drain = parts.settings.drain;
    let deadline = Instant::now() + drain;
    let work = async {
        loop {
            // Not knowing what is in flight is no reason to undo anything: the whole time is waited then.
            let look = timeout(parts.settings.check_timeout, parts.router.in_flight(slot)).await;
            let in_flight = look.ok().and_then(Result::ok).flatten();
            narrator.say(What::Draining { in_flight });
            let left = deadline.saturating_duration_since(Instant::now());
            match in_flight {
                Some(0) => {
                    narrator.detail(format!("nothing in flight on {slot}"));
                    return Ok(());
                }
                Some(count) if left.is_zero() => {
                    let text = format!("{count} requests still in flight on {slot} after {drain:?}");
                    narrator.detail(text.clone());
                    narrator.note(text);
                    return Ok(());
                }
                None if left.is_zero() => {
                    narrator.detail(format!("the router cannot count requests: waited {drain:?}"));
                    return Ok(());
                }
                Some(_) => sleep(LOOK_EVERY.min(left)).await,
                None => sleep(Duration::from_secs(1).min(left)).await,
            }
        }
    };
    session.step(step, drain + OBSERVE_LIMIT, work).await
}
