//! A fake load balancer of DigitalOcean. A write replaces everything, as with the real one, and lists have no order.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Traffic;
use super::call::Call;
use super::digitalocean::no;
use super::server::{Cloud, Reply, rate_limit};
use super::shuffle::rotate_lists;
use super::spec::Spec;

type Edit = Box<dyn FnOnce(&mut Value) + Send>;

/// The state of the fake.
pub struct DigitalOceanLb {
    state: Mutex<State>,
}

struct State {
    balancer: Value,
    traffic: Traffic,
    busy_until: Instant,
    busy_for: Duration,
    hides_project: bool,
    reads: usize,
    edits: Vec<(usize, Edit)>,
}

impl DigitalOceanLb {
    pub const ID: &str = "4de7ac8b-495b-4884-9a69-1050c6793cd6";

    /// Where a balancer is that belongs to no other project.
    pub const DEFAULT_PROJECT: &str = "00000000-0000-4000-8000-000000000000";

    /// With these droplets, rules from 80 and 443 to port 3000 and from 22 to 22, settings that are no defaults, and members
    /// that no document names yet.
    pub fn new(droplets: &[u64]) -> Arc<Self> {
        let rule = |entry: &str, port: u64, target: &str, target_port: u64| {
            json!({ "entry_protocol": entry, "entry_port": port, "target_protocol": target, "target_port": target_port,
                "certificate_id": "", "tls_passthrough": false, "of_tomorrow": port })
        };
        let mut balancer =
            Spec::digitalocean().answer(&format!("/v2/load_balancers/{}", Self::ID))["load_balancer"].take();
        let own = json!({
            "id": Self::ID, "name": "shop", "ip": "203.0.113.9", "ipv6": "2001:db8::9", "status": "active", "tag": "",
            "size": "lb-small", "size_unit": 2, "droplet_ids": droplets,
            "forwarding_rules": [rule("http", 80, "http", 3000), rule("https", 443, "http", 3000), rule("tcp", 22, "tcp", 22)],
            "health_check": { "protocol": "http", "port": 3000, "path": "/health", "check_interval_seconds": 3,
                "response_timeout_seconds": 5, "healthy_threshold": 2, "unhealthy_threshold": 5 },
            "sticky_sessions": { "type": "cookies", "cookie_name": "DO-LB", "cookie_ttl_seconds": 300 },
            "type": "REGIONAL", "domains": [], "glb_settings": null, "target_load_balancer_ids": [],
            "of_tomorrow": { "kept": [1, 2] },
        });
        balancer.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        balancer["region"]["slug"] = json!("fra1");
        // The document says that it is absent where it does not apply.
        balancer.as_object_mut().unwrap().remove("glb_settings");
        let mut state = State {
            balancer,
            traffic: Traffic::default(),
            busy_until: Instant::now(),
            busy_for: Duration::ZERO,
            hides_project: false,
            reads: 0,
            edits: Vec::new(),
        };
        state.follow();
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// How long it takes no further change after one, and its machines need to follow.
    pub fn busy_for(&self, time: Duration) {
        self.state.lock().unwrap().busy_for = time;
    }

    /// As with a token without the scope `project:read`.
    pub fn hide_project(&self) {
        self.state.lock().unwrap().hides_project = true;
    }

    pub fn traffic<T>(&self, work: impl FnOnce(&mut Traffic) -> T) -> T {
        work(&mut self.state.lock().unwrap().traffic)
    }

    /// Somebody else changes it right after so many more reads.
    pub fn edit_after(&self, reads: usize, edit: impl FnOnce(&mut Value) + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        let at = state.reads + reads;
        state.edits.push((at, Box::new(edit)));
    }

    pub fn balancer(&self) -> Value {
        self.state.lock().unwrap().balancer.clone()
    }

    /// Changes it at once, as a person does in the control panel.
    pub fn change_by_hand(&self, edit: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        edit(&mut state.balancer);
        state.follow();
    }

    fn read(&self) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.reads += 1;
        let reads = state.reads;
        let mut balancer = state.balancer.clone();
        rotate_lists(&mut balancer, reads);
        // What changes by itself, and no document names.
        balancer["requests_of_late"] = json!(reads);
        if state.hides_project {
            balancer.as_object_mut().unwrap().remove("project_id");
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.edits).into_iter().partition(|(at, _)| *at <= reads);
        state.edits = later;
        for (_, edit) in due {
            edit(&mut state.balancer);
            state.follow();
        }
        (200, json!({ "load_balancer": balancer }))
    }

    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Value) -> Result<(), Reply>, reply: Reply) -> Reply {
        let mut state = self.state.lock().unwrap();
        if Instant::now() < state.busy_until {
            let message = "Load Balancer can't be updated while it processes previous actions";
            return no(403, "forbidden", message);
        }
        if let Err(refusal) = change(&mut state.balancer) {
            return refusal;
        }
        let time = state.busy_for;
        state.busy_until = Instant::now() + time;
        if time.is_zero() {
            state.follow();
        } else {
            let fake = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                fake.state.lock().unwrap().follow();
            });
        }
        reply
    }

    fn put(self: &Arc<Self>, body: &Value) -> Reply {
        let Some(mut given) = body.as_object().cloned() else { return no(422, "unprocessable_entity", "no body") };
        if given.contains_key("size") && given.contains_key("size_unit") {
            return no(422, "unprocessable_entity", "either size or size_unit");
        }
        let domains = given.get("domains").and_then(Value::as_array).into_iter().flatten();
        if domains.into_iter().any(|domain| domain.get("status").is_some()) {
            return no(422, "unprocessable_entity", "a domain's status cannot be set");
        }
        let replace = |balancer: &mut Value| {
            let spec = Spec::digitalocean();
            let mut new = spec.defaults(spec.component("load_balancer_base"));
            for name in ["id", "ip", "ipv6", "status", "created_at", "region", "size", "vpc_uuid"] {
                new.insert(name.to_owned(), balancer[name].clone());
            }
            for (name, value) in [("droplet_ids", json!([])), ("tag", json!("")), ("domains", json!([]))] {
                new.insert(name.to_owned(), value);
            }
            new.insert("project_id".to_owned(), json!(Self::DEFAULT_PROJECT));
            new.insert("target_load_balancer_ids".to_owned(), json!([]));
            given.remove("region");
            given.remove("requests_of_late");
            new.append(&mut given);
            *balancer = Value::Object(new);
            Ok(())
        };
        let reply = self.change(replace, (200, Value::Null));
        if reply.0 == 200 { (200, json!({ "load_balancer": self.balancer() })) } else { reply }
    }

    fn droplets(self: &Arc<Self>, body: &Value, add: bool) -> Reply {
        let given: Vec<u64> = body["droplet_ids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        let edit = |balancer: &mut Value| {
            if balancer["tag"].as_str() != Some("") {
                return Err(no(422, "unprocessable_entity", "the load balancer selects droplets by tag"));
            }
            let ids = balancer["droplet_ids"].as_array_mut().unwrap();
            ids.retain(|id| !given.contains(&id.as_u64().unwrap()));
            if add {
                ids.extend(given.iter().map(|id| json!(id)));
            }
            Ok(())
        };
        self.change(edit, (204, Value::Null))
    }
}

impl State {
    fn follow(&mut self) {
        let ids: Vec<u64> = self.balancer["droplet_ids"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        let rules = self.balancer["forwarding_rules"].as_array().unwrap();
        let web = rules.iter().find(|rule| rule["entry_port"] == 80).unwrap_or(&rules[0]);
        let port = web["target_port"].as_u64().unwrap();
        self.traffic.follow(ids, port);
    }
}

impl Cloud for DigitalOceanLb {
    fn spec() -> &'static Spec {
        Spec::digitalocean()
    }

    fn headers() -> Vec<(&'static str, String)> {
        rate_limit(5000)
    }

    fn handle(self: &Arc<Self>, call: &Call) -> Reply {
        let parts: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["v2", "load_balancers", Self::ID]) => self.read(),
            ("PUT", ["v2", "load_balancers", Self::ID]) => self.put(&call.body),
            ("POST", ["v2", "load_balancers", Self::ID, "droplets"]) => self.droplets(&call.body, true),
            ("DELETE", ["v2", "load_balancers", Self::ID, "droplets"]) => self.droplets(&call.body, false),
            _ => no(404, "not_found", "The resource was not found."),
        }
    }

    fn refusal(status: u16, code: &str, message: &str) -> Reply {
        no(status, code, message)
    }
}
