//! A fake load balancer of Hetzner Cloud: every change is an action, lists have no order, and a target is a server at an
//! address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::call::Call;
use super::hetzner::{describe_action, error, list_actions, relabel};
use super::server::{Cloud, Reply, rate_limit, takes};
use super::shuffle::rotate_lists;
use super::spec::Spec;
use super::{Ending, Traffic};

/// The state of the fake.
pub struct HetznerLb {
    state: Mutex<State>,
}

struct State {
    balancer: Value,
    traffic: Traffic,
    /// Command and status.
    actions: BTreeMap<u64, (String, &'static str)>,
    action_time: Duration,
    next_endings: Vec<Ending>,
    without_ipv4: BTreeSet<u64>,
    reads: usize,
}

impl HetznerLb {
    pub const ID: u64 = 4711;

    /// With these servers, services from 80 and 443 to port 3000, and members that no document names yet.
    pub fn new(servers: &[u64]) -> Arc<Self> {
        let service = |listen: u64, protocol: &str, http: Value| {
            json!({ "protocol": protocol, "listen_port": listen, "destination_port": 3000, "proxyprotocol": true,
                "health_check": { "protocol": "http", "port": 3000, "interval": 15, "timeout": 10, "retries": 3,
                    "http": { "domain": "shop.example.com", "path": "/health", "response": "", "status_codes": ["2??", "3??"],
                        "tls": false } },
                "http": http, "of_tomorrow": listen })
        };
        let http =
            json!({ "cookie_name": "HCLBSTICKY", "cookie_lifetime": 300, "timeout_idle": 50, "sticky_sessions": true });
        let mut https = http.clone();
        (https["certificates"], https["redirect_http"]) = (json!([897]), json!(false));
        let mut balancer = Spec::hetzner().answer(&format!("/v1/load_balancers/{}", Self::ID))["load_balancer"].take();
        let own = json!({
            "id": Self::ID, "name": "shop", "algorithm": { "type": "least_connections" },
            "services": [service(80, "http", http), service(443, "https", https)],
            "targets": servers.iter().map(|id| target(*id, None, false)).collect::<Vec<_>>(), "of_tomorrow": true,
        });
        balancer.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let mut state = State {
            balancer,
            traffic: Traffic::default(),
            actions: BTreeMap::new(),
            action_time: Duration::ZERO,
            next_endings: Vec::new(),
            without_ipv4: BTreeSet::new(),
            reads: 0,
        };
        state.follow();
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub fn actions_take(&self, time: Duration) {
        self.state.lock().unwrap().action_time = time;
    }

    pub fn next_action(&self, ending: Ending) {
        self.state.lock().unwrap().next_endings.push(ending);
    }

    /// These servers have no public IPv4 address.
    pub fn without_ipv4(&self, servers: &[u64]) {
        self.state.lock().unwrap().without_ipv4.extend(servers);
    }

    pub fn traffic<T>(&self, work: impl FnOnce(&mut Traffic) -> T) -> T {
        work(&mut self.state.lock().unwrap().traffic)
    }

    pub fn balancer(&self) -> Value {
        self.state.lock().unwrap().balancer.clone()
    }

    pub fn change_by_hand(&self, edit: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        edit(&mut state.balancer);
        state.follow();
    }

    /// Makes these the targets: a server, and an address that is not its IPv4 address.
    pub fn set_targets(&self, targets: &[(u64, Option<&str>)]) {
        let targets: Vec<Value> = targets.iter().map(|(id, address)| target(*id, *address, false)).collect();
        self.change_by_hand(|balancer| balancer["targets"] = json!(targets));
    }

    /// Reaches these servers over the private network from now on, and no others.
    pub fn reach_privately(&self, servers: &[u64]) {
        self.change_by_hand(|balancer| {
            for entry in balancer["targets"].as_array_mut().unwrap() {
                let id = entry["server"]["id"].as_u64().unwrap();
                *entry = target(id, None, servers.contains(&id));
            }
        });
    }

    /// Each server behind it, and whether it is reached over the private network.
    pub fn reached_privately(&self) -> BTreeMap<u64, bool> {
        let balancer = self.balancer();
        let targets = balancer["targets"].as_array().unwrap().iter();
        targets.map(|target| (target["server"]["id"].as_u64().unwrap(), target["use_private_ip"] == true)).collect()
    }

    /// Each target: its server and its address.
    pub fn reached_at(&self) -> BTreeSet<(u64, String)> {
        let balancer = self.balancer();
        let targets = balancer["targets"].as_array().unwrap().iter().map(|target| &target["server"]);
        targets.map(|server| (server["id"].as_u64().unwrap(), server["ip"].as_str().unwrap().to_owned())).collect()
    }

    fn read(&self) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.reads += 1;
        let mut balancer = state.balancer.clone();
        (balancer["ingoing_traffic"], balancer["of_tomorrow"]) = (json!(state.reads), json!(state.reads));
        for target in balancer["targets"].as_array_mut().unwrap() {
            let Some(id) = target["server"]["id"].as_u64() else { continue };
            // Another way to write an IPv6 address.
            target["server"]["ip"] = json!(target["server"]["ip"].as_str().unwrap().to_uppercase());
            let status = if state.traffic.is_healthy(id) { "healthy" } else { "unhealthy" };
            let health = |listen: u64| json!({ "listen_port": listen, "status": status });
            target["health_status"] = json!([health(80), health(443)]);
        }
        rotate_lists(&mut balancer, state.reads);
        (200, json!({ "load_balancer": balancer }))
    }

    fn update(&self, body: &Value) -> Reply {
        {
            let mut state = self.state.lock().unwrap();
            if let Err(refusal) = relabel(&mut state.balancer["labels"], body) {
                return refusal;
            }
        }
        self.read()
    }

    fn act(self: &Arc<Self>, action: &str, body: &Value) -> Reply {
        let mut state = self.state.lock().unwrap();
        if state.actions.values().any(|(_, status)| *status == "running") {
            return error(423, "locked", "the load balancer is locked");
        }
        let mut changed = state.balancer.clone();
        let result = match (action, body["type"].as_str()) {
            ("add_target", Some("server")) => state.add_target(&mut changed, body),
            ("remove_target", Some("server")) => remove_target(&mut changed, body),
            ("update_service", None) => update_service(&mut changed, body),
            _ => Err(error(404, "not_found", "no such action")),
        };
        if let Err(refusal) = result {
            return refusal;
        }
        let number = 9000 + state.actions.len() as u64;
        state.actions.insert(number, (action.to_owned(), "running"));
        let ending = if state.next_endings.is_empty() { Ending::Completed } else { state.next_endings.remove(0) };
        let (fake, time, command) = (Arc::clone(self), state.action_time, action.to_owned());
        tokio::spawn(async move {
            takes(time).await;
            let mut state = fake.state.lock().unwrap();
            if ending == Ending::Errored {
                state.actions.insert(number, (command, "error"));
            } else {
                state.balancer = changed;
                state.follow();
                state.actions.insert(number, (command, "success"));
            }
        });
        (201, json!({ "action": describe_action(number, action, "running") }))
    }

    fn list_actions(&self, query: &str) -> Reply {
        let state = self.state.lock().unwrap();
        let actions = state.actions.iter().map(|(id, (command, status))| describe_action(*id, command, status));
        (200, list_actions(actions.collect(), query))
    }

    fn read_action(&self, id: u64) -> Reply {
        match self.state.lock().unwrap().actions.get(&id) {
            Some((command, status)) => (200, json!({ "action": describe_action(id, command, status) })),
            None => error(404, "not_found", "no such action"),
        }
    }
}

impl State {
    fn follow(&mut self) {
        let targets = self.balancer["targets"].as_array().unwrap();
        let ids: Vec<u64> = targets.iter().filter_map(|target| target["server"]["id"].as_u64()).collect();
        let services = self.balancer["services"].as_array().unwrap();
        let web = services.iter().find(|service| service["listen_port"] == 80).unwrap();
        self.traffic.follow(ids, web["destination_port"].as_u64().unwrap());
    }

    fn add_target(&self, balancer: &mut Value, body: &Value) -> Result<(), Reply> {
        let id = body["server"]["id"].as_u64().unwrap();
        let address = body["server"]["ip"].as_str().map(str::to_lowercase);
        let address = address.as_deref();
        let private = body["use_private_ip"] == true;
        let new = target(id, address, private);
        let max = balancer["load_balancer_type"]["max_targets"].as_u64().unwrap();
        let targets = balancer["targets"].as_array_mut().unwrap();
        match address {
            Some(_) if private => return Err(error(422, "invalid_input", "a private target has no ip")),
            Some(address) if !is_address_of(id, address) => {
                return Err(error(422, "ip_not_assigned_to_server", "the IP is not assigned to the server"));
            }
            None if !private && self.without_ipv4.contains(&id) => {
                return Err(error(422, "resolve_cloud_public_targets_error", "the server has no public IPv4 address"));
            }
            _ => {}
        }
        if targets.iter().any(|there| there["server"] == new["server"]) {
            return Err(error(422, "target_already_defined", "the target is defined already"));
        }
        if targets.len() as u64 >= max {
            return Err(error(403, "resource_limit_exceeded", "the load balancer has too many targets"));
        }
        targets.push(new);
        Ok(())
    }
}

/// Without an address: the one over the private network, or else the one at the IPv4 address.
fn remove_target(balancer: &mut Value, body: &Value) -> Result<(), Reply> {
    let id = body["server"]["id"].as_u64().unwrap();
    let private = target(id, None, true);
    let address = body["server"]["ip"].as_str().map(str::to_lowercase);
    let public = target(id, address.as_deref(), false);
    let targets = balancer["targets"].as_array_mut().unwrap();
    let is = |wanted: &Value| {
        let server = wanted["server"].clone();
        move |there: &Value| there["server"] == server
    };
    let at = targets.iter().position(is(&public)).or_else(|| {
        let nameless = body["server"].get("ip").is_none();
        targets.iter().position(is(&private)).filter(|_| nameless)
    });
    match at {
        Some(at) => drop(targets.remove(at)),
        None => return Err(error(404, "load_balancer_target_not_found", "load balancer target not found")),
    }
    Ok(())
}

fn update_service(balancer: &mut Value, body: &Value) -> Result<(), Reply> {
    let services = balancer["services"].as_array_mut().unwrap();
    let found = services.iter_mut().find(|service| service["listen_port"] == body["listen_port"]);
    let service = found.ok_or_else(|| error(404, "not_found", "no such service"))?;
    for (name, value) in body.as_object().unwrap() {
        service[name] = value.clone();
    }
    Ok(())
}

/// A target as the API shows it. The address is the server's IPv4 address, unless another one was named.
fn target(id: u64, address: Option<&str>, private: bool) -> Value {
    let own = if private { format!("10.0.0.{id}") } else { format!("192.0.2.{id}") };
    let server = json!({ "id": id, "ip": address.unwrap_or(&own) });
    json!({ "type": "server", "server": server, "health_status": [], "use_private_ip": private, "of_tomorrow": id })
}

/// Whether this is the public IPv4 address of a server, or in its IPv6 network, `2001:db8:0:ID::/64`.
fn is_address_of(id: u64, address: &str) -> bool {
    match address.parse().unwrap() {
        IpAddr::V4(_) => address == format!("192.0.2.{id}"),
        IpAddr::V6(address) => {
            let network: std::net::Ipv6Addr = format!("2001:db8:0:{id}::").parse().unwrap();
            address.segments()[..4] == network.segments()[..4]
        }
    }
}

impl Cloud for HetznerLb {
    fn spec() -> &'static Spec {
        Spec::hetzner()
    }

    fn headers() -> Vec<(&'static str, String)> {
        rate_limit(3600)
    }

    fn handle(self: &Arc<Self>, call: &Call) -> Reply {
        let parts: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        let id = Self::ID.to_string();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["v1", "load_balancers", own]) if *own == id => self.read(),
            ("PUT", ["v1", "load_balancers", own]) if *own == id => self.update(&call.body),
            ("GET", ["v1", "load_balancers", own, "actions"]) if *own == id => self.list_actions(&call.query),
            ("POST", ["v1", "load_balancers", own, "actions", action]) if *own == id => self.act(action, &call.body),
            ("GET", ["v1", "actions", action]) => self.read_action(action.parse().unwrap_or(0)),
            _ => error(404, "not_found", "resource not found"),
        }
    }

    fn refusal(status: u16, code: &str, message: &str) -> Reply {
        error(status, code, message)
    }
}
