//! The router against a real HAProxy on the loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

mod conformance;
mod setup;
