//! The services of a load balancer of Hetzner: which ports they lead to.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::load_balancer::documented;

/// What the API documents of a health check, and takes; any other member is refused.
static HEALTH_CHECK: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "protocol": null, "port": null, "interval": null, "timeout": null, "retries": null,
        "http": { "domain": null, "path": null, "response": null, "status_codes": null, "tls": null },
    })
});

/// What is written of a service, or tells it from others.
pub(super) static SERVICE: LazyLock<Value> =
    LazyLock::new(|| json!({ "listen_port": null, "destination_port": null, "health_check": *HEALTH_CHECK }));

/// With each destination port, and each health check's port, replaced.
pub(super) fn retargeted(settings: &Value, port: &dyn Fn(u64) -> u64) -> Value {
    let mut settings = settings.clone();
    let replace = |value: &mut Value| {
        if let Some(old) = value.as_u64() {
            *value = json!(port(old));
        }
    };
    for service in settings.get_mut("services").and_then(Value::as_array_mut).into_iter().flatten() {
        service.get_mut("destination_port").map(replace);
        service.get_mut("health_check").and_then(|check| check.get_mut("port")).map(replace);
    }
    settings
}

pub(super) fn target_ports(settings: &Value) -> Vec<u64> {
    services(settings).iter().filter_map(|service| service["destination_port"].as_u64()).collect()
}

/// One update for each service that differs, with nothing in it but what differs. A health check is always written whole.
pub(super) fn updates(seen: &Value, wanted: &Value) -> Vec<Value> {
    let old_of = |service: &Value| {
        services(seen).iter().find(|old| old["listen_port"] == service["listen_port"]).cloned().unwrap_or_default()
    };
    let update = |service: &Value| {
        let (old, mut body) = (old_of(service), Map::new());
        if service["destination_port"] != old["destination_port"] {
            body.insert("destination_port".to_owned(), service["destination_port"].clone());
        }
        if service["health_check"] != old["health_check"] {
            body.insert("health_check".to_owned(), documented(&service["health_check"], &HEALTH_CHECK));
        }
        (!body.is_empty()).then(|| {
            body.insert("listen_port".to_owned(), service["listen_port"].clone());
            Value::Object(body)
        })
    };
    services(wanted).iter().filter_map(update).collect()
}

fn services(settings: &Value) -> &[Value] {
    settings["services"].as_array().map(Vec::as_slice).unwrap_or_default()
}
