//! [`Migrator`]: changes to the data that both versions share.

use std::fmt::{self, Debug, Display};

use async_trait::async_trait;
use auto_impl::auto_impl;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::from_fn::FromFn;
use crate::types::Target;

/// When a migrator's expand phase runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Before the new release is started: it uses the prepared files only.
    BeforeStart,
    /// After the new release is healthy: it runs inside it.
    AfterStart,
}

/// The two halves of a migration that needs no downtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Adds what the new version needs. The old version must be able to live with it.
    Expand,
    /// Removes what only the old version needs. From then on there is no way back to it.
    Contract,
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expand => "expand",
            Self::Contract => "contract",
        })
    }
}

/// Runs the migrations of a release.
///
/// # Contract
///
/// - Repeating a phase that is complete changes nothing.
/// - A phase that was cut off is completed by the next call.
/// - Expand leaves the live version working.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait Migrator: Debug + Display + Send + Sync + 'static {
    /// When expand runs. Constant for the life of the value; no I/O.
    fn when(&self) -> When;

    /// The names of the migrations that expand would apply; `None` where that cannot be told without applying them.
    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>>;

    /// Runs one phase to its end.
    ///
    /// # Errors
    /// With [`Effect::NotApplied`](crate::Effect::NotApplied) only when it is certain that this call has changed nothing:
    /// the pipeline then leaves the way back open that a contract phase closes.
    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()>;

    /// Undoes expand. The pipeline never calls it: an expanded schema is harmless to the old version.
    ///
    /// # Errors
    /// `Unsupported` unless the migrator can.
    async fn revert(&self, target: &Target) -> Result<()> {
        let _ = target;
        Err(Error::new(ErrorKind::Unsupported, "this migrator cannot revert")
            .with_operation(format!("revert by {self}")))
    }
}

/// A migrator that calls an async function for each phase. It must be safe to repeat. Which migrations are pending is not
/// told, and nothing is reverted; for that, implement [`Migrator`].
///
/// ```
/// use bluegreen_core::{Migrator, Phase, When, migrator};
///
/// let migrator = migrator::from_fn("schema", When::BeforeStart, async |phase, target| {
///     match phase {
///         Phase::Expand => println!("add the columns that {} needs", target.version()),
///         Phase::Contract => println!("drop the columns that only the former version needs"),
///     }
///     Ok(())
/// });
/// # let _: &dyn Migrator = &migrator;
/// ```
pub fn from_fn<F, R>(name: impl Into<String>, when: When, migrate: F) -> FromFn<(When, F)>
where
    F: Fn(Phase, Target) -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    FromFn { name: name.into(), call: (when, migrate) }
}

#[async_trait]
impl<F, R> Migrator for FromFn<(When, F)>
where
    F: Fn(Phase, Target) -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    fn when(&self) -> When {
        self.call.0
    }

    async fn pending(&self, _target: &Target) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        (self.call.1)(phase, target.clone()).await
    }
}
