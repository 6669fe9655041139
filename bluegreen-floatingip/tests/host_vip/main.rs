//! Addresses that really move, between servers in network namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

#[path = "../lab/mod.rs"]
mod lab;

mod conformance;
mod faults;
mod moves;
mod owners;
mod rights;
