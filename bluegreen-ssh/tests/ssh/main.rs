//! SSH hosts, BEAM releases and git deploys on real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

#[macro_use]
mod needs;

mod authentication;
mod beam_app;
mod beam_conformance;
mod beam_migrator;
mod beam_prepare;
mod beam_runtime;
mod beam_server;
mod commands;
mod conformance;
mod connection;
mod console;
mod files;
mod git_conformance;
mod git_lab;
mod git_pipeline;
mod git_runtime;
mod git_ssh;
mod git_take_over;
mod host_keys;
mod login_profiles;
mod reach;
mod sessions;
mod ssh_config;
mod terminal;
