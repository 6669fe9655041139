//! What the containers of a slot wrote; also after they are gone.

use bluegreen_core::{Error, Result, Slot};
use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use serde::{Deserialize, Serialize};

use super::Inner;
use super::container::Container;
use super::records::StateDirectory;
use crate::engine::{Answer, Engine, READING};
use crate::labels;
use crate::mask::Mask;

/// How many lines of each container are kept when it is removed.
const KEPT: usize = 1000;

/// How much of a line is shown.
const LONGEST: usize = 8 << 10;

/// One line, with the engine's time of it, by which the lines of several containers are put in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) at: String,
    pub(super) from: String,
    pub(super) text: String,
}

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
pub(super) async fn of_slot(inner: &Inner, slot: Slot, service: Option<&str>, tail: usize) -> Result<Vec<String>> {
    let Inner { engine, records, .. } = inner;
    if tail == 0 {
        return Ok(Vec::new());
    }
    let containers = inner.services(slot).await?;
    let is_wanted = |name: &str| service.is_none_or(|service| service == name);
    let mut lines = Vec::new();
    if containers.is_empty() {
        let kept = kept(records, slot).await?.containers.into_iter().filter(|container| is_wanted(&container.service));
        lines.extend(kept.flat_map(|container| container.lines));
    }
    for container in containers.iter().filter(|container| is_wanted(&container.service)) {
        let of_one = of_container(engine, &inner.compose.mask, &container.id, tail).await?;
        let title = container.title(&containers);
        lines.extend(of_one.into_iter().map(|line| Line { from: title.clone(), ..line }));
    }
    lines.sort_by(|one, other| one.at.cmp(&other.at));
    let last = lines.split_off(lines.len().saturating_sub(tail));
    Ok(last.into_iter().map(|line| format!("{} | {}", line.from, line.text)).collect())
}

/// Writes down what containers wrote, before they are removed.
pub(super) async fn keep(
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

/// The last lines of one container, in the order in which they were written.
pub(super) async fn of_container(engine: &Engine, mask: &Mask, id: &str, tail: usize) -> Result<Vec<Line>> {
    let docker = engine.docker().await?;
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).timestamps(true).tail(&tail.to_string());
    let mut chunks = Answer::new(docker.logs(id, Some(options.build())), READING);
    let mut lines = std::collections::VecDeque::new();
    loop {
        let chunk = match chunks.next().await {
            Ok(None) => break,
            Ok(Some(
                LogOutput::StdOut { message } | LogOutput::StdErr { message } | LogOutput::Console { message },
            )) => message,
            Ok(Some(LogOutput::StdIn { .. })) => continue,
            Err(error) => {
                // It was removed meanwhile, or its log driver keeps nothing to be read.
                match error.kind() {
                    bluegreen_core::ErrorKind::NotFound => break,
                    _ if error.message().contains("does not support reading") => break,
                    _ => return Err(error.not_applied().trying("read the log of a container")),
                }
            }
        };
        let line = parse(&chunk);
        // Only then is it cut, lest a part of a secret be left.
        lines.push_back(Line { text: shortened(mask.apply(&line.text)), ..line });
        if lines.len() > tail {
            lines.pop_front();
        }
    }
    Ok(lines.into())
}

/// "2023-11-14T22:13:20.123456789Z what it wrote"
fn parse(chunk: &[u8]) -> Line {
    let text = String::from_utf8_lossy(chunk);
    let text = text.trim_end_matches(['\n', '\r']);
    let (at, text) = text.split_once(' ').unwrap_or((text, ""));
    Line { at: at.to_owned(), from: String::new(), text: text.to_owned() }
}

fn shortened(mut text: String) -> String {
    let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

/// For messages of errors that must not hide the first one.
pub(super) fn not_kept(error: &Error) {
    tracing::warn!(error = %error.chain(), "what the containers wrote is not kept");
}
