//! What was asked for, and may still happen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bluegreen_core::Slot;
use tokio::time::Instant;

use crate::ActionId;

/// The last change that this process asked for, until its end was seen. A call that is cut off, by a cancelled deploy for
/// one, leaves it here: a look that comes too early would find the old state, and the change would come after it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<Option<Asked>>>);

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) to: Slot,
    pub(crate) at: Instant,
    /// The provider's name for it, if it told one.
    pub(crate) action: Option<ActionId>,
}

impl Pending {
    pub(crate) fn begin(&self, to: Slot) {
        *self.lock() = Some(Asked { to, at: Instant::now(), action: None });
    }

    pub(crate) fn started(&self, action: &ActionId) {
        if let Some(asked) = &mut *self.lock() {
            asked.action = Some(action.clone());
        }
    }

    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    pub(crate) fn get(&self) -> Option<Asked> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Whether it was asked for so recently that it may show up yet.
    pub(crate) fn is_within(&self, grace: Duration) -> bool {
        self.at.elapsed() < grace
    }

    pub(crate) fn words(&self) -> String {
        format!("a switch to {} was asked for {} s ago, and cut off", self.to, self.at.elapsed().as_secs())
    }
}
