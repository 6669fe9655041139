//! The router of load balancers on fakes of the clouds' APIs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

#[path = "../fakes/mod.rs"]
mod fakes;

mod conformance;
mod documents;
mod owners;
mod pipeline;
mod ports;
mod servers;
mod setup;
mod targets;
