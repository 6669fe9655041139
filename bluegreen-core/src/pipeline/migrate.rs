//! Running one phase of migrations on its own.

use super::course::{Course, refuse_divided};
use super::deploy::contract;
use super::session::{Halt, Session};
use crate::error::Error;
use crate::migrator::Phase;
use crate::state::{SlotStatus, State, Step};
use crate::types::Slot;

/// Expands for the release in the given slot; without one, for the staged release if there is one, or else the live one.
/// Contracts for the live one.
pub(super) async fn migrate(session: &mut Session, phase: Phase, slot: Option<Slot>) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let Some(migrator) = parts.migrator.clone() else {
        return Err(Halt::Refused(Error::config("the pipeline has no migrator: call `.migrator(...)` on the builder")));
    };
    let seen = session.observe().await?;
    let state = session.ledger.state().await;
    let staged = Slot::BOTH.into_iter().find(|slot| state.slot(*slot).status == SlotStatus::Staged);
    let slot = match phase {
        Phase::Expand => slot.or(staged).or(seen.live),
        Phase::Contract => {
            refuse_divided(&seen).map_err(Halt::Refused)?;
            seen.live
        }
    };
    let Some(slot) = slot else {
        let error =
            Error::new(crate::ErrorKind::NotFound, "no release is live or staged, so there is none to migrate for");
        return Err(Halt::Refused(error.trying(format!("migrate ({phase})"))));
    };
    let course = Course::to_slot(&parts, &session.id, &state, &seen, slot).map_err(Halt::Refused)?;
    session.narrator.about(Some(course.target.version()), slot);
    match phase {
        Phase::Contract => contract(session, &course).await,
        Phase::Expand => {
            let target = session.narrator.watch(course.target);
            let aim = |state: &mut State| {
                if let Some(operation) = &mut state.operation {
                    operation.target = slot;
                }
            };
            let work = migrator.migrate(phase, &target);
            session.begun_step(Step::Migrate, parts.settings.migrate_limit, aim, work).await
        }
    }
}
