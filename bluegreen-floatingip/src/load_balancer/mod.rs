//! Cloud load balancers: whose servers, or whose ports, are switched.

mod balancer;
mod change;
mod ports;
mod retarget;
mod router;
mod servers;
mod switch;

pub(crate) use balancer::{Accepted, Balancer, Members, Seen};
pub use change::Change;
pub use ports::Ports;
pub use router::LoadBalancerRouter;
pub use servers::Pools;
