//! The router of floating IPs on fakes of the clouds' APIs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

#[path = "../fakes/mod.rs"]
mod fakes;

mod conformance;
mod digitalocean;
