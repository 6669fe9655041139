//! nginx as a blue-green and canary router, on this machine or on any server that is a `bluegreen_core::Host`.
//!
//! | router | how it switches | what a switch costs |
//! |---|---|---|
//! | [`NginxRouter`] | a directory of flag files, replaced by rename; any percentage | no request, at once, no reload |
//! | [`NginxSymlinkRouter`] | the classic link in `sites-enabled`, test and reload; all or nothing | a reload may drop requests on kept connections |
//!
//! Both take one [`NginxConfig`], which writes the site: what you would write by hand, upstreams, WebSocket and
//! forwarded headers, TLS, and `/deployment_id`, which says which slot is live. Both ask nginx which slot is live, over fresh
//! connections, compare the answer with the link, and report a difference as drift.
//!
//! ```
//! use bluegreen_core::LocalHost;
//! use bluegreen_nginx::{NginxConfig, NginxRouter};
//!
//! let config = NginxConfig::new("shop")
//!     .server_name("shop.example.com")
//!     .slots((["127.0.0.1:4000"], ["127.0.0.1:5000"]));
//! let site = config.render()?;
//! assert!(site.contains("server_name shop.example.com;") && site.contains("server 127.0.0.1:5000"));
//!
//! // On this machine; `SshHost` of the crate bluegreen-ssh is a server.
//! let router = NginxRouter::new(LocalHost::new(), config)?;
//! assert_eq!(router.to_string(), "nginx site shop on this machine");
//!
//! // What is not a port, a name or an address is refused, and never written.
//! let smuggled = NginxConfig::new("shop").server_name("a; return 200 owned");
//! assert!(NginxRouter::new(LocalHost::new(), smuggled).is_err());
//! # Ok::<(), bluegreen_core::Error>(())
//! ```
//!
//! Give the router to a pipeline. The server needs no other setup, provided that its `nginx.conf` includes
//! `conf.d/*.conf` (or `sites-enabled/*` for the classic layout), as Debian's and nginx's own packages do. The account
//! must be allowed to write there and to reload nginx; [`Commands::sudo`] does both by `sudo -n`.
//!
//! # When nginx is reloaded
//!
//! [`NginxRouter`] reloads only in `attach`, when addresses, names or certificates have changed, and never to switch.
//! If each slot has a fixed port, give both to [`NginxConfig::slots`] from the beginning: then nginx is reloaded once in the
//! life of a service. A pipeline attaches before it shifts, so a reload and a switch never coincide.
//!
//! A reload may drop requests: workers of the old configuration close idle kept connections, and a client may be writing to
//! one of them at that moment. [`NginxSymlinkRouter`] reloads with each switch.
//!
//! # Measured
//!
//! nginx 1.22 on a virtual machine with two cores, which the clients and the apps share with nginx; 100 switches under 32
//! clients that keep their connection and 8 that do not (`cargo run --release -p bluegreen-nginx --example bench-nginx`):
//!
//! | | requests | failed | shift to confirmed: median, p99 | answers of the old slot after it |
//! |---|---|---|---|---|
//! | [`NginxRouter`] | 368,335 | 0 | 40 ms, 164 ms | 0 of 2,000 |
//! | [`NginxSymlinkRouter`] | 612,461 | 518 | 508 ms, 1.3 s | 0 of 2,000 |
//! | `ln -sf` and a reload | 263,791 | 510 | 36 ms, 171 ms (and not over) | 495 of 2,000 |
//!
//! All failed requests were on kept connections. The split of [`NginxRouter`] over 20,000 requests: 1.02 % for 1 %,
//! 9.85 % for 10 %, 50.06 % for 50 %. The flag check costs 6 % of nginx's CPU time in front of an app that answers at
//! once (75.3 µs per request instead of 70.8 µs), and less with any other.
//!
//! The cost of each part, in µs of CPU time per request (the same program with the argument `buckets`; all traffic is on
//! green). For comparison, a request that nginx answers by itself on a busy connection takes 2.3 µs. The state directory's path has 29 or 192
//! bytes; the `map` reads the slot from `$realpath_root`, whose path leads through a link per bucket:
//!
//! | key | its bucket | `if -f`, short | `if -f`, long | `map`, short | `map`, long |
//! |---|---|---|---|---|---|
//! | `$connection-$connection_requests` | 0.21 | 2.03 | 2.38 | 8.31 | 16.29 |
//! | `$request_id` | 1.25 | 3.19 | 3.54 | 9.64 | 17.50 |
//! | the client's address | 0.14 | 1.90 | 2.31 | 8.20 | 16.08 |
//! | a cookie that the client has | 0.28 | 1.99 | 2.36 | 8.16 | 16.02 |
//!
//! Therefore the sites use `if -f`, and the first key unless [`BucketBy`] says otherwise. A short
//! [`Layout::state_directory`] makes little difference.

mod answer;
mod before;
mod changes;
mod client;
mod config;
mod elsewhere;
mod error;
mod flags;
mod in_flight;
mod install;
mod nginx_version;
mod preview;
mod reload;
mod script;
mod server;
mod site;
mod slot_addresses;
mod symlink;

pub use config::{
    BucketBy, Commands, DEFAULT_ANSWER_HEADERS, DEFAULT_ANSWERS_IN_A_ROW, DEFAULT_CONFIRM_DEADLINE, Layout, Location,
    NginxConfig,
};
pub use flags::NginxRouter;
pub use symlink::NginxSymlinkRouter;
