//! Cloud load balancers: whose servers, or whose ports, are switched.

mod balancer;
mod builder;
mod change;
mod cloud_balancer;
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
pub use builder::LoadBalancerRouterBuilder;
pub use change::Change;
pub use cloud_balancer::CloudBalancer;
pub(crate) use documented::documented;
pub use router::LoadBalancerRouter;
