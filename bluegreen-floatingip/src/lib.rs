//! Blue-green deploys on two servers, switched in front of them: by an address that moves from one to the other, or by a
//! cloud's load balancer.
//!
//! | router | provider | what a shift does |
//! |---|---|---|
//! | [`FloatingIpRouter`] | [`DigitalOceanIp`] | a reserved IPv4 or IPv6 moves to the other droplet |
//! | | [`HetznerIp`] | a floating IP moves to the other server |
//! | | [`HostVip`] | an address moves between two servers of your own, over any [`Host`](bluegreen_core::Host) |
//! | | your own [`AddressProvider`] | four small methods |
//! | [`LoadBalancerRouter`] | [`DigitalOceanBalancer`], [`HetznerBalancer`] | by servers: the new slot's are added, then the old slot's removed; by ports: rules and health check lead to the new slot's port |
//!
//! All of them are a [`Router`](bluegreen_core::Router) that is [all or nothing](bluegreen_core::Granularity::AllOrNothing).
//!
//! ```no_run
//! use bluegreen_core::{Router, Secret, Slot, Split};
//! use bluegreen_floatingip::{DigitalOceanIp, FloatingIpRouter, HttpProbe};
//!
//! # async fn example() -> bluegreen_core::Result<()> {
//! let token = Secret::from_env("DIGITALOCEAN_TOKEN")?;
//! let droplets = (3164444, 3164445); // blue, green
//! let address = [203, 0, 113, 7].into();
//! let router = FloatingIpRouter::builder(DigitalOceanIp::new(token, address, droplets)?)
//!     .confirm_by(HttpProbe::new("http://203.0.113.7/health", "x-slot")?, 5)
//!     .build();
//!
//! // What a pipeline does with it.
//! let current = router.current().await?;
//! router.shift(current, Split::all(Slot::Green)).await?;
//! # Ok(()) }
//! ```
//!
//! # How a provider's answers are treated
//!
//! - The holder is read first. If it is the target, nothing is requested. If it is neither blue nor green, the shift is
//!   refused.
//! - The target is checked beforehand: there, active, in the address's region, without a pending event.
//! - Only what was asked for is judged. Members that a provider adds to its answers, lists in another order, and settings
//!   that a switch does not write are no conflict.
//! - A busy provider is waited for (422 "pending event", 403 "processes previous actions", 403 `maintenance`, 409, 423), and so are
//!   rate limits: by `retry-after` or `ratelimit-reset` at DigitalOcean; for a few seconds, five times, at Hetzner, which
//!   gives one call back each second.
//! - A refusal because the change is already made (a target that is gone, or there) counts as success.
//! - If an answer is lost, the address is read. The move is requested again only if it did not happen.
//! - An action that keeps answering 404 or 500 does not end a move: the address is read instead. What counts in the end is
//!   always the holder, read again; then, with [`confirm_by`](FloatingIpRouterBuilder::confirm_by), fresh connections.
//! - A deadline that passes leaves the outcome unknown. [`current`](bluegreen_core::Router::current) waits for a move that
//!   is under way, so that `recover` decides by what is.
//! - None of these providers offers a compare-and-set: one deployer at a time must move an address. The pipeline's lease
//!   sees to that; a person in the control panel is noticed, and not prevented.
//!
//! AWS (elastic IPs, target groups) and OpenStack are not supported. You can implement an [`AddressProvider`] for them.
//!
//! # The token
//!
//! The token is sent in a header that is marked as sensitive, over HTTPS only (or plain HTTP to this machine, for tests).
//! Redirects are not followed. The token appears in no error, even if an answer repeats it. Answers are read up to 1 MiB and
//! for up to 30 s. For HTTPS, see [`bluegreen_http_client`].
//!
//! # What a move does to connections
//!
//! Nobody can move an open connection to another server. When an address leaves a server, idle keep-alive connections and
//! uploads are reset at their next packet, and downloads hang until the client gives up ([`Lingering::Reset`] turns that
//! into a reset). New connections see the old server, then the new one. So: **no request is lost by a floating IP alone
//! only if the old server is drained first**; clients that ask again after a reset lose none.
//!
//! A load balancer that is switched by servers finishes requests in flight as its provider does (connection draining).

mod address;
mod api;
mod digitalocean;
mod hetzner;
mod host_vip;
mod load_balancer;
mod pending;
mod polling;
mod probe;
mod servers;

pub use address::{
    ActionId, ActionState, AddressProvider, Assigned, FloatingIpRouter, FloatingIpRouterBuilder, Holder, Observed,
    Transition,
};
pub use digitalocean::{DigitalOceanBalancer, DigitalOceanIp};
pub use hetzner::{HetznerBalancer, HetznerIp};
pub use host_vip::{HostVip, Lingering, VipServer};
pub use load_balancer::{Change, CloudBalancer, LoadBalancerRouter, LoadBalancerRouterBuilder};
pub use polling::{DEFAULT_DEADLINE, DEFAULT_LOST_REPLY, DEFAULT_POLL_EVERY};
pub use probe::{HttpProbe, PublicProbe};
