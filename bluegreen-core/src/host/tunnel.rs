use std::any::Any;
use std::fmt;

/// A way to reach an address of a host from here. It closes when this value is dropped.
pub struct Tunnel {
    address: String,
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Tunnel {
    /// An address that needs no tunnel.
    pub fn direct(address: impl Into<String>) -> Self {
        Self { address: address.into(), _guard: None }
    }

    /// An address that is reachable for as long as `guard` lives.
    pub fn guarded(address: impl Into<String>, guard: impl Any + Send + Sync) -> Self {
        Self { address: address.into(), _guard: Some(Box::new(guard)) }
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
