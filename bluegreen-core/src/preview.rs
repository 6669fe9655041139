//! [`Preview`]: what an adapter would do, told before anything is changed.

use serde::{Deserialize, Serialize};

/// What an adapter found when it looked at a release before anything is changed. A plan prints it.
///
/// What stands in the way is not in here: that is the error that the adapter returns instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Preview {
    /// What a reader should know, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the adapter would change in what the user wrote, as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
}

impl Preview {
    /// Adds a sentence.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Sets the unified diff.
    #[must_use]
    pub fn changes(mut self, diff: impl Into<String>) -> Self {
        self.changes = Some(diff.into());
        self
    }
}
