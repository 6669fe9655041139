//! Stateful fakes of the clouds' APIs, on the loopback, with faults to order.
//!
//! They move nothing by themselves: [`on_assign`](DigitalOcean::on_assign) is called when an address moves, and a test
//! moves there whatever stands for the network.

mod call;
mod digitalocean;
mod digitalocean_balancer;
mod fault;
mod front;
mod hetzner;
mod hetzner_balancer;
mod public;
mod server;
mod shuffle;
mod spec;
mod traffic;

pub use call::Call;
pub use digitalocean::DigitalOcean;
pub use digitalocean_balancer::DigitalOceanLb;
pub use fault::{After, Fault};
pub use front::Front;
pub use hetzner::Hetzner;
pub use hetzner_balancer::HetznerLb;
pub use public::Public;
pub use server::{Cloud, FakeServer, Reply, TOKEN};
pub use shuffle::sorted;
pub use spec::Spec;
pub use traffic::Traffic;

use std::sync::Arc;

/// How an action ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As documented.
    Completed,
    /// With a word that is not documented (DigitalOcean).
    Done,
    /// It fails, and nothing has moved.
    Errored,
    /// It moves the address, and is never found.
    Invisible,
    /// It never ends.
    Never,
}

/// An address that moves.
#[derive(Debug, Clone)]
pub struct Move {
    pub address: String,
    pub from: Option<u64>,
    pub to: u64,
}

/// What a test does when an address moves. It may block.
pub type Hook = Arc<dyn Fn(Move) + Send + Sync>;
