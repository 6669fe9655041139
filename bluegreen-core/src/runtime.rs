//! [`Runtime`]: what runs in the slots.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::types::{Instance, Slot, Target};

/// Brings releases up and down in the two slots of one service.
///
/// # Contract
///
/// - No method ever disturbs the slot it was not asked about.
/// - A version that is present is never overwritten: the same version with other content is a `Conflict`.
/// - What is started outlives the process that started it, and is found again by a new one.
/// - Every method can be called again, and can be cut off at any await; a second call after a cut-off converges.
#[async_trait]
pub trait Runtime: Debug + Display + Send + Sync + 'static {
    /// Transfers, pulls or unpacks the release. Disturbs nothing that runs, in neither slot.
    ///
    /// # Errors
    /// `Conflict` when the version is present with other content; `NotFound` when the artifact is missing.
    async fn prepare(&self, target: &Target) -> Result<()>;

    /// Starts the prepared release in the target's slot, and returns it running. It need not be healthy yet.
    ///
    /// When this very release runs there already, it is left alone and returned. One that was prepared before, perhaps by
    /// another process, is known by its version and its settings: its artifact may be gone.
    ///
    /// # Errors
    /// `Conflict` when something else runs in the slot; stop it first.
    async fn start(&self, target: &Target) -> Result<Instance>;

    /// How long [`start`](Self::start) takes at most, where the runtime itself ends one that takes longer, with an error
    /// that says what it was waiting for. A pipeline gives it that long and a minute more, also where its own deadline is
    /// shorter, so that this error is the one that is told.
    ///
    /// `None` unless a runtime says otherwise: then the pipeline's deadline is the only one.
    fn start_limit(&self) -> Option<Duration> {
        None
    }

    /// What is in the slot now, from the system itself. [`Instance::Absent`] when nothing ever was.
    async fn inspect(&self, slot: Slot) -> Result<Instance>;

    /// Stops what runs in the slot: asks it to end, and ends it by force after `grace`. Returns when it is gone.
    /// A slot with nothing running is `Ok`.
    async fn stop(&self, slot: Slot, grace: Duration) -> Result<()>;

    /// The last `tail` lines the slot's occupant wrote, oldest first, also after it has ended. Empty when there are
    /// none.
    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Runtime + ?Sized> Runtime for $pointer<T> {
            async fn prepare(&self, target: &Target) -> Result<()> {
                (**self).prepare(target).await
            }
            async fn start(&self, target: &Target) -> Result<Instance> {
                (**self).start(target).await
            }
            fn start_limit(&self) -> Option<Duration> {
                (**self).start_limit()
            }
            async fn inspect(&self, slot: Slot) -> Result<Instance> {
                (**self).inspect(slot).await
            }
            async fn stop(&self, slot: Slot, grace: Duration) -> Result<()> {
                (**self).stop(slot, grace).await
            }
            async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
                (**self).logs(slot, tail).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
