//! Promoting what was staged before, or going on with a promotion that was held.

use super::deploy::{finalize, promote};
use super::observe::Observed;
use super::route::{Route, if_divided, last_live, may_promote, refused};
use super::session::{Halt, Session};
use super::{health, verify};
use crate::error::{Error, ErrorKind, Reason};
use crate::state::{SlotStatus, State};
use crate::types::Slot;

/// Moves traffic to the staged slot. The slot that it leaves need not be in reach.
pub(super) async fn promote_staged(session: &mut Session) -> Result<(), Halt> {
    let context = session.context.clone();
    let seen = session.observe().await?;
    let state = session.lease.state().await;
    let staged = staged(&state, &seen);
    if staged.is_err()
        && let Some(route) = Route::held_at_all(&context, &session.id, &state, &seen)
    {
        return confirm_held(session, route).await;
    }
    let slot = staged.map_err(Halt::Refused)?;
    let route = Route::to_slot(&context, &session.id, &state, &seen, slot).map_err(Halt::Refused)?;
    if let Some(fleet) = &context.fleet {
        fleet.admit().map_err(Halt::Refused)?;
    }
    session.set_route(route.clone()).await;

    // It may have been staged long ago: it must be healthy now.
    health::step(session, &route.target).await?;
    promote(session, &route).await?;
    finalize(session, &route).await
}

/// Goes on where a promotion was held with all traffic moved: sees the release answer at the public address, and makes it
/// final.
async fn confirm_held(session: &mut Session, route: Route) -> Result<(), Halt> {
    session.set_route(route.clone()).await;
    session.reporter.note(format!("{} has all traffic, and was not confirmed yet", route.target.slot));
    health::step(session, &route.target).await?;
    verify::confirm(session, &route.target).await?;
    finalize(session, &route).await
}

fn staged(state: &State, seen: &Observed) -> Result<Slot, Error> {
    let live = last_live(state, seen);
    let out = seen.live.filter(|_| seen.is_divided()).map(|live| if_divided(state, seen, live));
    let Some(slot) = Slot::BOTH.into_iter().find(|slot| seen.slot(*slot).is_running() && live != Some(*slot)) else {
        let error = nothing_staged(state, seen);
        return Err(match out {
            Some(out) => error.with_hint(out),
            None => error.with_hint("`stage` brings a release up in the idle slot, `deploy` does all at once"),
        });
    };
    if state.slot(slot).status == SlotStatus::Retained {
        let what = format!("{slot} holds the release that was live before");
        let advice = out.unwrap_or_else(|| if_retained(state, seen, live));
        return Err(refused(Reason::AlreadyRetained, what, advice));
    }
    if !may_promote(state, slot) {
        let what = format!("the contract phase has run, and nobody knows whether what is in {slot} is from before it");
        let advice = "deploy a release that can live with the data as they are; `retire_now` stops what is there";
        return Err(refused(Reason::ContractHasRun, what, out.unwrap_or_else(|| advice.to_owned())));
    }
    Ok(slot)
}

fn if_retained(state: &State, seen: &Observed, live: Option<Slot>) -> String {
    match (seen.live, live) {
        _ if !state.rollback_safe => {
            "the contract phase has run, so `rollback` refuses too: deploy a release that can \
                                      live with the data as they are"
                .to_owned()
        }
        (Some(_), _) => "`rollback` brings it back".to_owned(),
        (None, Some(last)) => {
            format!("`restore` gives {last} its traffic back, and `rollback` then brings this one back")
        }
        (None, None) => "`retire_now` and deploy it again".to_owned(),
    }
}

fn nothing_staged(state: &State, seen: &Observed) -> Error {
    let down = Slot::BOTH.into_iter().find(|slot| state.slot(*slot).status == SlotStatus::Staged);
    let what = match down {
        Some(slot) => format!("nothing is staged: {slot} was, and is {}", seen.slot(slot)),
        None => "nothing is staged".to_owned(),
    };
    Error::new(ErrorKind::NotFound, what).with_reason(Reason::NothingStaged).not_applied()
}
