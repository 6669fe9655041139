//! Cloud load balancers: whose servers, or whose ports, are switched.

mod balancer;
mod change;
mod documented;
mod identity;
mod members;
mod pools;
mod ports;
mod retarget;
mod router;
mod servers;
mod share;
mod switch;
mod waves;

pub(crate) use balancer::{Accepted, Balancer, Members, Seen};
pub use change::Change;
pub(crate) use documented::documented;
pub use pools::Pools;
pub use ports::Ports;
pub use router::LoadBalancerRouter;
