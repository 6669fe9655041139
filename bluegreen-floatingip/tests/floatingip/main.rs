//! The router of floating IPs on fakes of the clouds' APIs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

#[path = "../fakes/mod.rs"]
mod fakes;

mod answers;
mod conformance;
mod denied;
mod holders;
mod lost;
mod owners;
mod pipeline;
mod polls;
mod probe;
mod setup;
mod token;
mod waits;
