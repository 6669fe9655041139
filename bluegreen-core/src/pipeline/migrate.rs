//! Running one phase of migrations on its own.

use super::route::{Route, last_live, refuse_divided};
use super::session::{Halt, Session};
use super::steps::{contract, no_migrator};
use crate::error::{Error, ErrorKind};
use crate::migrator::Phase;
use crate::state::{SlotStatus, Step};
use crate::types::Slot;

/// Expands for the release in the given slot; without one, for the staged release if there is one, or else the live one.
/// Contracts for the live one.
pub(super) async fn migrate(session: &mut Session, phase: Phase, slot: Option<Slot>) -> Result<(), Halt> {
    let context = session.context.clone();
    let migrator = context.migrator.as_ref().ok_or_else(|| Halt::Refused(no_migrator()))?;
    let seen = session.observe().await?;
    let state = session.lease.state().await;
    let staged = Slot::BOTH.into_iter().find(|slot| state.slot(*slot).status == SlotStatus::Staged);
    let slot = match phase {
        Phase::Expand => slot.or(staged).or(seen.live),
        Phase::Contract => {
            refuse_divided(&state, &seen).map_err(Halt::Refused)?;
            seen.live
        }
    };
    let Some(slot) = slot else {
        let none = match phase {
            Phase::Expand => "no release is live or staged, so there is none to expand for",
            Phase::Contract => "no release is live, so there is none to contract for",
        };
        let error = Error::new(ErrorKind::NotFound, none).not_applied();
        return Err(Halt::Refused(error.with_hint(match last_live(&state, &seen) {
            Some(last) => format!("`restore` gives {last} its traffic back"),
            None => "deploy a release first".to_owned(),
        })));
    };
    seen.in_reach(slot).map_err(Halt::Refused)?;
    let target = Route::to_slot(&context, &session.id, &state, &seen, slot).map_err(Halt::Refused)?.target;
    session.aim(slot, Some(target.version()), None).await;
    match phase {
        Phase::Contract => contract(session, &target).await,
        Phase::Expand => {
            let target = session.reporter.watch(target);
            session.step(Step::Migrate, migrator.migrate(phase, &target)).await
        }
    }
}
