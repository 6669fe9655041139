//! What is read of a load balancer, turned into what can be written.
//!
//! A write replaces everything, and what is left out goes back to its default: so all that is not known here is kept.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Only read, never written.
const READ_ONLY: [&str; 5] = ["id", "ip", "ipv6", "status", "created_at"];

/// The body of a write that changes nothing.
pub(super) fn writable(balancer: &Value) -> Value {
    let mut settings = balancer.clone();
    let Some(fields) = settings.as_object_mut() else { return settings };
    for name in READ_ONLY {
        fields.remove(name);
    }
    // Read as an object, written as a word.
    if let Some(slug) = fields.get("region").and_then(|region| region.get("slug")).cloned() {
        fields.insert("region".to_owned(), slug);
    }
    match fields.get("tag").and_then(Value::as_str) {
        None | Some("") => {
            fields.remove("tag");
        }
        // Either droplets or a tag can be written.
        Some(_) => {
            fields.remove("droplet_ids");
        }
    }
    if fields.get("size_unit").is_some_and(|unit| !unit.is_null()) {
        fields.remove("size");
    }
    // Their order means nothing, and must not look like a change.
    if let Some(ids) = fields.get_mut("droplet_ids").and_then(Value::as_array_mut) {
        ids.sort_by_key(Value::as_u64);
    }
    settings
}

/// With these droplets.
pub(super) fn with_droplets(settings: &Value, droplets: &BTreeSet<u64>) -> Value {
    let mut settings = settings.clone();
    if let Some(fields) = settings.as_object_mut() {
        fields.insert("droplet_ids".to_owned(), json!(droplets));
    }
    settings
}

/// With each target port, and the health check's port, replaced.
pub(super) fn retargeted(settings: &Value, port: &dyn Fn(u64) -> u64) -> Value {
    let mut settings = settings.clone();
    let replace = |value: &mut Value| {
        if let Some(old) = value.as_u64() {
            *value = json!(port(old));
        }
    };
    for rule in settings.get_mut("forwarding_rules").and_then(Value::as_array_mut).into_iter().flatten() {
        rule.get_mut("target_port").map(replace);
    }
    settings.get_mut("health_check").and_then(|check| check.get_mut("port")).map(replace);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read() -> Value {
        json!({
            "id": "4de7ac8b", "name": "shop", "ip": "203.0.113.9", "ipv6": "2001:db8::9", "status": "active",
            "created_at": "2026-01-01T00:00:00Z", "region": { "slug": "fra1", "name": "Frankfurt 1" }, "tag": "",
            "size": "lb-small", "size_unit": 2, "droplet_ids": [22, 11], "vpc_uuid": "c33931f2",
            "forwarding_rules": [
                { "entry_protocol": "https", "entry_port": 443, "target_protocol": "http", "target_port": 3000,
                  "certificate_id": "892071a0", "tls_passthrough": false },
                { "entry_protocol": "tcp", "entry_port": 22, "target_protocol": "tcp", "target_port": 22 },
            ],
            "health_check": { "protocol": "http", "port": 3000, "path": "/health", "check_interval_seconds": 10 },
            "sticky_sessions": { "type": "cookies", "cookie_name": "DO-LB", "cookie_ttl_seconds": 300 },
            "redirect_http_to_https": true, "of_tomorrow": { "kept": [1, null] },
        })
    }

    #[test]
    fn what_was_read_can_be_written_and_unknown_settings_stay() {
        let settings = writable(&read());
        for gone in ["id", "ip", "ipv6", "status", "created_at", "tag", "size"] {
            assert!(settings.get(gone).is_none(), "{gone}");
        }
        assert_eq!(settings["region"], "fra1");
        assert_eq!(settings["droplet_ids"], json!([11, 22]));
        assert_eq!(settings["of_tomorrow"], json!({ "kept": [1, null] }));
        assert_eq!(settings["sticky_sessions"]["cookie_ttl_seconds"], 300);
    }

    #[test]
    fn with_a_tag_no_droplets_are_written_and_without_units_the_size_stays() {
        let mut balancer = read();
        balancer["tag"] = json!("web");
        balancer["size_unit"] = Value::Null;
        let settings = writable(&balancer);
        assert_eq!((settings.get("droplet_ids"), &settings["tag"]), (None, &json!("web")));
        assert_eq!(settings["size"], "lb-small");
    }

    #[test]
    fn ports_of_rules_and_health_check_change_and_nothing_else() {
        let settings = writable(&read());
        let flipped = retargeted(&settings, &|port| if port == 3000 { 3001 } else { port });
        assert_eq!(flipped["forwarding_rules"][0]["target_port"], 3001);
        assert_eq!(flipped["forwarding_rules"][1]["target_port"], 22);
        assert_eq!(flipped["health_check"]["port"], 3001);
        let back = retargeted(&flipped, &|port| if port == 3001 { 3000 } else { port });
        assert_eq!(back, settings);
    }
}
