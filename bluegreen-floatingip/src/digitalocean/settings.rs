//! What is read of a load balancer, turned into what can be written.
//!
//! A write replaces everything, and what is left out goes back to its default: so all that is not known here is kept.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// Only read, never written.
const READ_ONLY: [&str; 5] = ["id", "ip", "ipv6", "status", "created_at"];

/// What a domain says of itself, beside what is set.
const DOMAIN_STATUS: [&str; 3] = ["status", "verification_error_reasons", "ssl_validation_error_reasons"];

/// The settings that the API documents.
pub(super) static DOCUMENTED: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "name": null, "project_id": null, "region": null, "droplet_ids": null, "tag": null, "vpc_uuid": null,
        "size": null, "size_unit": null, "algorithm": null, "type": null, "network": null, "network_stack": null,
        "forwarding_rules": [{
            "entry_protocol": null, "entry_port": null, "target_protocol": null, "target_port": null,
            "certificate_id": null, "tls_passthrough": null,
        }],
        "health_check": {
            "protocol": null, "port": null, "path": null, "check_interval_seconds": null,
            "response_timeout_seconds": null, "unhealthy_threshold": null, "healthy_threshold": null,
        },
        "sticky_sessions": { "type": null, "cookie_name": null, "cookie_ttl_seconds": null },
        "redirect_http_to_https": null, "enable_proxy_protocol": null, "enable_backend_keepalive": null,
        "http_idle_timeout_seconds": null, "disable_lets_encrypt_dns_records": null, "tls_cipher_policy": null,
        "firewall": { "deny": null, "allow": null },
        "domains": [{ "name": null, "is_managed": null, "certificate_id": null }],
        "glb_settings": {
            "target_protocol": null, "target_port": null, "cdn": { "is_enabled": null }, "region_priorities": null,
            "failover_threshold": null,
        },
        "target_load_balancer_ids": null,
    })
});

/// The body of a write that changes nothing.
pub(super) fn writable(balancer: &Value) -> Value {
    let mut settings = balancer.clone();
    let Some(fields) = settings.as_object_mut() else { return settings };
    // Read as an object, written as a word.
    if let Some(slug) = fields.get("region").and_then(|region| region.get("slug")).cloned() {
        fields.insert("region".to_owned(), slug);
    }
    // What is not set is read as `null`, as an empty text, or as a size of 0 (a global one), and none of them can be written.
    fields.retain(|name, value| {
        let unset = value.is_null() || *value == "" || (name == "size_unit" && *value == 0);
        !unset && !READ_ONLY.contains(&name.as_str())
    });
    // Either droplets or a tag can be written, and either a size or its units.
    for (one, other) in [("tag", "droplet_ids"), ("size_unit", "size")] {
        if fields.contains_key(one) {
            fields.remove(other);
        }
    }
    let domains = fields.get_mut("domains").and_then(Value::as_array_mut).into_iter().flatten();
    for domain in domains.filter_map(Value::as_object_mut) {
        domain.retain(|name, _| !DOMAIN_STATUS.contains(&name.as_str()));
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
    for port in ["/health_check/port", "/glb_settings/target_port"] {
        settings.pointer_mut(port).map(replace);
    }
    settings
}

/// The ports that rules, and a global balancer, lead to.
pub(super) fn target_ports(settings: &Value) -> Vec<u64> {
    let rules = settings["forwarding_rules"].as_array().into_iter().flatten();
    let global = std::iter::once(&settings["glb_settings"]);
    rules.chain(global).filter_map(|leads| leads["target_port"].as_u64()).filter(|port| *port != 0).collect()
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
        assert_eq!(settings["droplet_ids"], json!([22, 11]));
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
    fn what_a_global_balancer_does_not_have_and_what_its_domains_say_is_not_written() {
        let mut balancer = read();
        balancer["region"] = Value::Null;
        balancer["size_unit"] = json!(0);
        balancer["size"] = json!("");
        balancer["vpc_uuid"] = json!("");
        balancer["domains"] = json!([{ "name": "shop.example.com", "is_managed": true, "certificate_id": "892071a0",
            "status": "active", "verification_error_reasons": [], "ssl_validation_error_reasons": [] }]);
        balancer["glb_settings"] = json!({ "target_port": 3000, "target_protocol": "http" });
        let settings = writable(&balancer);
        for gone in ["region", "size_unit", "size", "vpc_uuid"] {
            assert!(settings.get(gone).is_none(), "{gone}");
        }
        let domain = json!({ "name": "shop.example.com", "is_managed": true, "certificate_id": "892071a0" });
        assert_eq!(settings["domains"], json!([domain]));
        assert_eq!(target_ports(&settings), [3000, 22, 3000]);
        assert_eq!(retargeted(&settings, &|port| port + 1)["glb_settings"]["target_port"], 3001);
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
