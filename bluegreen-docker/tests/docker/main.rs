//! Against a real engine, a real Compose and a real registry.
//!
//! Needed are a Docker engine that answers at `DOCKER_HOST` or on its usual socket, `docker compose` and
//! `docker-compose`, a static busybox, and Debian's `docker-registry`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod build;
mod compose;
mod conformance;
mod container;
mod corpus;
mod degraded;
mod engine;
mod jobs;
mod migrate;
mod owner;
mod ports;
mod prepare;
mod prune;
mod shared;
mod start;
mod stop;
mod supervise;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod two_slots;
