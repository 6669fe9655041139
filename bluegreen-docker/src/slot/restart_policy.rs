//! What the engine does when a container ends.

use bollard::models::{RestartPolicy, RestartPolicyNameEnum};

/// From `no`, `always`, `unless-stopped` or `on-failure[:count]`; anything else is `no`.
pub(crate) fn restart_policy(text: &str) -> RestartPolicy {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    let name = match name {
        "always" => RestartPolicyNameEnum::ALWAYS,
        "unless-stopped" => RestartPolicyNameEnum::UNLESS_STOPPED,
        "on-failure" => RestartPolicyNameEnum::ON_FAILURE,
        _ => RestartPolicyNameEnum::NO,
    };
    RestartPolicy { name: Some(name), maximum_retry_count: count.parse().ok() }
}
