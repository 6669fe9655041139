use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{
    Error, ErrorKind, Granularity, Instance, Ownership, Preview, Result, Router, ServiceName, Slot, Split,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::address_move::AddressMove;
use super::look::{look, split_of};
use super::provider::{AddressProvider, Holder, Observed, Transition};
use crate::pending::Pending;
use crate::polling::{LOOK_TIMEOUT, Polling};
use crate::probe::Confirmation;

/// Moves one address between the servers of blue and green, by any [`AddressProvider`].
///
/// - [`current`](Router::current) asks the provider. While the provider is still moving the address, it waits for the
///   outcome: an answer that is about to change must not decide what is stopped. An address on a server that is neither
///   blue nor green is a `Conflict`, never "nothing routed".
/// - [`shift`](Router::shift) looks, checks the target, asks for the move, polls it, and reads the holder again. If a
///   [probe](super::FloatingIpRouterBuilder::confirm_by) is set, fresh connections to the public address must be answered by the new slot as well.
///   A lost answer is never followed by a second request before the address was read again.
/// - An address belongs to one server: there is no gradual shift.
/// - What is in flight on the old server when the address leaves it is reset, or hangs (a download): see the
///   [crate's page](crate).
#[derive(Debug, Clone)]
pub struct FloatingIpRouter {
    pub(super) provider: Arc<dyn AddressProvider>,
    pub(super) polling: Polling,
    pub(super) confirmation: Confirmation,
    pub(super) pending: Pending,
    pub(super) ownership: Ownership,
}

impl FloatingIpRouter {
    /// Refuses an address of another service.
    async fn verify(&self) -> Result<()> {
        let late =
            |_| Err(Error::new(ErrorKind::Timeout, format!("the provider did not answer within {LOOK_TIMEOUT:?}")));
        let verified = timeout(LOOK_TIMEOUT, self.provider.verify()).await.unwrap_or_else(late);
        verified.map_err(|error| error.not_applied().with_operation("see whose the address is").with("router", self))
    }

    async fn look(&self) -> Result<Observed> {
        look(&*self.provider, &self.pending, self.polling.lost_reply).await
    }

    /// Waits while the provider is busy with the address: what it is now would be no answer.
    async fn await_consistent(&self) -> Result<Holder> {
        let deadline = Instant::now() + LOOK_TIMEOUT.min(self.polling.deadline);
        let mut last = "the provider did not answer".to_owned();
        while let Ok(seen) = timeout_at(deadline, self.look()).await {
            let seen = seen?;
            let Transition::Pending(why) = seen.transition else { return Ok(seen.holder) };
            last = format!("the address is with {} and may be about to move: {why}", seen.holder);
            if !self.polling.pause(deadline).await {
                break;
            }
        }
        Err(Error::new(ErrorKind::Timeout, last).not_applied())
    }
}

impl fmt::Display for FloatingIpRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "floating IP {}", self.provider)
    }
}

#[async_trait]
impl Router for FloatingIpRouter {
    fn granularity(&self) -> Granularity {
        Granularity::AllOrNothing
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)?;
        self.provider.bind_service(service)
    }

    async fn preview(&self, _slot: Slot) -> Result<Preview> {
        self.verify().await?;
        Ok(Preview::default())
    }

    async fn current(&self) -> Result<Option<Split>> {
        let current = self.await_consistent().await.and_then(|holder| split_of(&holder));
        current.map_err(|error| error.with_operation("ask who holds the address").with("router", self))
    }

    /// Servers are fixed: nothing to do.
    async fn attach(&self, _slot: Slot, _instance: &Instance) -> Result<()> {
        self.verify().await
    }

    async fn detach(&self, _slot: Slot) -> Result<()> {
        self.verify().await
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let about = |error: Error| error.with_operation(format!("move the address to {to}")).with("router", self);
        let Some(slot) = to.sole() else {
            return Err(about(Error::new(ErrorKind::Unsupported, "an address belongs to one server at a time")));
        };
        AddressMove::new(&*self.provider, &self.polling, &self.pending, slot).run(from).await.map_err(about)?;
        self.confirmation.of(slot, &self.polling).await.map_err(about)
    }

    /// Connections end at the servers: this router sees none of them.
    async fn in_flight(&self, _slot: Slot) -> Result<Option<u64>> {
        self.verify().await?;
        Ok(None)
    }
}
