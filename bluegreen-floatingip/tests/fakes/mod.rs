//! Stateful fakes of the clouds' APIs, on the loopback, with faults to order.
//!
//! They move nothing by themselves: [`on_assign`](DigitalOcean::on_assign) is called when an address moves, and a test
//! moves there whatever stands for the network. Include this folder by `#[path]`.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of them")]

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

pub(crate) use digitalocean::DigitalOcean;
pub(crate) use digitalocean_balancer::DigitalOceanLb;
pub(crate) use fault::{After, Fault};
pub(crate) use front::Front;
pub(crate) use hetzner::Hetzner;
pub(crate) use hetzner_balancer::HetznerLb;
pub(crate) use public::Public;
pub(crate) use server::{Call, FakeServer, TOKEN};
pub(crate) use shuffle::sorted;
pub(crate) use spec::Spec;
pub(crate) use traffic::Traffic;

use std::sync::Arc;

/// How an action ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
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
pub(crate) struct Move {
    pub(crate) address: String,
    pub(crate) from: Option<u64>,
    pub(crate) to: u64,
}

/// What a test does when an address moves. It may block.
pub(crate) type Hook = Arc<dyn Fn(Move) + Send + Sync>;
