//! [`Gate`]: a judgement on live metrics.

use std::fmt::{self, Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use auto_impl::auto_impl;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::from_fn::FromFn;
use crate::types::{Instance, Split, Target};

/// What a gate is asked to judge: one traffic step (or the bake), from its beginning until now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Window {
    /// Tells windows apart: a gate counts anew when this changes. Unique within the process.
    pub id: u64,
    /// The new release.
    pub target: Target,
    /// The new release's instance.
    pub instance: Instance,
    /// The old release and its instance, as long as it gets traffic at the same time.
    pub baseline: Option<(Target, Instance)>,
    /// The split in force since the window began.
    pub split: Split,
    /// Time since the window began.
    pub elapsed: Duration,
    /// How many gates judge in this pipeline; each takes its share of the error probabilities.
    pub gates: usize,
}

impl Window {
    /// A window that has just begun, in which the release has all traffic, for the only gate of its pipeline. For tests of
    /// gates: the other fields can be set.
    pub fn new(id: u64, target: Target, instance: Instance) -> Self {
        let split = Split::all(target.slot);
        Self { id, target, instance, baseline: None, split, elapsed: Duration::ZERO, gates: 1 }
    }
}

/// What a gate says now. It may be asked as often as one likes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// There is enough evidence that the release is well. The pipeline still holds the step for its soak.
    Pass {
        /// The evidence, for a person: "0 of 4,012 requests failed".
        evidence: String,
    },
    /// There is enough evidence that it is not.
    Fail {
        /// The evidence, for a person.
        reason: String,
    },
    /// Not enough evidence yet. No data is never a pass.
    Undecided {
        /// What is missing: "needs at least 1,204 more requests".
        needs: String,
    },
    /// The release cannot be judged: the old one is as bad (the environment is unhealthy), or the router does not do what
    /// it says. The pipeline holds the traffic where it is.
    Hold {
        /// Why, for a person.
        reason: String,
    },
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass { evidence } => write!(f, "pass: {evidence}"),
            Self::Fail { reason } => write!(f, "fail: {reason}"),
            Self::Undecided { needs } => write!(f, "undecided: {needs}"),
            Self::Hold { reason } => write!(f, "hold: {reason}"),
        }
    }
}

/// Judges a release by its live metrics.
///
/// # Contract
///
/// - Judges only what happened inside windows. A new [`Window::id`] can pass only by what happens inside it; it may
///   fail by what the operation's windows show together. A new operation starts from nothing.
/// - May be asked at any rate and any number of times without its error probability growing.
/// - A source without data is [`Verdict::Undecided`]; `Err` means the source could not be asked. Neither is a pass.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait Gate: Debug + Display + Send + Sync + 'static {
    /// Judges the window as it stands now.
    async fn judge(&self, window: &Window) -> Result<Verdict>;

    /// Reads what the gate would judge by, once, on the release that is live, for a plan: a page that cannot be read is
    /// found before the deploy. Nothing is read unless a gate does.
    ///
    /// # Errors
    /// Why nothing can be read, or that nothing is there yet.
    async fn preview(&self, live: &Target, instance: &Instance) -> Result<()> {
        let _ = (live, instance);
        Ok(())
    }

    /// Reads the release that is live, again and again while the new one is brought up, to learn what its requests are like
    /// before they are divided. Nothing is read unless a gate does.
    ///
    /// # Errors
    /// Why nothing could be read this time. It fails nothing.
    async fn learn(&self, live: &Target, instance: &Instance) -> Result<()> {
        let _ = (live, instance);
        Ok(())
    }
}

/// A gate that calls an async function with the window. The name says in events and reports what it judges.
///
/// ```
/// use bluegreen_core::{Gate, Verdict, gate};
///
/// let gate = gate::from_fn("no new kind of exception", async |window| {
///     let seen = 0; // Asked of the tracker, for `window.target`.
///     # let _ = window;
///     Ok(match seen {
///         0 => Verdict::Pass { evidence: "no new kind of exception".into() },
///         new => Verdict::Fail { reason: format!("{new} new kinds of exception") },
///     })
/// });
/// # let _: &dyn Gate = &gate;
/// ```
pub fn from_fn<F, R>(name: impl Into<String>, judge: F) -> FromFn<F>
where
    F: Fn(Window) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Verdict>> + Send,
{
    FromFn { name: name.into(), call: judge }
}

#[async_trait]
impl<F, R> Gate for FromFn<F>
where
    F: Fn(Window) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Verdict>> + Send,
{
    async fn judge(&self, window: &Window) -> Result<Verdict> {
        (self.call)(window.clone()).await
    }
}
