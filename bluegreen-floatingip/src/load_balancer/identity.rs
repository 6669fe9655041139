//! What tells the items of a provider's list apart. Their position does not: providers reorder lists.

use std::net::IpAddr;

use serde_json::Value;

/// The name of an item among the items of this list.
pub(super) fn identity(list: &str, item: &Value) -> String {
    match list {
        "forwarding_rules" => format!("{}:{}", word(&item["entry_protocol"]), word(&item["entry_port"])),
        "services" => word(&item["listen_port"]),
        "domains" => word(&item["name"]),
        "targets" => target(item),
        _ => word(item),
    }
}

/// A server can be a target by its IPv4 address and by several IPv6 addresses.
fn target(item: &Value) -> String {
    match item["type"].as_str() {
        Some("server") => {
            let server = format!("server {}", word(&item["server"]["id"]));
            match item["server"]["ip"].as_str().map(str::parse) {
                Some(Ok(IpAddr::V6(address))) => format!("{server} at {address}"),
                _ => server,
            }
        }
        Some("label_selector") => format!("servers labelled {}", word(&item["label_selector"]["selector"])),
        Some("ip") => word(&item["ip"]["ip"]),
        _ => word(item),
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_a_target_once_by_its_ipv4_address_and_once_by_each_ipv6_address() {
        let of = |server: Value| identity("targets", &json!({ "type": "server", "server": server }));
        assert_eq!(of(json!({ "id": 7 })), "server 7");
        assert_eq!(of(json!({ "id": 7, "ip": "192.0.2.1" })), "server 7");
        assert_eq!(of(json!({ "id": 7, "ip": "2001:db8:0:0::1" })), "server 7 at 2001:db8::1");
    }
}
