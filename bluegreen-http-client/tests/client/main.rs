//! The client against servers and proxies on loopback.
#![allow(clippy::unwrap_used, reason = "helpers of tests, beside the test functions")]

mod connections;
mod proxy;
