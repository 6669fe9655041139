//! Looking at the address, with what this process knows of moves that are still under way.

use std::time::Duration;

use bluegreen_core::Result;

use super::provider::{ActionState, AddressProvider, Motion, Observed};
use crate::outstanding::{Asked, Outstanding};

/// What the provider shows. A holder that may change because of a move that was asked for and cut off is not settled.
pub(super) async fn look(
    provider: &dyn AddressProvider,
    outstanding: &Outstanding,
    grace: Duration,
) -> Result<Observed> {
    let mut seen = provider.observe().await?;
    let Some(asked) = outstanding.get().filter(|_| seen.motion == Motion::Settled) else { return Ok(seen) };
    if seen.is_settled_at(asked.to) {
        outstanding.clear();
        return Ok(seen);
    }
    let failed = match &asked.action {
        None => false,
        Some(action) => match provider.poll(action).await {
            Ok(ActionState::Running) => return Ok(pending(seen, &asked)),
            state => {
                // It may have ended between the look and the poll.
                seen = provider.observe().await?;
                matches!(state, Ok(ActionState::Failed(_)))
            }
        },
    };
    let may_show_up = !failed && seen.motion == Motion::Settled && !seen.is_settled_at(asked.to);
    if may_show_up && asked.is_within(grace) {
        return Ok(pending(seen, &asked));
    }
    outstanding.clear();
    Ok(seen)
}

fn pending(seen: Observed, asked: &Asked) -> Observed {
    Observed { motion: Motion::Pending(asked.words()), ..seen }
}
