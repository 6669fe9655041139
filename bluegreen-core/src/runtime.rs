//! [`Runtime`]: what runs in the slots.

use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use auto_impl::auto_impl;
use futures::future::BoxFuture;

use crate::error::Result;
use crate::preview::Preview;
use crate::types::{Instance, ServiceName, Slot, Target};

/// Brings releases up and down in the two slots of one service.
///
/// # Contract
///
/// - No method ever disturbs the slot it was not asked about.
/// - A version that is present is never overwritten: the same version with other content is a `Conflict`.
/// - What is started outlives the process that started it, and is found again by a new one.
/// - Every method can be called again, and can be cut off at any await; a second call after a cut-off converges.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait Runtime: Debug + Display + Send + Sync + 'static {
    /// Says for which service the runtime acts; a pipeline does when it is built. From then on every method refuses a place that is
    /// another service's, with [`Reason::OtherService`](crate::Reason): see [`Ownership`](crate::Ownership). No I/O, repeatable.
    ///
    /// Nothing is checked unless a runtime does.
    ///
    /// # Errors
    /// `Conflict` for that reason when it acts for another service already.
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        let _ = service;
        Ok(())
    }

    /// Makes every check of [`prepare`](Self::prepare) and [`start`](Self::start) that touches nothing, for a plan: whether
    /// the artifact is there, the configuration valid, the port free. What it reads may be gone a moment later, so they
    /// check again.
    ///
    /// Nothing is checked unless a runtime does.
    ///
    /// # Errors
    /// What `prepare` or `start` would be refused with.
    async fn preview(&self, target: &Target) -> Result<Preview> {
        let _ = target;
        Ok(Preview::default())
    }

    /// Makes those checks of [`preview`](Self::preview) that need no release, for a status: whether what the runtime wrote for
    /// a slot is still as it was.
    ///
    /// Nothing is checked unless a runtime does.
    ///
    /// # Errors
    /// What a `prepare` for the slot would be refused with.
    async fn preview_slot(&self, slot: Slot) -> Result<Preview> {
        let _ = slot;
        Ok(Preview::default())
    }

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
    /// `Conflict` when something else runs in the slot, also the same version with other settings; stop it first.
    async fn start(&self, target: &Target) -> Result<Instance>;

    /// How long [`start`](Self::start) takes at most, where the runtime itself ends one that takes longer, with an error
    /// that says what it was waiting for. A pipeline gives it that long and a minute more, also where its own deadline is
    /// shorter, so that this error is the one that is told.
    ///
    /// `None` unless a runtime says otherwise: then the pipeline's deadline is the only one.
    fn start_timeout(&self) -> Option<Duration> {
        None
    }

    /// Makes `healthy`, a pipeline's wait for the health of what runs in the slot, and may end it early: what has ended for good
    /// gets healthy by no wait. A pipeline calls it after each [`start`](Self::start), and before a release that was kept gets
    /// traffic again.
    ///
    /// Does nothing but wait unless a runtime says otherwise.
    ///
    /// # Errors
    /// Those of `healthy`; `Unhealthy` for what has ended.
    async fn supervise(&self, target: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        let _ = target;
        healthy.await
    }

    /// What is in the slot now, from the system itself. [`Instance::Absent`] when nothing ever was.
    async fn inspect(&self, slot: Slot) -> Result<Instance>;

    /// Stops what runs in the slot: asks it to end, and ends it by force after `grace`. Returns when it is gone, and says
    /// what had to be ended by force. A slot with nothing running is `Ok`.
    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped>;

    /// How long what is in the slot is given to end: `grace`, or longer where it asks for more itself. A pipeline gives a
    /// [`stop`](Self::stop) that long, and a minute more.
    ///
    /// `grace` unless a runtime says otherwise.
    async fn stop_grace(&self, slot: Slot, grace: Duration) -> Result<Duration> {
        let _ = slot;
        Ok(grace)
    }

    /// All traffic goes to this slot now. What only the live release may run, such as a scheduler, is started there, and
    /// stopped in the other slot. A pipeline calls it after each shift of all traffic, also of one that goes back.
    ///
    /// Does nothing unless a runtime says otherwise.
    async fn promoted(&self, live: Slot) -> Result<()> {
        let _ = live;
        Ok(())
    }

    /// The last `tail` lines the slot's occupant wrote, oldest first, also after it has ended. Empty when there are
    /// none.
    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>>;
}

/// How a [`stop`](Runtime::stop) ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// What did not end within its grace, and was ended by force.
    pub killed: Vec<String>,
    /// What a person can do so that it ends by itself the next time.
    pub hint: Option<String>,
}

impl Stopped {
    /// Adds something that was ended by force.
    #[must_use]
    pub fn killing(mut self, what: impl Into<String>) -> Self {
        self.killed.push(what.into());
        self
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Names what was ended by force; empty when everything ended by itself.
impl Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.killed.is_empty() {
            return Ok(());
        }
        write!(f, "did not end in time, and was ended by force: {}", self.killed.join(", "))?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}
