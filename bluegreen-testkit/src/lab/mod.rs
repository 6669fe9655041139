//! Servers and a client on one network, each in a network namespace of its own.

mod host;
mod namespace;
mod network;
mod service;
mod watch;

pub use host::{NamespaceHost, Outage};
pub use namespace::Namespace;
pub use network::Network;
pub use service::serve;
pub use watch::{Outcome, Seen, Watch, ask, watch};
