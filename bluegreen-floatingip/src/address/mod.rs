//! Floating IPs: one address, moved between two servers.

mod address_move;
mod builder;
mod look;
mod provider;
mod router;

pub use builder::FloatingIpRouterBuilder;
pub use provider::{ActionId, ActionState, AddressProvider, Assigned, Holder, Observed, Transition};
pub use router::FloatingIpRouter;
