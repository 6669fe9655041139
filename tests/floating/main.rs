//! The deploy tool `examples/floating-ip.rs` on two servers in network namespaces, each with sshd, git and nginx, with a
//! client in front of an address that really moves: by fakes of DigitalOcean and Hetzner, and by the servers themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test that cannot go on fails")]

mod cloud;
mod crashes;
mod deployer;
mod faults;
mod hands;
mod releases;
mod server;
mod world;
