//! The deploy tool `examples/beam-nginx.rs` on a real sshd, a real nginx and real releases, with clients in front.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test that cannot go on fails")]

mod commands;
mod crashes;
mod deploys;
mod failures;
mod hands;
mod lines;
mod links;
mod restart;
mod setup;
#[path = "../../examples/beam-nginx.rs"]
#[allow(dead_code, reason = "its commands are tested in commands.rs")]
mod tool;
mod web_socket;
