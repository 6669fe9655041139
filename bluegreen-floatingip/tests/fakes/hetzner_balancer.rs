//! A fake load balancer of Hetzner Cloud: every change is an action.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Call, Cloud, Reply, takes};
use super::{Ending, Traffic};

/// The state of the fake.
pub(crate) struct HetznerLb {
    state: Mutex<State>,
}

struct State {
    balancer: Value,
    traffic: Traffic,
    actions: BTreeMap<u64, &'static str>,
    action_time: Duration,
    next_endings: Vec<Ending>,
}

impl HetznerLb {
    pub(crate) const ID: u64 = 4711;

    /// With these servers, and services from 80 and 443 to port 3000.
    pub(crate) fn new(servers: &[u64]) -> Arc<Self> {
        let service = |listen: u64| {
            json!({ "protocol": "http", "listen_port": listen, "destination_port": 3000, "proxyprotocol": true,
                "health_check": { "protocol": "http", "port": 3000, "interval": 15, "timeout": 10, "retries": 3,
                    "http": { "path": "/health", "status_codes": ["2??"] } },
                "http": { "cookie_name": "HCLBSTICKY", "sticky_sessions": true } })
        };
        let targets: Vec<Value> = servers.iter().map(|id| target(*id, false)).collect();
        let balancer = json!({
            "id": Self::ID, "name": "shop", "algorithm": { "type": "least_connections" }, "ingoing_traffic": 1,
            "services": [service(80), service(443)], "targets": targets, "of_tomorrow": true,
        });
        let (actions, next_endings) = (BTreeMap::new(), Vec::new());
        let mut state =
            State { balancer, traffic: Traffic::default(), actions, action_time: Duration::ZERO, next_endings };
        state.follow();
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(crate) fn actions_take(&self, time: Duration) {
        self.state.lock().unwrap().action_time = time;
    }

    pub(crate) fn next_action(&self, ending: Ending) {
        self.state.lock().unwrap().next_endings.push(ending);
    }

    pub(crate) fn traffic<T>(&self, work: impl FnOnce(&mut Traffic) -> T) -> T {
        work(&mut self.state.lock().unwrap().traffic)
    }

    pub(crate) fn balancer(&self) -> Value {
        self.state.lock().unwrap().balancer.clone()
    }

    pub(crate) fn change_by_hand(&self, edit: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        edit(&mut state.balancer);
        state.follow();
    }

    /// Reaches these servers over the private network from now on, and no others.
    pub(crate) fn reach_privately(&self, servers: &[u64]) {
        self.change_by_hand(|balancer| {
            for target in balancer["targets"].as_array_mut().unwrap() {
                target["use_private_ip"] = json!(servers.contains(&target["server"]["id"].as_u64().unwrap()));
            }
        });
    }

    /// Each server behind it, and whether it is reached over the private network.
    pub(crate) fn reached_privately(&self) -> BTreeMap<u64, bool> {
        let balancer = self.balancer();
        let targets = balancer["targets"].as_array().unwrap().iter();
        targets.map(|target| (target["server"]["id"].as_u64().unwrap(), target["use_private_ip"] == true)).collect()
    }

    fn read(&self) -> Reply {
        let state = self.state.lock().unwrap();
        let mut balancer = state.balancer.clone();
        balancer["ingoing_traffic"] = json!(std::process::id());
        for target in balancer["targets"].as_array_mut().unwrap() {
            let Some(id) = target["server"]["id"].as_u64() else { continue };
            let status = if state.traffic.is_healthy(id) { "healthy" } else { "unhealthy" };
            let health = |listen: u64| json!({ "listen_port": listen, "status": status });
            target["health_status"] = json!([health(80), health(443)]);
        }
        (200, json!({ "load_balancer": balancer }))
    }

    fn act(self: &Arc<Self>, action: &str, body: &Value) -> Reply {
        let mut state = self.state.lock().unwrap();
        if state.actions.values().any(|status| *status == "running") {
            return error(423, "locked", "the load balancer is locked");
        }
        let mut changed = state.balancer.clone();
        let id = body["server"]["id"].as_u64();
        match (action, id) {
            ("add_target", Some(id)) => {
                let targets = changed["targets"].as_array_mut().unwrap();
                if targets.iter().any(|target| target["server"]["id"] == id) {
                    return error(422, "target_already_defined", "the target is defined already");
                }
                targets.push(target(id, body["use_private_ip"] == true));
            }
            ("remove_target", Some(id)) => {
                changed["targets"].as_array_mut().unwrap().retain(|target| target["server"]["id"] != id);
            }
            ("update_service", None) => {
                let services = changed["services"].as_array_mut().unwrap();
                let found = services.iter_mut().find(|service| service["listen_port"] == body["listen_port"]);
                let Some(service) = found else { return error(404, "not_found", "no such service") };
                for (name, value) in body.as_object().unwrap() {
                    service[name] = value.clone();
                }
            }
            _ => return error(404, "not_found", "no such action"),
        }
        let number = 9000 + state.actions.len() as u64;
        state.actions.insert(number, "running");
        let ending = if state.next_endings.is_empty() { Ending::Completed } else { state.next_endings.remove(0) };
        let (fake, time) = (Arc::clone(self), state.action_time);
        tokio::spawn(async move {
            takes(time).await;
            let mut state = fake.state.lock().unwrap();
            if ending == Ending::Errored {
                state.actions.insert(number, "error");
            } else {
                state.balancer = changed;
                state.follow();
                state.actions.insert(number, "success");
            }
        });
        (201, json!({ "action": { "id": number, "status": "running", "command": action } }))
    }

    fn running(&self) -> Reply {
        let state = self.state.lock().unwrap();
        let running = state.actions.iter().filter(|(_, status)| **status == "running");
        let list: Vec<Value> = running.map(|(id, status)| json!({ "id": id, "status": status })).collect();
        (200, json!({ "actions": list }))
    }

    fn read_action(&self, id: u64) -> Reply {
        match self.state.lock().unwrap().actions.get(&id) {
            Some(status) => {
                let why =
                    if *status == "error" { json!({ "code": "failed", "message": "it failed" }) } else { Value::Null };
                (200, json!({ "action": { "id": id, "status": status, "error": why } }))
            }
            None => error(404, "not_found", "no such action"),
        }
    }
}

impl State {
    fn follow(&mut self) {
        let targets = self.balancer["targets"].as_array().unwrap();
        let ids: Vec<u64> = targets.iter().filter_map(|target| target["server"]["id"].as_u64()).collect();
        let port = self.balancer["services"][0]["destination_port"].as_u64().unwrap();
        self.traffic.follow(ids, port);
    }
}

fn target(id: u64, private: bool) -> Value {
    json!({ "type": "server", "server": { "id": id }, "use_private_ip": private })
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    (status, json!({ "error": { "code": code, "message": message, "details": null } }))
}

impl Cloud for HetznerLb {
    fn handle(self: &Arc<Self>, call: &Call) -> Reply {
        let parts: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        let id = Self::ID.to_string();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["v1", "load_balancers", own]) if *own == id => self.read(),
            ("GET", ["v1", "load_balancers", own, "actions"]) if *own == id => self.running(),
            ("POST", ["v1", "load_balancers", own, "actions", action]) if *own == id => self.act(action, &call.body),
            ("GET", ["v1", "actions", action]) => self.read_action(action.parse().unwrap_or(0)),
            _ => error(404, "not_found", "resource not found"),
        }
    }

    fn refusal(status: u16, code: &str, message: &str) -> Reply {
        error(status, code, message)
    }
}
