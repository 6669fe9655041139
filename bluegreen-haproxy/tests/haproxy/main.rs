//! The router against a real HAProxy on the loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

mod by_hand;
mod checks;
mod conformance;
mod far_host;
mod faults;
mod fleet;
mod health;
mod hostile;
mod pipeline;
mod restart;
mod setup;
mod sticky;
mod switch;
mod undo;
