//! Servers and a client on one network, each in a network namespace of its own. Everything ends with the value.
#![allow(dead_code, unused_imports, reason = "every test program uses a part of it")]

mod client;
mod host;
mod namespace;
mod network;
mod service;

pub(crate) use client::{Heard, Outcome, ask, summary, watch};
pub(crate) use host::{NamespaceHost, Outage};
pub(crate) use namespace::Namespace;
pub(crate) use network::Network;
pub(crate) use service::serve;
