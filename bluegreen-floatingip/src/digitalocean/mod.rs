//! DigitalOcean.

mod load_balancer;
mod reserved_ip;
mod settings;

pub use load_balancer::DigitalOceanBalancer;
pub use reserved_ip::DigitalOceanIp;

/// Where the API is.
const API: &str = "https://api.digitalocean.com";

/// What a 403 most often means here.
const SCOPES: &str =
    "does the token have the scopes reserved_ip:read, reserved_ip:update, droplet:read and, for IPv6, actions:read?";
