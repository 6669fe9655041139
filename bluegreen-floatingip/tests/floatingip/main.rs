//! The routers of addresses and load balancers on fakes of the clouds' APIs, and addresses that really move.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

mod address;
mod host_vip;
mod load_balancer;
