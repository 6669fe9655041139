//! HAProxy as a blue-green and canary router, on this machine or on any server that is a `bluegreen_core::Host`.
//!
//! [`HaproxyRouter`] steers HAProxy by its runtime socket: any percentage, at once, over one server or many per slot, in HTTP and in
//! TCP mode. A switch never reloads HAProxy. The socket is reached through [`Host::tunnel`](bluegreen_core::Host::tunnel), so a
//! far server needs no `socat`, and the account that deploys needs neither root nor sudo.
//!
//! ```
//! use bluegreen_core::LocalHost;
//! use bluegreen_haproxy::{HaproxyBackend, HaproxyRouter};
//!
//! // What an administrator puts into HAProxy's configuration, once.
//! let section = HaproxyBackend::new("shop").servers_per_slot(3).server_options("check").render()?;
//! assert!(section.contains("server-template blue 1-3 "));
//!
//! // On this machine; `SshHost` of the crate bluegreen-ssh is a server.
//! let router = HaproxyRouter::builder(LocalHost::new(), "shop").socket("/run/haproxy/admin.sock").build()?;
//! assert_eq!(router.to_string(), "HAProxy backend shop on this machine");
//!
//! // What is not a name, an address or a path is refused, and never sent.
//! assert!(HaproxyRouter::builder(LocalHost::new(), "shop;set server shop/blue1 state maint").build().is_err());
//! # Ok::<(), bluegreen_core::Error>(())
//! ```
//!
//! Give the router to a pipeline. `docs/haproxy.md` in the repository has the configuration of HAProxy and the rights of the
//! account.
//!
//! # What a slot is
//!
//! A slot is the servers of one backend that are called `blue1`, `blue2` and so on, or `green1`;
//! [`HaproxyRouterBuilder::servers`] takes other names. [`HaproxyBackend`] generates such a section; your own will do too, with
//! fixed addresses or with moving ones. Each look checks that the backend is fit: no backup among the servers of a slot, no
//! other server with traffic, an algorithm that respects weights. What is unfit is refused, and nothing is changed.
//!
//! A server that its slot does not use has weight 0. A slot without a share is in maintenance or drained, as [`Park`] says, and its
//! servers keep a weight.
//!
//! # Shares
//!
//! Weights from 1 to 256 make each percentage exactly, over any numbers of servers; within a slot they differ by 1 at most. Where a
//! share is too small for all servers of its slot (1 % of three servers beside one), it goes to some of them. `roundrobin` divides
//! requests exactly (connections in TCP mode), `random` by chance, and `leastconn` only roughly, because it counts connections.
//! HAProxy gives the share of a server that its checks hold down to all others, those of the other slot included.
//!
//! A client that a cookie or a stick table binds to a server stays with it during a canary. It moves with the shift that takes its
//! slot's last share.
//!
//! # Reloads and restarts
//!
//! HAProxy forgets at a reload what it was told. There are two ways to live with that:
//!
//! - With [`state_file`](HaproxyRouterBuilder::state_file), the router writes after each change what HAProxy reads at its next
//!   start. Split and addresses survive a reload, a restart and a crash. A shift that was confirmed and whose deployer died
//!   before it wrote is lost with the process, and found as drift.
//! - Without it, the generated backend routes nothing after a reload: requests are answered by 503, and never sent to a slot by
//!   accident. [`current`](bluegreen_core::Router::current) says so, a pipeline's `status` shows the drift, and its `restore`
//!   attaches the live slot and gives it the traffic. A backend of your own routes what its configuration says.
//!
//! Addresses are moved only where a reload cannot move them back unseen: on servers that are `disabled` in the configuration, and,
//! with a state file, only on servers that have a name there.
//!
//! A shift during a reload takes place in the new process, or begins anew there, or fails; its lock tells it which. Requests
//! that the old process still serves are not in [`in_flight`](bluegreen_core::Router::in_flight): the new process does not know
//! of them.
//!
//! # Two at the same time
//!
//! Two deployers are told apart by a lock, which is a variable of HAProxy's process: one succeeds, the other gets a `Conflict`.
//! A deployer that died with the lock is waited for six seconds. Such variables need `experimental-mode on` on the connection
//! that sets them, which `show info` shows as `Tainted`; nothing else follows from it. HAProxy's own commands know no lock: a
//! person who sets a weight between the commands of a shift is found when it reads back, and the shift is a `Conflict` with an
//! unknown effect.
//!
//! # Measured
//!
//! HAProxy 2.6 on a virtual machine with two cores, which the clients and the apps share with HAProxy; 100 switches under 32
//! clients that keep their connection and 8 that do not (`cargo run --release -p bluegreen-haproxy --example bench-haproxy`):
//!
//! | | requests | failed | shift to confirmed: median, p99 | answers of the old slot after it |
//! |---|---|---|---|---|
//! | HTTP | 784,782 | 0 | 2.8 ms, 10.8 ms | 0 of 2,000 |
//! | HTTP, with a state file | 610,499 | 0 | 12.3 ms, 29.9 ms | 0 of 2,000 |
//! | TCP | 544,741 | 0 | 3.6 ms, 12.8 ms | 0 of 2,000 |
//!
//! With a state file, the time includes the durable write of the file, which comes after the confirmation. The split over 20,000
//! requests: 1.00 % for 1 %, 10.00 % for 10 %, 50.00 % for 50 %.

mod addresses;
mod attach;
mod backend;
mod balancer;
mod before;
mod builder;
mod command;
mod error;
mod lock;
mod members;
mod name;
mod park;
mod place;
mod plan;
mod router;
mod seen;
mod server;
mod setup;
mod shift;
mod socket;
mod state_file;
mod table;
mod token;
mod weights;

pub use backend::{DEFAULT_SERVERS_PER_SLOT, HaproxyBackend, Mode};
pub use builder::{DEFAULT_CONFIRM_DEADLINE, DEFAULT_SOCKET, DEFAULT_TIMEOUT, HaproxyRouterBuilder};
pub use park::Park;
pub use router::HaproxyRouter;
