//! [`Router`]: who gets the traffic.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::types::{Instance, Slot, Split};

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
pub trait Router: Debug + Display + Send + Sync + 'static {
    /// How finely traffic can be divided. Constant for the life of the value; no I/O.
    fn granularity(&self) -> Granularity;

    /// The split as the router applies it to a request that arrives now. `None`: nothing is routed yet.
    async fn current(&self) -> Result<Option<Split>>;

    /// Tells the router where a slot's instance listens, before any traffic goes there.
    ///
    /// Must not change the split, and must not disturb traffic to the other slot. A router whose addresses are fixed
    /// has nothing to do and returns `Ok`. Repeatable; the last call counts.
    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()>;

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

    /// Requests that are still in flight on a slot; `None` where the router cannot know.
    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>>;
}

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Router + ?Sized> Router for $pointer<T> {
            fn granularity(&self) -> Granularity {
                (**self).granularity()
            }
            async fn current(&self) -> Result<Option<Split>> {
                (**self).current().await
            }
            async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
                (**self).attach(slot, instance).await
            }
            async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
                (**self).shift(from, to).await
            }
            async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
                (**self).in_flight(slot).await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
