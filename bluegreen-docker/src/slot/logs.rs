//! What the containers of a slot wrote; also after they are gone.

use bluegreen_core::{Error, Mask, Result, Slot};
use serde::{Deserialize, Serialize};

use super::container::Container;
use super::container_log::{Line, of_container};
use super::records::StateDirectory;
use super::slots::Slots;
use crate::engine::Engine;
use crate::labels;

/// How many lines of each container are kept when it is removed.
const KEPT: usize = 1000;

/// The file with what a slot's containers wrote until they were removed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// By container, so that a removal which was cut off adds the rest.
    containers: Vec<KeptContainer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptContainer {
    id: String,
    /// Of the compose file.
    #[serde(default)]
    service: String,
    /// The version, and the operation that started it.
    occupant: String,
    lines: Vec<Line>,
}

/// The last lines of a slot, or of one service of it, oldest first.
pub(crate) async fn of_slot(slots: &Slots, slot: Slot, service: Option<&str>, tail: usize) -> Result<Vec<String>> {
    let Slots { engine, records, mask, .. } = slots;
    if tail == 0 {
        return Ok(Vec::new());
    }
    let containers = slots.services(slot).await?;
    let is_wanted = |name: &str| service.is_none_or(|service| service == name);
    let mut lines = Vec::new();
    if containers.is_empty() {
        let kept = kept(records, slot).await?.containers.into_iter().filter(|container| is_wanted(&container.service));
        lines.extend(kept.flat_map(|container| container.lines));
    }
    for container in containers.iter().filter(|container| is_wanted(&container.service)) {
        let of_one = of_container(engine, mask, &container.id, tail).await?;
        let title = container.title(&containers);
        lines.extend(of_one.into_iter().map(|line| Line { from: title.clone(), ..line }));
    }
    lines.sort_by(|one, other| one.at.cmp(&other.at));
    let last = lines.split_off(lines.len().saturating_sub(tail));
    Ok(last.into_iter().map(|line| format!("{} | {}", line.from, line.text)).collect())
}

/// Writes down what containers wrote, before they are removed.
pub(crate) async fn keep(
    engine: &Engine,
    mask: &Mask,
    state: &StateDirectory,
    slot: Slot,
    containers: &[Container],
) -> Result<()> {
    let occupant = |container: &Container| {
        let label = |name| container.label(name).unwrap_or_default();
        format!("{} of {}", label(labels::VERSION), label(labels::OPERATION))
    };
    let Some(current) = containers.first().map(occupant) else { return Ok(()) };
    let mut kept = kept(state, slot).await.unwrap_or_default();
    let is_here = |id: &str| containers.iter().any(|container| container.id == id);
    kept.containers.retain(|before| before.occupant == current && !is_here(&before.id));
    for container in containers {
        let lines = of_container(engine, mask, &container.id, KEPT).await?.into_iter();
        let title = container.title(containers);
        let lines = lines.map(|line| Line { from: title.clone(), ..line }).collect();
        let (id, service) = (container.id.clone(), container.service.clone());
        kept.containers.push(KeptContainer { id, service, occupant: occupant(container), lines });
    }
    let text = serde_json::to_vec(&kept).unwrap_or_default();
    state.write(&file(slot), &text).await
}

fn file(slot: Slot) -> String {
    format!("{slot}.log.json")
}

async fn kept(state: &StateDirectory, slot: Slot) -> Result<Kept> {
    match state.read(&file(slot)).await? {
        // It is a help to a person, and nothing depends on it.
        Some(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        None => Ok(Kept::default()),
    }
}

/// For messages of errors that must not hide the first one.
pub(crate) fn not_kept(error: &Error) {
    tracing::warn!(error = %error.chain(), "what the containers wrote is not kept");
}
