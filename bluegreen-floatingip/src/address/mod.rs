//! Floating IPs: one address, moved between two servers.

mod address_move;
mod look;
mod provider;
mod router;

pub use provider::{ActionId, ActionState, AddressProvider, Assigned, Holder, Observed, Transition};
pub use router::FloatingIpRouter;
