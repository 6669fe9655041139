//! Looking at the address, with what this process knows of moves that are still under way.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Reason, Result, Split};

use super::provider::{ActionState, AddressProvider, Holder, Observed, Transition};
use crate::pending::{Asked, Pending};

/// What the provider shows. A holder that may change because of a move that was asked for and cut off is not settled.
pub(super) async fn look(provider: &dyn AddressProvider, pending: &Pending, grace: Duration) -> Result<Observed> {
    let mut seen = provider.observe().await?;
    let Some(asked) = pending.get().filter(|_| seen.transition == Transition::Settled) else { return Ok(seen) };
    if seen.is_settled_at(asked.to) {
        pending.clear();
        return Ok(seen);
    }
    let failed = match &asked.action {
        None => false,
        Some(action) => match provider.poll(action).await {
            Ok(ActionState::Running) => return Ok(still_pending(seen, &asked)),
            state => {
                // It may have ended between the look and the poll.
                seen = provider.observe().await?;
                matches!(state, Ok(ActionState::Failed(_)))
            }
        },
    };
    let may_show_up = !failed && seen.transition == Transition::Settled && !seen.is_settled_at(asked.to);
    if may_show_up && asked.is_within(grace) {
        return Ok(still_pending(seen, &asked));
    }
    pending.clear();
    Ok(seen)
}

fn still_pending(seen: Observed, asked: &Asked) -> Observed {
    Observed { transition: Transition::Pending(asked.words()), ..seen }
}

/// The split that a holder stands for.
pub(super) fn split_of(holder: &Holder) -> Result<Option<Split>> {
    match holder {
        Holder::Slot(slot) => Ok(Some(Split::all(*slot))),
        Holder::Nobody => Ok(None),
        Holder::Other(_) => Err(Error::new(ErrorKind::Conflict, format!("the address is with {holder}"))
            .with_reason(Reason::ChangedElsewhere)
            .not_applied()
            .with_hint("somebody else moved it: find out why, and assign it to blue or green by hand")),
        Holder::Both => Err(Error::new(ErrorKind::Conflict, format!("the address is with {holder}"))
            .with_reason(Reason::ChangedElsewhere)
            .not_applied()
            .with_hint(
                "take it from the one that should not have it, as root: `ip address del ADDRESS dev INTERFACE`",
            )),
    }
}
