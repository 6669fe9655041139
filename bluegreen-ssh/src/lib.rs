//! Servers over SSH, as a [`Host`](bluegreen_core::Host) of the pipeline.

mod auth;
mod builder;
mod connection;
mod console;
mod destination;
mod failure;
mod files;
mod host;
mod host_key;
mod known_hosts;
mod process;
mod run;
mod script;
mod settings;
mod ssh_config;
mod transfer;
mod tunnel;

pub use builder::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_KEEPALIVE_INTERVAL, DEFAULT_KEEPALIVE_MAX, DEFAULT_MAX_SESSIONS, SshHostBuilder,
};
pub use host::SshHost;
