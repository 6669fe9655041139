//! Counts since a fixed moment: what makes a cumulative counter of a service that counts within times.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bluegreen_core::{OperationId, ServiceName, Slot, Target, Version};

/// The moment since which each release is counted, in an operation: that of the first look at it.
#[derive(Debug, Default)]
pub(crate) struct Beginnings(Mutex<HashMap<Key, (OperationId, u64)>>);

type Key = (ServiceName, Slot, Version);

/// The time in which is counted, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Beginnings {
    /// From the beginning of the target's operation, rounded down to `step` seconds, until now.
    pub(crate) fn until_now(&self, target: &Target, step: u64) -> Span {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let key = (target.service.clone(), target.slot, target.version().clone());
        // Nothing can panic while the lock is held.
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (operation, from) = begun.entry(key).or_insert_with(|| (target.operation.clone(), now));
        if *operation != target.operation {
            (*operation, *from) = (target.operation.clone(), now);
        }
        let from = *from / step * step;
        Span { from, to: now.max(from + 1) }
    }
}
