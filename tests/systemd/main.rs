//! Programs as units of a real systemd, on a server of their own, over SSH, with the rights that the set-up gives.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod conformance;
mod programs;
mod server;
mod servers;
mod starts;
