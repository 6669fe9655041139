//! The servers behind a load balancer of Hetzner, as targets.
//!
//! A target is a server reached over the private network, or at one of its public addresses: a server can be several.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;

use bluegreen_core::{Error, Result};
use serde_json::{Value, json};

use crate::load_balancer::Members;

/// How new servers are to be reached.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// As the targets are that are there, unless set.
    pub(super) private: Option<bool>,
    /// By its IPv4 address, unless named here.
    pub(super) addresses: BTreeMap<u64, BTreeSet<IpAddr>>,
}

impl Reach {
    /// The targets of these servers: as they are there, else as new ones are to be.
    ///
    /// # Errors
    /// `Config` when that cannot be told.
    pub(super) fn targets(&self, there: &[Value], servers: &BTreeSet<u64>) -> Result<Vec<Value>> {
        let mut targets: Vec<Value> = there.iter().filter(|target| is_one_of(target, servers)).cloned().collect();
        let known: BTreeSet<u64> = targets.iter().filter_map(server_of).collect();
        let new: Vec<u64> = servers.difference(&known).copied().collect();
        if !new.is_empty() {
            let private = self.is_private_beside(there)?;
            for server in new {
                targets.extend(self.new_targets(server, private, there)?);
            }
        }
        Ok(targets)
    }

    fn new_targets(&self, server: u64, private: bool, there: &[Value]) -> Result<Vec<Value>> {
        let target = |server: Value| json!({ "type": "server", "server": server, "use_private_ip": private });
        match self.addresses.get(&server).filter(|addresses| !addresses.is_empty()) {
            Some(_) if private => Err(Error::config(format!(
                "server {server} would be reached over the private network, where it is no target by an address"
            ))
            .with_hint("leave out `reached_at` for it")),
            Some(addresses) => {
                Ok(addresses.iter().map(|address| target(json!({ "id": server, "ip": address.to_string() }))).collect())
            }
            None => match there.iter().find(|target| has_ipv6_address(target)) {
                Some(other) => Err(Error::config(format!(
                    "server {} is reached over IPv6, and at which address server {server} is to be cannot be told",
                    other["server"]["id"]
                ))
                .with_hint(format!("name it: `reached_at({server}, [ADDRESS])`"))),
                None => Ok(vec![target(json!({ "id": server }))]),
            },
        }
    }

    /// Whether a new target is to be reached over the private network, beside these.
    fn is_private_beside(&self, targets: &[Value]) -> Result<bool> {
        let ids = |private: bool| -> Vec<u64> {
            let targets = targets.iter().filter(|target| is_private(target) == private);
            targets.filter_map(server_of).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let (private, public) = (ids(true), ids(false));
        let there = match (private.is_empty(), public.is_empty()) {
            (true, true) => return Ok(self.private.unwrap_or(false)),
            (false, false) => {
                let message = format!(
                    "it reaches the servers {private:?} over the private network and {public:?} over the public one: how it \
                     is to reach new ones cannot be told"
                );
                return Err(Error::config(message).with_hint("remove those that are wrong, and add them the other way"));
            }
            (_, public_is_empty) => public_is_empty,
        };
        match self.private {
            Some(wanted) if wanted != there => {
                let (is, asked) = if there { ("private", "public") } else { ("public", "private") };
                let message = format!(
                    "it reaches its servers over the {is} network, and the router was told to have new ones reached over the \
                     {asked} one"
                );
                Err(Error::config(message).with_hint("leave that setting out, or change the targets by hand first"))
            }
            _ => Ok(there),
        }
    }
}

/// What tells whether a target is the one that was asked for.
pub(super) static TARGET: LazyLock<Value> =
    LazyLock::new(|| json!({ "type": null, "server": { "id": null, "ip": null }, "use_private_ip": null }));

/// An IPv6 address can be written in several ways.
pub(super) fn write_address_one_way(target: &mut Value) {
    if let Some(address) = target["server"]["ip"].as_str().and_then(|ip| ip.parse::<IpAddr>().ok()) {
        target["server"]["ip"] = json!(address.to_string());
    }
}

/// What adds a target.
pub(super) fn addition(target: &Value) -> Value {
    json!({ "type": "server", "server": server(target), "use_private_ip": is_private(target) })
}

/// What removes a target.
pub(super) fn removal(target: &Value) -> Value {
    json!({ "type": "server", "server": server(target) })
}

/// The address is a part of a public target, and must not be named for a private one.
fn server(target: &Value) -> Value {
    let id = &target["server"]["id"];
    match &target["server"]["ip"] {
        Value::String(ip) if !is_private(target) => json!({ "id": id, "ip": ip }),
        _ => json!({ "id": id }),
    }
}

pub(super) fn is_one_of(target: &Value, servers: &BTreeSet<u64>) -> bool {
    server_of(target).is_some_and(|id| servers.contains(&id))
}

fn server_of(target: &Value) -> Option<u64> {
    target["server"]["id"].as_u64()
}

fn is_private(target: &Value) -> bool {
    target["use_private_ip"].as_bool().unwrap_or(false)
}

fn has_ipv6_address(target: &Value) -> bool {
    let address = target["server"]["ip"].as_str().and_then(|ip| ip.parse().ok());
    !is_private(target) && matches!(address, Some(IpAddr::V6(_)))
}

/// A server is healthy when each of its targets is, for each service.
pub(super) fn members(targets: &[Value]) -> Members {
    let mut servers = BTreeMap::new();
    for target in targets {
        match (target["type"].as_str(), server_of(target)) {
            (Some("server"), Some(id)) => {
                let states = target["health_status"].as_array().map(Vec::as_slice).unwrap_or_default();
                let healthy = !states.is_empty() && states.iter().all(|state| state["status"] == "healthy");
                let all = servers.entry(id).or_insert(Some(true));
                *all = Some(*all == Some(true) && healthy);
            }
            (Some("label_selector"), _) => return Members::Chosen("it takes the servers with a label".to_owned()),
            (kind, _) => return Members::Chosen(format!("it has a target of the kind {}", kind.unwrap_or("unknown"))),
        }
    }
    Members::Servers(servers)
}
