//! The router of floating IPs on fakes of the clouds' APIs.

mod answers;
mod conformance;
mod denied;
mod holders;
mod lost;
mod owners;
mod pipeline;
mod polls;
mod probe;
mod setup;
mod token;
mod waits;
