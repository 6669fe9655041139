//! The example `compose-shop.rs` on a real engine, with a real registry, a real nginx and clients in front.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test that cannot go on fails")]

mod bad_releases;
mod canary;
mod crashes;
mod deploys;
mod engine;
mod hands;
mod over_ssh;
mod own_engine;
mod parts;
mod server;
#[path = "../../examples/compose-shop.rs"]
#[allow(dead_code, reason = "its story is told by its own run")]
mod tool;
