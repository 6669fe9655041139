//! What the tests and benches of the workspace share. Nothing here is published.
//!
//! What is started here ends when its value is dropped, also when a test fails.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "support of tests: a test that cannot go on fails"
)]

pub mod address;
pub mod beam;
pub mod delay;
pub mod docker;
#[cfg(feature = "fakes")]
pub mod fakes;
pub mod haproxy;
pub mod host;
pub mod http;
#[cfg(feature = "lab")]
pub mod lab;
pub mod nginx;
pub mod patience;
pub mod pids;
pub mod process;
pub mod ssh;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "traffic")]
pub mod traffic;
