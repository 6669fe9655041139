//! Floating IPs and cloud load balancers as blue-green routers.

mod address;
mod api;
mod digitalocean;
mod hetzner;
mod host_vip;
mod load_balancer;
mod outstanding;
mod patience;
mod probe;
mod servers;

pub use address::{ActionId, ActionState, AddressProvider, Assigned, FloatingIpRouter, Holder, Motion, Observed};
pub use digitalocean::{DigitalOceanBalancer, DigitalOceanIp};
pub use hetzner::{HetznerBalancer, HetznerIp};
pub use host_vip::{HostVip, Lingering, VipServer};
pub use load_balancer::{Change, LoadBalancerRouter, Pools, Ports};
pub use patience::{DEADLINE, LOST_REPLY, POLL_EVERY};
pub use probe::{HttpProbe, PublicProbe};
pub use servers::Servers;
