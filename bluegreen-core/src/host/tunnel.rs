use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A way to reach an address of a host from here. It closes when this value is dropped.
pub struct Tunnel {
    address: String,
    failures: TunnelFailures,
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

/// Where a host notes why connections through a tunnel do not reach its end. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct TunnelFailures(Arc<Mutex<Option<String>>>);

impl TunnelFailures {
    /// Notes how the last connection went: why it did not reach the end, or `None` when it did.
    pub fn note(&self, failure: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

impl Tunnel {
    /// An address that needs no tunnel.
    pub fn direct(address: impl Into<String>) -> Self {
        Self { address: address.into(), failures: TunnelFailures::default(), _guard: None }
    }

    /// An address that is reachable for as long as `guard` lives.
    pub fn guarded(address: impl Into<String>, guard: impl Any + Send + Sync) -> Self {
        Self { address: address.into(), failures: TunnelFailures::default(), _guard: Some(Box::new(guard)) }
    }

    /// A tunnel whose failures the host notes there.
    #[must_use]
    pub fn noting(mut self, failures: TunnelFailures) -> Self {
        self.failures = failures;
        self
    }

    /// Why the last connection through it did not reach its end. The client of that connection saw only that it was
    /// closed. `None`: it did, there was none yet, or the host does not tell.
    pub fn failure(&self) -> Option<String> {
        self.failures.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The address to connect to: `host:port`, or `unix:/path` for a tunnel to a socket.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").field("address", &self.address).finish_non_exhaustive()
    }
}
