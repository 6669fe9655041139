//! Asking the public address who answers.

mod http;

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Result, Slot};
use tokio::time::Instant;

pub use http::HttpProbe;

use crate::polling::Polling;

/// Tells which slot answers at the public address.
///
/// It is no [`HealthCheck`](bluegreen_core::HealthCheck), which judges one release that it is told: a router knows slots alone,
/// and asks who answers, well or not.
///
/// # Contract
/// One call, one fresh connection: no retries, nothing kept between calls, bounded in time.
#[async_trait]
pub trait PublicProbe: Debug + Display + Send + Sync + 'static {
    /// The slot that answered; `None` for an answer of neither, or none at all.
    ///
    /// # Errors
    /// Only when the question itself cannot be asked.
    async fn answers(&self) -> Result<Option<Slot>>;
}

/// For the new slot to answer: with the deadline of a switch it stays within what the pipeline gives a shift.
const LIMIT: Duration = Duration::from_secs(60);

/// The probe that is asked after a switch, if there is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Confirmation {
    probe: Option<(Arc<dyn PublicProbe>, u32)>,
}

impl Confirmation {
    pub(crate) fn by(probe: impl PublicProbe, answers_in_a_row: u32) -> Self {
        Self { probe: Some((Arc::new(probe), answers_in_a_row.max(1))) }
    }

    /// The probe itself.
    pub(crate) fn probe(&self) -> Option<&dyn PublicProbe> {
        self.probe.as_ref().map(|(probe, _)| &**probe)
    }

    /// Returns when the slot answered so many times in a row.
    pub(crate) async fn of(&self, slot: Slot, polling: &Polling) -> Result<()> {
        let Some((probe, needed)) = &self.probe else { return Ok(()) };
        let limit = polling.deadline.min(LIMIT);
        let deadline = Instant::now() + limit;
        let mut streak = 0;
        loop {
            let answered = probe.answers().await.map_err(|error| error.maybe_applied().with("probe", probe))?;
            streak = if answered == Some(slot) { streak + 1 } else { 0 };
            if streak >= *needed {
                return Ok(());
            }
            if streak > 0 {
                continue;
            }
            if !polling.pause(deadline).await {
                let last = answered.map_or("nobody", Slot::as_str);
                let message = format!(
                    "the provider has switched, but {slot} did not answer {needed} times in a row within {:?}; \
                     last answered {last}",
                    limit
                );
                return Err(Error::new(ErrorKind::Timeout, message).maybe_applied().with("probe", probe));
            }
        }
    }
}
