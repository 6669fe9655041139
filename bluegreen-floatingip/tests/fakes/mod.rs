//! Stateful fakes of the clouds' APIs, on the loopback, with faults to order.
//!
//! They move nothing by themselves: [`on_assign`](DigitalOcean::on_assign) is called when an address moves, and a test
//! moves there whatever stands for the network. Include this folder by `#[path]`.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of them")]

mod digitalocean;
mod fault;
mod front;
mod server;

pub(crate) use digitalocean::{DigitalOcean, Ending};
pub(crate) use fault::Fault;
pub(crate) use front::Front;
pub(crate) use server::{Call, FakeServer, TOKEN};

use std::sync::Arc;

/// An address that moves.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub(crate) address: String,
    pub(crate) from: Option<u64>,
    pub(crate) to: u64,
}

/// What a test does when an address moves. It may block.
pub(crate) type Hook = Arc<dyn Fn(Move) + Send + Sync>;
