//! Floating IPs: one address, moved between two servers.

mod look;
mod provider;
mod relocation;
mod router;

pub use provider::{ActionId, ActionState, AddressProvider, Assigned, Holder, Motion, Observed};
pub use router::FloatingIpRouter;
