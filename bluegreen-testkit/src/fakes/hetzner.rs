//! A fake Hetzner Cloud: floating IPs, servers, actions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::call::Call;
use super::server::{Cloud, Reply, rate_limit, takes};
use super::spec::Spec;
use super::{Ending, Hook, Move};

/// The state of the fake.
#[derive(Default)]
pub struct Hetzner {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ips: BTreeMap<u64, Ip>,
    servers: BTreeMap<u64, Server>,
    actions: BTreeMap<u64, Action>,
    action_time: Duration,
    next_endings: Vec<Ending>,
    hook: Option<Hook>,
}

struct Ip {
    server: Option<u64>,
    blocked: bool,
    labels: Value,
}

struct Server {
    zone: &'static str,
    status: &'static str,
    locked: bool,
}

struct Action {
    ip: u64,
    status: &'static str,
    visible: bool,
}

impl Hetzner {
    /// With servers 11 (blue) and 22 (green) and the stranger 33 in Europe, server 44 in America.
    pub fn new() -> Arc<Self> {
        let fake = Self::default();
        {
            let mut state = fake.state.lock().unwrap();
            for (id, zone) in [(11, "eu-central"), (22, "eu-central"), (33, "eu-central"), (44, "us-east")] {
                state.servers.insert(id, Server { zone, status: "running", locked: false });
            }
        }
        Arc::new(fake)
    }

    /// Adds a floating IP in Europe.
    pub fn create(&self, ip: u64) {
        self.state
            .lock()
            .unwrap()
            .ips
            .insert(ip, Ip { server: None, blocked: false, labels: json!({ "environment": "prod" }) });
    }

    /// How long an action takes.
    pub fn actions_take(&self, time: Duration) {
        self.state.lock().unwrap().action_time = time;
    }

    /// How the next action ends.
    pub fn next_action(&self, ending: Ending) {
        self.state.lock().unwrap().next_endings.push(ending);
    }

    /// Called when an address has moved, before the API says so.
    pub fn on_assign(&self, hook: impl Fn(Move) + Send + Sync + 'static) {
        self.state.lock().unwrap().hook = Some(Arc::new(hook));
    }

    pub fn set_server(&self, id: u64, status: &'static str, locked: bool) {
        let mut state = self.state.lock().unwrap();
        let server = state.servers.get_mut(&id).unwrap();
        (server.status, server.locked) = (status, locked);
    }

    /// So many actions on the address have ended before.
    pub fn past_actions(&self, ip: u64, count: u64) {
        let mut state = self.state.lock().unwrap();
        for _ in 0..count {
            let id = 9000 + state.actions.len() as u64;
            state.actions.insert(id, Action { ip, status: "success", visible: true });
        }
    }

    pub fn block(&self, ip: u64) {
        self.state.lock().unwrap().ips.get_mut(&ip).unwrap().blocked = true;
    }

    /// Moves an address at once, as a person does in the console.
    pub fn move_by_hand(&self, ip: u64, to: Option<u64>) {
        let (hook, from) = {
            let mut state = self.state.lock().unwrap();
            let from = std::mem::replace(&mut state.ips.get_mut(&ip).unwrap().server, to);
            (state.hook.clone(), from)
        };
        if let (Some(hook), Some(to)) = (hook, to) {
            hook(Move { address: ip.to_string(), from, to });
        }
    }

    pub fn labels(&self, ip: u64) -> Value {
        self.state.lock().unwrap().ips[&ip].labels.clone()
    }

    /// As a person does in the console.
    pub fn label_by_hand(&self, ip: u64, labels: Value) {
        self.state.lock().unwrap().ips.get_mut(&ip).unwrap().labels = labels;
    }

    pub fn holder(&self, ip: u64) -> Option<u64> {
        self.state.lock().unwrap().ips[&ip].server
    }

    fn read_ip(&self, id: u64) -> Reply {
        let state = self.state.lock().unwrap();
        let Some(ip) = state.ips.get(&id) else { return missing() };
        let mut answer = Spec::hetzner().answer(&format!("/v1/floating_ips/{id}"));
        let fields = &mut answer["floating_ip"];
        (fields["id"], fields["ip"], fields["type"]) = (json!(id), json!("203.0.113.7"), json!("ipv4"));
        (fields["server"], fields["blocked"]) = (json!(ip.server), json!(ip.blocked));
        fields["home_location"]["network_zone"] = json!("eu-central");
        fields["labels"] = ip.labels.clone();
        (200, answer)
    }

    fn update_ip(&self, id: u64, body: &Value) -> Reply {
        {
            let mut state = self.state.lock().unwrap();
            let Some(ip) = state.ips.get_mut(&id) else { return missing() };
            if let Err(refusal) = relabel(&mut ip.labels, body) {
                return refusal;
            }
        }
        self.read_ip(id)
    }

    fn read_actions(&self, id: u64, query: &str) -> Reply {
        let state = self.state.lock().unwrap();
        let actions = state.actions.iter().filter(|(_, action)| action.ip == id);
        let actions = actions.map(|(id, action)| describe_action(*id, "assign_floating_ip", action.status));
        (200, list_actions(actions.collect(), query))
    }

    fn read_server(&self, id: u64) -> Reply {
        let state = self.state.lock().unwrap();
        let Some(server) = state.servers.get(&id) else { return missing() };
        let mut answer = Spec::hetzner().answer(&format!("/v1/servers/{id}"));
        let fields = &mut answer["server"];
        (fields["id"], fields["name"]) = (json!(id), json!(format!("web{id}")));
        (fields["status"], fields["locked"]) = (json!(server.status), json!(server.locked));
        fields["location"]["network_zone"] = json!(server.zone);
        (200, answer)
    }

    fn assign(self: &Arc<Self>, id: u64, body: &Value) -> Reply {
        let mut state = self.state.lock().unwrap();
        let Some(to) = body["server"].as_u64() else { return error(400, "invalid_input", "no server") };
        let Some(server) = state.servers.get(&to) else { return missing() };
        if server.locked {
            return error(423, "locked", "the server is locked");
        }
        if state.actions.values().any(|action| action.ip == id && action.status == "running") {
            return error(409, "conflict", "the resource was changed during the request");
        }
        let Some(ip) = state.ips.get(&id) else { return missing() };
        if ip.server == Some(to) {
            return error(422, "floating_ip_assigned", "the floating IP is already assigned");
        }
        let from = ip.server;
        let action = 9000 + state.actions.len() as u64;
        let ending = if state.next_endings.is_empty() { Ending::Completed } else { state.next_endings.remove(0) };
        state.actions.insert(action, Action { ip: id, status: "running", visible: ending != Ending::Invisible });
        let (fake, time, hook) = (Arc::clone(self), state.action_time, state.hook.clone());
        let moved = Move { address: id.to_string(), from, to };
        tokio::spawn(async move {
            takes(time).await;
            if ending == Ending::Never {
                return;
            }
            let errored = ending == Ending::Errored;
            if let Some(hook) = hook.filter(|_| !errored) {
                tokio::task::spawn_blocking(move || hook(moved)).await.unwrap();
            }
            let mut state = fake.state.lock().unwrap();
            state.actions.get_mut(&action).unwrap().status = if errored { "error" } else { "success" };
            if !errored {
                state.ips.get_mut(&id).unwrap().server = Some(to);
            }
        });
        (201, json!({ "action": describe_action(action, "assign_floating_ip", "running") }))
    }

    fn read_action(&self, id: u64) -> Reply {
        let state = self.state.lock().unwrap();
        match state.actions.get(&id).filter(|action| action.visible) {
            Some(action) => (200, json!({ "action": describe_action(id, "assign_floating_ip", action.status) })),
            None => missing(),
        }
    }
}

/// Replaces all labels, as the API does, where the request has some.
pub(super) fn relabel(labels: &mut Value, body: &Value) -> Result<(), Reply> {
    let Some(new) = body.get("labels") else { return Ok(()) };
    let edge = |c: char| c.is_ascii_alphanumeric();
    let fits = |value: &str| {
        let known = value.chars().all(|c| edge(c) || "-_.".contains(c));
        value.is_empty() || value.len() <= 63 && known && value.starts_with(edge) && value.ends_with(edge)
    };
    if !new.as_object().unwrap().values().all(|value| fits(value.as_str().unwrap())) {
        return Err(error(400, "invalid_input", "invalid input in field 'labels'"));
    }
    *labels = new.clone();
    Ok(())
}

pub(super) fn describe_action(id: u64, command: &str, status: &str) -> Value {
    let mut action = Spec::hetzner().answer(&format!("/v1/actions/{id}"))["action"].take();
    (action["id"], action["command"], action["status"]) = (json!(id), json!(command), json!(status));
    action["error"] = match status {
        "error" => json!({ "code": "action_failed", "message": "Action failed" }),
        _ => Value::Null,
    };
    if status == "running" {
        (action["finished"], action["progress"]) = (Value::Null, json!(50));
    }
    action
}

/// One page of these actions: as many as asked for, 25 unless told otherwise.
pub(super) fn list_actions(actions: Vec<Value>, query: &str) -> Value {
    let asked: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let number = |name: &str, default: usize| asked.get(name).map_or(default, |text| text.parse().unwrap());
    let (page, per_page) = (number("page", 1), number("per_page", 25));
    let status = asked.get("status");
    let all: Vec<Value> =
        actions.into_iter().filter(|action| status.is_none_or(|status| action["status"] == **status)).collect();
    let last_page = all.len().div_ceil(per_page).max(1);
    let pagination = json!({
        "page": page, "per_page": per_page, "previous_page": (page > 1).then(|| page - 1),
        "next_page": (page < last_page).then(|| page + 1), "last_page": last_page, "total_entries": all.len(),
    });
    let shown: Vec<Value> = all.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    json!({ "actions": shown, "meta": { "pagination": pagination } })
}

pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    (status, json!({ "error": { "code": code, "message": message, "details": null } }))
}

fn missing() -> Reply {
    error(404, "not_found", "resource not found")
}

impl Cloud for Hetzner {
    fn spec() -> &'static Spec {
        Spec::hetzner()
    }

    fn headers() -> Vec<(&'static str, String)> {
        rate_limit(3600)
    }

    fn handle(self: &Arc<Self>, call: &Call) -> Reply {
        let parts: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        let number = |text: &str| text.parse().unwrap_or(0);
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["v1", "floating_ips", id]) => self.read_ip(number(id)),
            ("PUT", ["v1", "floating_ips", id]) => self.update_ip(number(id), &call.body),
            ("GET", ["v1", "floating_ips", id, "actions"]) => self.read_actions(number(id), &call.query),
            ("POST", ["v1", "floating_ips", id, "actions", "assign"]) => self.assign(number(id), &call.body),
            ("GET", ["v1", "servers", id]) => self.read_server(number(id)),
            ("GET", ["v1", "actions", id]) => self.read_action(number(id)),
            _ => missing(),
        }
    }

    fn refusal(status: u16, code: &str, message: &str) -> Reply {
        error(status, code, message)
    }
}
