//! Releases as directories, on this machine's own shell and tools.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod artifact;
mod assets;
mod detached;
mod detached_conformance;
mod detached_lab;
mod directory;
mod support;
