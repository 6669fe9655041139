//! The pipeline's guarantees, each as a test, over the memory adapters and paused time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod advice;
mod cancel;
mod confirm;
mod crash;
mod dead_ends;
mod deploy;
mod drift;
mod events;
mod fleet;
mod full_disk;
mod gates;
mod health;
mod hooks;
mod json;
mod last_deploy;
mod lease;
mod migrations;
mod model;
mod out_of_reach;
mod plan;
mod provenance;
mod recover;
mod refused;
mod restore;
mod rollback;
mod runtime_hooks;
mod schedules;
mod settings;
mod undo;
mod world;
