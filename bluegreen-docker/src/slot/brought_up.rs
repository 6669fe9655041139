//! [`BroughtUp`]: what the last start knows.

use std::sync::{Mutex, PoisonError};

use bluegreen_core::{OperationId, Slot, Target};

use super::watch::Known;

/// What the last start knows of its containers, for whoever watches over them next.
#[derive(Debug, Default)]
pub(crate) struct BroughtUp(Mutex<Option<(Slot, OperationId, Known)>>);

impl BroughtUp {
    pub(crate) fn put(&self, target: &Target, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((target.slot, target.operation.clone(), known));
    }

    pub(crate) fn take(&self, target: &Target) -> Option<Known> {
        let started = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        started.filter(|(slot, operation, _)| (*slot, operation) == (target.slot, &target.operation)).map(|of| of.2)
    }
}
