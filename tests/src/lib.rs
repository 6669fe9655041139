//! What the end-to-end tests and benches of the workspace share. Nothing here is published.

pub mod deployer;
pub mod killer;
pub mod round_trips;
