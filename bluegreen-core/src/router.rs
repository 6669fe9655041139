//! [`Router`]: who gets the traffic.

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use auto_impl::auto_impl;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Reason, Result};
use crate::preview::Preview;
use crate::types::{Instance, ServiceName, Slot, Split};

/// How finely a router can divide traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// All traffic goes to one slot.
    AllOrNothing,
    /// Any whole percentage.
    Percent,
}

/// Directs the traffic of one service to its slots.
///
/// # Contract
///
/// - The router itself is the truth: [`current`](Self::current) reads what it does, never what we once asked for.
/// - [`shift`](Self::shift) is a compare-and-swap, and returns only when the router confirmed it.
/// - Every method can be called again, and can be cut off at any await; a second call after a cut-off converges.
/// - `Display` names the router for logs and errors: `nginx site shop on web1`.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait Router: Debug + Display + Send + Sync + 'static {
    /// How finely traffic can be divided. Constant for the life of the value; no I/O.
    fn granularity(&self) -> Granularity;

    /// Says for which service the router acts; a pipeline does when it is built. From then on every method refuses a place that is
    /// another service's, with [`Reason::OtherService`](crate::Reason): see [`Ownership`](crate::Ownership). No I/O, repeatable.
    ///
    /// Nothing is checked unless a router does.
    ///
    /// # Errors
    /// `Conflict` for that reason when it acts for another service already.
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        let _ = service;
        Ok(())
    }

    /// The split as the router applies it to a request that arrives now. `None`: nothing is routed yet.
    async fn current(&self) -> Result<Option<Split>>;

    /// Makes every check of [`attach`](Self::attach) and [`shift`](Self::shift) that touches nothing, for a plan, a status,
    /// and a deploy before it begins: whether the router can be reached, may be written to, and still has what was last
    /// written.
    ///
    /// Nothing is checked unless a router does.
    ///
    /// # Errors
    /// What `attach` or `shift` would be refused with.
    async fn preview(&self, slot: Slot) -> Result<Preview> {
        let _ = slot;
        Ok(Preview::default())
    }

    /// Tells the router where a slot's instance listens, before any traffic goes there.
    ///
    /// Must not change the split, and must not disturb traffic to the other slot. A router whose addresses are fixed
    /// has nothing to do and returns `Ok`. Repeatable; the last call counts.
    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()>;

    /// As [`attach`](Self::attach), for a caller that has to write down first that something is changed: a router may look at once,
    /// and changes nothing before `begun` has completed. An error of it is returned.
    ///
    /// A router that does not say otherwise begins with `begun`.
    async fn attach_after(&self, slot: Slot, instance: &Instance, begun: BoxFuture<'_, Result<()>>) -> Result<()> {
        begun.await?;
        self.attach(slot, instance).await
    }

    /// Puts back what the last [`attach`](Self::attach) of a slot has changed, for an operation that is undone: what an undone
    /// deploy leaves is what was there before it. The slot has no traffic. Must not change the split, and must not disturb
    /// traffic to the other slot. Repeatable; a router that keeps nothing of before has nothing to do.
    ///
    /// # Errors
    /// `Conflict` when it was changed by somebody else since: it stays as it is.
    async fn detach(&self, slot: Slot) -> Result<()> {
        let _ = slot;
        Ok(())
    }

    /// Moves traffic from the split `from` to the split `to`.
    ///
    /// Returns only when the router has confirmed that new requests follow `to`. Requests in flight stay where they
    /// are, and none is cut off by the shift.
    ///
    /// # Errors
    /// `Conflict` with [`Effect::NotApplied`](crate::Effect::NotApplied) when the present split is not `from`, unless
    /// it is `to` already, which is `Ok`. `Unsupported` for a split finer than the [granularity](Self::granularity).
    /// Any other error either leaves the old split in place (`NotApplied`), or says `Unknown`.
    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()>;

    /// As [`shift`](Self::shift), for a caller that has to write down first that something is changed: see
    /// [`attach_after`](Self::attach_after).
    async fn shift_after(&self, from: Option<Split>, to: Split, begun: BoxFuture<'_, Result<()>>) -> Result<()> {
        begun.await?;
        self.shift(from, to).await
    }

    /// Requests that are still in flight on a slot; `None` where the router cannot know.
    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>>;
}

/// The header with which a router names the slot that it gave a request to, where it is asked to.
pub const SLOT_HEADER: &str = "x-bluegreen-slot";

/// The header with which a router names the version in that slot, as [`attach`](Router::attach) told it. A check of the
/// public address can confirm a deploy by it, where the program itself cannot tell its version.
pub const VERSION_HEADER: &str = "x-bluegreen-version";

/// The error of a [`shift`](Router::shift) from a split that is not there.
pub fn split_changed(expected: Option<Split>, found: Option<Split>) -> Error {
    let text = |split: Option<Split>| split.map_or_else(|| "nothing routed".to_owned(), |split| split.to_string());
    Error::new(ErrorKind::Conflict, format!("expected {}, found {}", text(expected), text(found)))
        .with_reason(Reason::ChangedElsewhere)
        .not_applied()
        .with_hint("someone else moved the traffic: look at the present split before you move it again")
}
