//! The part of a balancer's settings that a switch by servers changes.

use serde_json::Value;

use super::balancer::Balancer;

/// At DigitalOcean the one, at Hetzner the other.
const MEMBERS: [&str; 2] = ["droplet_ids", "targets"];

/// The members alone, as far as they are judged.
pub(super) fn members(balancer: &dyn Balancer, settings: &Value) -> Value {
    let mut settings = balancer.judged(settings);
    if let Some(fields) = settings.as_object_mut() {
        fields.retain(|name, _| MEMBERS.contains(&name.as_str()));
    }
    settings
}

/// How many members there are.
pub(super) fn count(settings: &Value) -> usize {
    MEMBERS.iter().filter_map(|name| settings[*name].as_array()).map(Vec::len).sum()
}
