//! Programs as units of a real systemd, on a server of their own, over SSH, with the rights that the set-up gives.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod assets;
mod conformance;
mod deploys;
mod fleet;
mod migrations;
mod programs;
mod round_trips;
mod server;
mod servers;
mod service;
mod starts;
#[path = "../../examples/web-service.rs"]
#[allow(dead_code, unreachable_pub, reason = "its commands are run by a process of its own")]
mod tool;
