use std::sync::Arc;

use bluegreen_core::Ownership;

use super::provider::AddressProvider;
use super::router::FloatingIpRouter;
use crate::pending::Pending;
use crate::polling::{Polling, polling_setters};
use crate::probe::{Confirmation, PublicProbe};

/// Makes a [`FloatingIpRouter`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FloatingIpRouterBuilder {
    provider: Arc<dyn AddressProvider>,
    polling: Polling,
    confirmation: Confirmation,
    pending: Pending,
    ownership: Ownership,
}

impl FloatingIpRouter {
    /// A router of one address. Nothing is asked yet.
    pub fn builder(provider: impl AddressProvider) -> FloatingIpRouterBuilder {
        FloatingIpRouterBuilder {
            provider: Arc::new(provider),
            polling: Polling::default(),
            confirmation: Confirmation::default(),
            pending: Pending::default(),
            ownership: Ownership::new(),
        }
    }

    /// [`builder`](Self::builder) with its defaults.
    pub fn new(provider: impl AddressProvider) -> Self {
        Self::builder(provider).build()
    }
}

impl FloatingIpRouterBuilder {
    polling_setters!();

    /// Has a shift return only when so many fresh connections in a row were answered by the new slot. Default: no probe.
    ///
    /// Without it the provider's word counts. A pipeline verifies the version at the public address after the shift in
    /// any case; this is for providers that say "done" before their network is.
    pub fn confirm_by(mut self, probe: impl PublicProbe, answers_in_a_row: u32) -> Self {
        self.confirmation = Confirmation::by(probe, answers_in_a_row);
        self
    }

    /// The router.
    pub fn build(self) -> FloatingIpRouter {
        let Self { provider, polling, confirmation, pending, ownership } = self;
        FloatingIpRouter { provider, polling, confirmation, pending, ownership }
    }
}
