//! [`StateStore`]: where the state document of a service is kept.

use std::fmt::{self, Debug, Display};

use async_trait::async_trait;
use auto_impl::auto_impl;

use crate::error::Result;
use crate::state::State;
use crate::types::ServiceName;

/// Names one stored content of a document; opaque to everyone but the store that made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revision(String);

impl Revision {
    /// For stores: wraps whatever names a content.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text that the store gave.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value together with the revision it was read at.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    /// What was stored.
    pub value: T,
    /// The name of exactly this content, for the next [`StateStore::commit`].
    pub revision: Revision,
}

/// Keeps one document per service, and replaces it only by compare-and-swap. Lease and journal live in that document,
/// so these two methods are all that a store needs.
///
/// # Contract
///
/// - Of two commits that expect the same revision, at most one succeeds, also across processes and machines.
/// - A document is seen whole or not at all; a commit that was cut off left the old or the new one.
/// - Both methods can be called again, and can be cut off at any await.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait StateStore: Debug + Display + Send + Sync + 'static {
    /// The stored document; `None` when there never was one.
    ///
    /// # Errors
    /// `Corrupt` when there is one and it cannot be read, `Unsupported` when it is from a newer format. It is never
    /// taken for empty. The error names the backup, where the store keeps one.
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>>;

    /// Replaces the document at revision `expected` (`None`: there is none yet), durably when it returns.
    ///
    /// # Errors
    /// `Conflict` with [`Effect::NotApplied`](crate::Effect::NotApplied) when the stored revision is not `expected`.
    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision>;
}
