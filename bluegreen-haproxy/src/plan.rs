//! [`plan`]: the commands that make a split.

use std::collections::VecDeque;

use bluegreen_core::{Error, ErrorKind, PerSlot, Result, Slot, Split};

use crate::command::{Command, State};
use crate::park::Park;
use crate::seen::Seen;
use crate::server::Server;
use crate::weights::weights_for;

/// The commands that are missing between what was seen and the split; `None` routes nothing. What gets more traffic comes first, what
/// gets less comes later, and what gets none any more comes last: between any two commands somebody takes the requests.
///
/// # Errors
/// `NotFound` when a slot with a share uses no server.
pub(crate) fn plan(seen: &Seen, to: Option<Split>, park: Park) -> Result<Vec<Command>> {
    let shares = PerSlot::from_fn(|slot| to.is_some_and(|to| to.routes_to(slot)));
    if let Some(slot) = Slot::BOTH.into_iter().find(|slot| shares[*slot] && seen.attached(*slot).next().is_none()) {
        return Err(Error::new(ErrorKind::NotFound, format!("nothing is attached to {slot}"))
            .not_applied()
            .with_hint("all its servers have weight 0: `attach` the slot, or give them a weight"));
    }
    let weights = match to {
        Some(to) => weights_for(to, PerSlot::from_fn(|slot| seen.attached(slot).count())),
        None => PerSlot::default(),
    };
    let mut weights = weights.map(VecDeque::from);
    let (mut more, mut less, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for slot in Slot::BOTH {
        for server in seen.of(slot) {
            let weight = if shares[slot] && server.is_attached() { weights[slot].pop_front() } else { None };
            match weight {
                Some(weight) if server.is_routed() && weight < server.weight => {
                    less.push(Command::SetWeight(server.name.clone(), weight));
                }
                Some(weight) => {
                    if weight != server.weight {
                        more.push(Command::SetWeight(server.name.clone(), weight));
                    }
                    if !server.is_routed() {
                        more.push(Command::SetState(server.name.clone(), State::Ready));
                    }
                }
                None if !is_parked(server, park) => none.push(Command::SetState(server.name.clone(), park.state())),
                None => {}
            }
        }
    }
    Ok([more, less, none].concat())
}

/// What is never used needs no check, and so stays out altogether.
fn is_parked(server: &Server, park: Park) -> bool {
    server.state() == park.state() || (!server.is_attached() && server.state() == State::Maintenance)
}
