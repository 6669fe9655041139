//! [`Group`]: what the containers of a slot have in common.

use std::fmt;

use crate::labels;

/// The label by which the containers of a slot are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    label: &'static str,
    pub(crate) name: String,
}

impl Group {
    /// A compose project.
    pub(crate) fn project(name: impl Into<String>) -> Self {
        Self { label: labels::COMPOSE_PROJECT, name: name.into() }
    }

    /// One container, by its name. The name itself may be another container's.
    pub(crate) fn container(name: impl Into<String>) -> Self {
        Self { label: labels::CONTAINER, name: name.into() }
    }

    /// As the engine's filters take it.
    pub(crate) fn filter(&self) -> String {
        format!("{}={}", self.label, self.name)
    }

    /// Whether a container with these labels belongs to it.
    pub(crate) fn has(&self, labels: &std::collections::HashMap<String, String>) -> bool {
        labels.get(self.label) == Some(&self.name)
    }

    pub(crate) fn kind(&self) -> &'static str {
        if self.label == labels::CONTAINER { "container" } else { "project" }
    }

    /// The builder's method that gives it another name.
    pub(crate) fn setter(&self) -> &'static str {
        if self.label == labels::CONTAINER { "`.name(..)`" } else { "`.project(..)`" }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
