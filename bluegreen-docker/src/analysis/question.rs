//! What an analysis is made of.

use std::collections::BTreeMap;

use bluegreen_core::Slot;
use serde_json::Value;

use crate::compose::{Project, Service};
use crate::wishes::Wishes;

/// What is at a path of the engine's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    /// A file, a socket, a device.
    Other,
    /// Nothing: the engine makes a directory.
    Absent,
}

pub(crate) struct Question<'a> {
    /// The compose files, as they are for the slot.
    pub(crate) project: &'a Project,
    pub(crate) project_name: &'a str,
    /// The project of the shared services.
    pub(crate) shared_name: &'a str,
    pub(crate) slot: Slot,
    pub(crate) wishes: &'a Wishes,
    /// What the directories and files are that are mounted for writing.
    pub(crate) kinds: &'a BTreeMap<String, Kind>,
    /// Whether Compose understands a file that takes things away.
    pub(crate) replaces: bool,
}

impl Question<'_> {
    /// The services that run in the slot.
    pub(super) fn in_slot(&self) -> impl Iterator<Item = (&String, &Service)> {
        let services = self.project.services.iter();
        services.filter(|(name, service)| service.is_wanted() && !self.wishes.shared.contains(*name))
    }

    pub(super) fn shared(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.project.services.iter().filter(|(name, _)| self.wishes.shared.contains(*name))
    }

    /// Whether a text says which slot it is for, as `${SLOT}` makes it.
    pub(super) fn names_slot(&self, text: &str) -> bool {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word == self.slot.as_str())
    }

    /// Whether what stands in the way may be changed in our own file.
    pub(super) fn may_change(&self) -> bool {
        self.replaces && !self.wishes.as_written
    }

    /// What keeps us from changing it.
    pub(super) fn why_unchanged(&self) -> &'static str {
        if self.wishes.as_written {
            "or build the runtime without `.as_written(true)`"
        } else {
            "or use Compose 2.25 or newer, which lets it be changed for the slots"
        }
    }

    /// Where a text stands as a word among what a service gives its program.
    pub(super) fn mentions(&self, service: &Service, word: &str) -> bool {
        let mut texts = Vec::new();
        for (key, value) in &service.rest {
            if matches!(key.as_str(), "command" | "entrypoint" | "extra_hosts" | "dns" | "healthcheck") {
                collect(value, &mut texts);
            }
        }
        texts.extend(service.environment.names().into_iter().filter_map(|name| service.environment.get(name)));
        let is_part =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.');
        texts.iter().any(|text| {
            text.match_indices(word).any(|(at, _)| {
                let (before, after) = (text.get(..at), text.get(at + word.len()..));
                !is_part(before.and_then(|text| text.chars().next_back()))
                    && !is_part(after.and_then(|text| text.chars().next()))
            })
        })
    }
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(map) => map.values().for_each(|value| collect(value, texts)),
        _ => {}
    }
}
