//! Both routers against a real nginx on the loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

mod changes;
mod conformance;
mod elsewhere;
mod far_host;
mod flags_attach;
mod flags_drift;
mod flags_switch;
mod in_flight;
mod links_attach;
mod links_switch;
mod release_headers;
mod setup;
mod site;
mod sites;
mod tls;
