//! What changes behind the deployers' backs.

use std::time::Duration;

use bluegreen_core::{Slot, Split, Version};

use super::stage::Stage;
use crate::world::{service, version};

#[derive(Debug, Clone, Copy)]
pub(super) enum Drift {
    /// Somebody switches the router: to a slot, to both, to nothing.
    Switch(u8),
    /// What is in a slot ends.
    Crash(Slot),
    /// A part of what is in a slot ends.
    Degrade(Slot),
    /// A restart policy brings back what was in a slot.
    ComeBack(Slot),
    /// Somebody puts another release into a slot.
    Replace(Slot),
    /// The machine of a slot is gone.
    Away(Slot),
    /// It is back, with what ran on it.
    Back(Slot),
    /// What is in a slot is not healthy any more.
    Sicken(Slot),
    /// The files of the release in a slot are lost: it cannot be started again.
    Discard(Slot),
    /// Somebody deletes the state document.
    LoseRecord,
    /// So many seconds pass.
    Wait(u64),
}

impl Drift {
    /// Lets it happen at once.
    pub(super) fn happen(self, stage: &Stage) {
        let world = &stage.world;
        let version = |slot: Slot| world.runtime.instance(slot).version().cloned();
        match self {
            Self::Switch(code) => world.router.switch_by_hand(match code {
                0 => Some(Split::all(Slot::Blue)),
                1 => Some(Split::all(Slot::Green)),
                2 => Split::toward(Slot::Green, 10).ok(),
                3 => Split::toward(Slot::Green, 50).ok(),
                _ => None,
            }),
            Self::Crash(slot) if world.runtime.instance(slot).is_running() => {
                world.runtime.crash(slot, "exit status 1")
            }
            Self::Degrade(slot) if world.runtime.instance(slot).is_running() => {
                world.runtime.degrade(slot, "one of two")
            }
            Self::ComeBack(slot) => {
                if let Some(version) = version(slot) {
                    world.runtime.start_by_hand(slot, version);
                }
            }
            Self::Replace(slot) => world.runtime.start_by_hand(slot, by_hand()),
            Self::Away(slot) => world.runtime.set_reachable(slot, false),
            Self::Back(slot) => world.runtime.set_reachable(slot, true),
            Self::Sicken(slot) => stage.sicken(version(slot)),
            Self::Discard(slot) => {
                if let Some(version) = version(slot) {
                    world.runtime.discard(&version);
                }
            }
            Self::LoseRecord => world.store.lose(&service()),
            Self::Crash(_) | Self::Degrade(_) | Self::Wait(_) => {}
        }
    }

    /// Lets it happen, with the time that it takes.
    pub(super) async fn pass(self, stage: &Stage) {
        if let Self::Wait(seconds) = self {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        self.happen(stage);
    }
}

fn by_hand() -> Version {
    version("by-hand")
}
