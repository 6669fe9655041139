//! The router of load balancers on fakes of the clouds' APIs.

mod conformance;
mod documents;
mod owners;
mod pipeline;
mod ports;
mod servers;
mod setup;
mod targets;
