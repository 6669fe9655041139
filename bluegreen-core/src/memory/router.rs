use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::router::{Granularity, Router, split_changed};
use crate::types::{Endpoint, Instance, PerSlot, Slot, Split};

/// A router that routes nothing but remembers exactly what it would do.
#[derive(Debug, Clone)]
pub struct MemoryRouter {
    granularity: Granularity,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    split: Option<Split>,
    in_flight: PerSlot<u64>,
    attached: PerSlot<Vec<Endpoint>>,
}

impl MemoryRouter {
    /// A router that can divide traffic by percent.
    pub fn new() -> Self {
        Self::with_granularity(Granularity::Percent)
    }

    /// A router of this granularity.
    pub fn with_granularity(granularity: Granularity) -> Self {
        Self { granularity, inner: Arc::default() }
    }

    /// Moves the traffic behind the pipeline's back, as a person might.
    pub fn switch_by_hand(&self, split: Option<Split>) {
        self.lock().split = split;
    }

    /// Says how many requests are in flight on a slot.
    pub fn set_in_flight(&self, slot: Slot, count: u64) {
        self.lock().in_flight[slot] = count;
    }

    /// The split as it is now.
    pub fn split(&self) -> Option<Split> {
        self.lock().split
    }

    /// Where a slot was last said to listen.
    pub fn attached(&self, slot: Slot) -> Vec<Endpoint> {
        self.lock().attached[slot].clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryRouter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for MemoryRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory router")
    }
}

#[async_trait]
impl Router for MemoryRouter {
    fn granularity(&self) -> Granularity {
        self.granularity
    }

    async fn current(&self) -> Result<Option<Split>> {
        Ok(self.split())
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        self.lock().attached[slot] = instance.endpoints().to_vec();
        Ok(())
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        if self.granularity == Granularity::AllOrNothing && to.sole().is_none() {
            return Err(Error::new(ErrorKind::Unsupported, format!("cannot divide traffic: {to}"))
                .with_operation("shift traffic")
                .with("router", self));
        }
        let mut inner = self.lock();
        if inner.split == Some(to) {
            return Ok(());
        }
        if inner.split != from {
            return Err(split_changed(from, inner.split).with("router", self));
        }
        inner.split = Some(to);
        Ok(())
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        Ok(Some(self.lock().in_flight[slot]))
    }
}
