//! Hetzner Cloud.

mod floating_ip;
mod label;
mod load_balancer;
mod services;
mod targets;

pub use floating_ip::HetznerIp;
pub use load_balancer::HetznerBalancer;

use crate::api::{MAINTENANCE, Trouble};

/// Where the API is.
const API: &str = "https://api.hetzner.cloud";

/// What a 403 most often means here.
const RIGHTS: &str = "is the token of this project, with permission to read and write?";

/// Whether the API says that it would do it, but not now.
fn is_busy(trouble: &Trouble) -> Option<String> {
    let Trouble::Refused { code, message, .. } = trouble else { return None };
    matches!(code.as_str(), "conflict" | "locked" | MAINTENANCE).then(|| format!("{code}: {message}"))
}
