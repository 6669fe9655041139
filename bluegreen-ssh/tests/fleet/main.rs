//! Fleets whose members are real SSH servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "helpers of tests, beside the test functions"
)]

mod conformance;
mod faults;
mod servers;
mod site;
