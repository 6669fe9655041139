//! The pipeline's guarantees, each as a test, over the memory adapters and paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod cancel;
mod confirm;
mod crash;
mod deploy;
mod drift;
mod events;
mod gates;
mod health;
mod lease;
mod migrations;
mod out_of_reach;
mod plan;
mod random_faults;
mod recover;
mod refused;
mod restore;
mod rollback;
mod settings;
mod undo;
mod world;
