//! What a start accepted of single containers, which would look like a fault to a later look: restarts until a database was
//! there, and the end of what was taken for a job.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Result, Slot};
use serde::{Deserialize, Serialize};

use super::container::Container;
use super::records::StateDirectory;
use crate::labels;

/// By the ids of containers, so that what an earlier start noted says nothing of later ones.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartNotes {
    /// How often each had been restarted when the slot was ready.
    restarts: BTreeMap<String, i64>,
    /// Which had ended with success.
    ended: BTreeSet<String>,
}

impl StartNotes {
    /// What there is to note of these.
    pub(crate) fn of(containers: &[Container]) -> Self {
        let restarted = containers.iter().filter(|container| container.restarts > 0);
        // What only the live slot runs is stopped in the other one, and that says nothing of its end in the live one.
        let rests = |container: &Container| container.label(labels::ONLY_WHILE_LIVE).is_some();
        let ended = containers.iter();
        let ended = ended.filter(|container| container.is_done() && !container.is_job() && !rests(container));
        Self {
            restarts: restarted.map(|container| (container.id.clone(), container.restarts)).collect(),
            ended: ended.map(|container| container.id.clone()).collect(),
        }
    }

    /// Writes nothing where there is nothing to be forgiven.
    pub(crate) async fn write(&self, records: &StateDirectory, slot: Slot) -> Result<()> {
        if self.restarts.is_empty() && self.ended.is_empty() {
            return Ok(());
        }
        records.write(&file(slot), &serde_json::to_vec(self).unwrap_or_default()).await
    }

    /// Takes what was accepted for what it is. Reads nothing where there is nothing of the kind.
    pub(crate) async fn apply(records: &StateDirectory, slot: Slot, containers: &mut [Container]) -> Result<()> {
        let is_noted = |container: &Container| container.restarts > 0 || (container.is_done() && !container.is_job());
        if !containers.iter().any(is_noted) {
            return Ok(());
        }
        let notes = records.read(&file(slot)).await?;
        let notes: Self = notes.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        for container in containers {
            container.was_restarted_at_start = notes.restarts.get(&container.id) == Some(&container.restarts);
            container.was_done_at_start = notes.ended.contains(&container.id);
        }
        Ok(())
    }
}

fn file(slot: Slot) -> String {
    format!("{slot}.start.json")
}
