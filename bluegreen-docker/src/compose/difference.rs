//! How two configurations differ, place by place.

use serde_json::Value;

use super::Port;

/// Lines that begin with `-` for what is only in the first one, and with `+` for what is only in the second.
///
/// Of a place that differs, its own value is shown and nothing around it: a configuration holds secrets.
pub(crate) fn difference(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", before, after, &mut lines);
    lines
}

fn compare(place: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    // A service that is on a network without more to say has nothing, or an empty table, there.
    let is_empty = |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    if before == after || (is_empty(before) && is_empty(after)) {
        return;
    }
    let (Value::Object(one), Value::Object(other)) = (before, after) else {
        lines.push(format!("- {place}: {}", shown(before)));
        lines.push(format!("+ {place}: {}", shown(after)));
        return;
    };
    let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    let mut keys: Vec<_> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        match (one.get(key), other.get(key)) {
            (Some(before), Some(after)) => compare(&below(key), before, after, lines),
            (Some(before), None) => lines.push(format!("- {}{}", below(key), leaf(before))),
            (None, Some(after)) => lines.push(format!("+ {}{}", below(key), leaf(after))),
            (None, None) => {}
        }
    }
}

/// A whole service is told by its name.
fn leaf(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(map) if map.len() > 2 || map.values().any(Value::is_object) => String::new(),
        other => format!(": {}", shown(other)),
    }
}

fn shown(value: &Value) -> String {
    if let Some(ports) = value.as_array().filter(|entries| entries.iter().all(|entry| entry.get("target").is_some()))
        && let Ok(ports) = serde_json::from_value::<Vec<Port>>(Value::Array(ports.clone()))
        && value.as_array().is_some_and(|entries| entries.iter().all(|entry| entry.get("type").is_none()))
    {
        return ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let before = json!({"services": {
            "db": {"image": "postgres", "environment": {"PASSWORD": "hunter2"}, "networks": {"default": null}},
            "web": {"container_name": "shop", "environment": {"KEY": "hunter2"}, "image": "web:1",
                "networks": {"default": null}, "ports": [{"target": 3000, "published": "80", "protocol": "tcp"}]},
        }});
        let after = json!({"services": {
            "web": {"environment": {"KEY": "hunter2"}, "image": "web:1", "networks": {"default": {}, "shared": {}},
                "ports": [{"target": 3000, "published": "20001", "host_ip": "127.0.0.1", "protocol": "tcp"}]},
        }});
        let expected = [
            "- services.db",
            "- services.web.container_name: shop",
            "+ services.web.networks.shared: {}",
            "- services.web.ports: 80:3000",
            "+ services.web.ports: 127.0.0.1:20001:3000",
        ];
        assert_eq!(difference(&before, &after), expected);
        assert!(difference(&before, &before).is_empty());
    }
}
