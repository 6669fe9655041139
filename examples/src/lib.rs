//! What the examples share: a small HTTP service to deploy, and a client that sends it steady traffic and counts.

pub mod place;
pub mod service;
pub mod traffic;
