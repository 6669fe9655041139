//! What an analysis finds.

use bluegreen_core::Error;

use crate::compose::Patch;

/// Something in a compose file that two slots cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The place, and what would happen.
    pub(crate) what: String,
    /// What to change.
    pub(crate) cure: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) refusals: Vec<Refusal>,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
    /// What is changed, in a file of our own.
    pub(crate) patch: Patch,
}

impl Findings {
    pub(super) fn refuse(&mut self, what: impl Into<String>, cure: impl Into<String>) {
        let refusal = Refusal { what: what.into(), cure: cure.into() };
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// All refusals as one error.
    pub(crate) fn refusal(&self) -> Option<Error> {
        let all = |text: fn(&Refusal) -> &str| {
            let mut texts: Vec<_> = self.refusals.iter().map(text).collect();
            texts.dedup();
            texts.join("; ")
        };
        let is_any = !self.refusals.is_empty();
        is_any.then(|| Error::config(all(|refusal| &refusal.what)).with_hint(all(|refusal| &refusal.cure)))
    }
}
