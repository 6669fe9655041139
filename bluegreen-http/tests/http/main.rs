//! Checks, smoke tests and metric sources against servers on loopback that behave in every way a real one may.
#![allow(clippy::unwrap_used, reason = "helpers of tests, beside the test functions")]

mod active_probe;
mod conformance;
mod encoded;
mod http_check;
mod http_hook;
mod prometheus_page;
mod promql;
mod proxy;
mod smoke_test;
mod vendors;
