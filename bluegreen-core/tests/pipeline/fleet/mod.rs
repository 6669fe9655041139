//! What a fleet guarantees, over members in memory whose every call can be made to fail.

mod conformance;
mod crash;
mod deploys;
mod members;
mod model;
mod policy;
mod refused;
mod resume;
pub(crate) mod yard;
