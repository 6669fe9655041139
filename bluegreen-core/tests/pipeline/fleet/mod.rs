//! What a fleet guarantees, over members in memory whose every call can be made to fail.

mod crash;
mod deploys;
mod members;
mod policy;
mod refused;
mod resume;
mod yard;
