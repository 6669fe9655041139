//! Processes and the proxy, with real processes, real sockets and hostile peers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

mod attack;
mod blame;
mod conformance;
mod connections;
mod control;
mod early;
mod forward;
mod hostile;
mod phases;
mod process;
mod shift;
mod split;
