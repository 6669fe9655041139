//! What a person needs to know of containers that make a start fail.

use std::collections::HashMap;

use bluegreen_core::{Error, ErrorKind, Mask, telling_lines};

use super::container::{Container, State};
use super::container_log;
use crate::engine::Engine;

/// How many lines of each container's log an error holds.
const LINES: usize = 10;

/// Of how many times as many they are chosen.
const LOOKED_AT: usize = 20;

/// These containers failed, for these reasons (by id): the reasons, and the last that each of them wrote.
pub(crate) async fn of(engine: &Engine, mask: &Mask, all: &[Container], failed: &HashMap<String, String>) -> Error {
    let mut what = Vec::new();
    for container in all {
        if let Some(reason) = failed.get(&container.id) {
            let reason = mask.apply(reason);
            what.push(format!("{}: {reason}{}", container.title(all), last_lines(engine, mask, container).await));
        }
    }
    Error::new(ErrorKind::Unhealthy, what.join("; "))
}

/// Adds what each container wrote last.
pub(crate) async fn with_logs(engine: &Engine, mask: &Mask, all: &[Container], error: Error) -> Error {
    let mut what = error.message().to_owned();
    for container in all {
        let lines = last_lines(engine, mask, container).await;
        if !lines.is_empty() {
            what.push_str(&format!("; {}{lines}", container.title(all)));
        }
    }
    Error::new(error.kind(), what).retryable(error.is_retryable())
}

/// Compose failed: the containers that ended, if that is why.
pub(crate) async fn of_dead(engine: &Engine, mask: &Mask, all: &[Container], error: Error) -> Error {
    let ended = |container: &&Container| match &container.state {
        State::Exited { status, .. } => *status != 0,
        State::Restarting { .. } => true,
        State::Created { .. } | State::Running => false,
    };
    let failed: HashMap<_, _> =
        all.iter().filter(ended).map(|container| (container.id.clone(), container.ending())).collect();
    if failed.is_empty() { error } else { of(engine, mask, all, &failed).await.with_source(error) }
}

async fn last_lines(engine: &Engine, mask: &Mask, container: &Container) -> String {
    // Without the log, the reason is still worth telling.
    let lines = container_log::of_container(engine, mask, &container.id, LINES * LOOKED_AT).await.unwrap_or_default();
    let lines = telling_lines(lines.into_iter().map(|line| line.text), LINES);
    match lines.is_empty() {
        true => String::new(),
        false => format!(", and wrote last: {}", lines.join(" | ")),
    }
}
