//! A fake DigitalOcean: reserved IPs, droplets, actions.

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
pub struct DigitalOcean {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ips: BTreeMap<String, Ip>,
    droplets: BTreeMap<u64, Droplet>,
    actions: BTreeMap<u64, Action>,
    action_time: Duration,
    next_endings: Vec<Ending>,
    hides_droplets: bool,
    hook: Option<Hook>,
}

struct Ip {
    droplet: Option<u64>,
    region: &'static str,
    locked: bool,
}

struct Droplet {
    region: &'static str,
    status: &'static str,
    locked: bool,
}

struct Action {
    address: String,
    status: &'static str,
    visible: bool,
}

impl DigitalOcean {
    /// With droplets 11 (blue) and 22 (green) and the stranger 33 in fra1, droplet 44 in nyc3.
    pub fn new() -> Arc<Self> {
        let fake = Self::default();
        {
            let mut state = fake.state.lock().unwrap();
            for (id, region) in [(11, "fra1"), (22, "fra1"), (33, "fra1"), (44, "nyc3")] {
                state.droplets.insert(id, Droplet { region, status: "active", locked: false });
            }
        }
        Arc::new(fake)
    }

    /// Adds a reserved IP in fra1.
    pub fn reserve(&self, address: &str) {
        self.state.lock().unwrap().ips.insert(address.to_owned(), Ip { droplet: None, region: "fra1", locked: false });
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

    /// As with a token without the scope `droplet:read`.
    pub fn hide_droplets(&self) {
        self.state.lock().unwrap().hides_droplets = true;
    }

    pub fn set_droplet(&self, id: u64, status: &'static str, locked: bool) {
        let mut state = self.state.lock().unwrap();
        let droplet = state.droplets.get_mut(&id).unwrap();
        (droplet.status, droplet.locked) = (status, locked);
    }

    /// Moves an address at once, as a person does in the control panel.
    pub fn move_by_hand(&self, address: &str, to: Option<u64>) {
        let (hook, from) = {
            let mut state = self.state.lock().unwrap();
            let from = std::mem::replace(&mut state.ips.get_mut(address).unwrap().droplet, to);
            (state.hook.clone(), from)
        };
        if let (Some(hook), Some(to)) = (hook, to) {
            hook(Move { address: address.to_owned(), from, to });
        }
    }

    pub fn set_locked(&self, address: &str, locked: bool) {
        self.state.lock().unwrap().ips.get_mut(address).unwrap().locked = locked;
    }

    pub fn holder(&self, address: &str) -> Option<u64> {
        self.state.lock().unwrap().ips[address].droplet
    }

    fn read_ip(&self, address: &str) -> Reply {
        let state = self.state.lock().unwrap();
        let Some(ip) = state.ips.get(address) else { return no(404, "not_found", "The resource was not found.") };
        let droplet = match ip.droplet {
            Some(id) if !state.hides_droplets => describe_droplet(id, &state.droplets[&id]),
            _ => Value::Null,
        };
        if address.contains(':') {
            let mut answer = Spec::digitalocean().answer(&format!("/v2/reserved_ipv6/{address}"));
            let fields = &mut answer["reserved_ipv6"];
            (fields["ip"], fields["region_slug"], fields["droplet"]) = (json!(address), json!(ip.region), droplet);
            return (200, answer);
        }
        let mut answer = Spec::digitalocean().answer(&format!("/v2/reserved_ips/{address}"));
        let fields = &mut answer["reserved_ip"];
        (fields["ip"], fields["locked"], fields["droplet"]) = (json!(address), json!(ip.locked), droplet);
        fields["region"]["slug"] = json!(ip.region);
        (200, answer)
    }

    fn read_droplet(&self, id: u64) -> Reply {
        let state = self.state.lock().unwrap();
        if state.hides_droplets {
            return no(403, "forbidden", "You are not authorized to perform this operation");
        }
        let Some(droplet) = state.droplets.get(&id) else { return no(404, "not_found", "The resource was not found.") };
        (200, json!({ "droplet": describe_droplet(id, droplet) }))
    }

    fn assign(self: &Arc<Self>, address: &str, body: &Value) -> Reply {
        let mut state = self.state.lock().unwrap();
        let (kind, to) = (body["type"].as_str(), body["droplet_id"].as_u64());
        let (Some("assign"), Some(to)) = (kind, to) else { return no(422, "unprocessable_entity", "what is it?") };
        let Some(ip) = state.ips.get(address) else { return no(404, "not_found", "The resource was not found.") };
        let Some(droplet) = state.droplets.get(&to) else { return no(404, "not_found", "The resource was not found.") };
        if ip.locked {
            return no(422, "unprocessable_entity", "The reserved IP already has a pending event.");
        }
        if droplet.locked {
            return no(422, "unprocessable_entity", "Droplet already has a pending event.");
        }
        if droplet.region != ip.region {
            return no(422, "unprocessable_entity", "The reserved IP is in another region.");
        }
        let family = |ip: &str| ip.contains(':');
        if state.ips.iter().any(|(ip, held)| ip != address && family(ip) == family(address) && held.droplet == Some(to))
        {
            return no(422, "unprocessable_entity", "The droplet already has a reserved IP.");
        }
        let from = ip.droplet;
        let id = 1000 + state.actions.len() as u64;
        let ending = if state.next_endings.is_empty() { Ending::Completed } else { state.next_endings.remove(0) };
        let action =
            Action { address: address.to_owned(), status: "in-progress", visible: ending != Ending::Invisible };
        state.actions.insert(id, action);
        state.ips.get_mut(address).unwrap().locked = true;
        let (fake, time, hook) = (Arc::clone(self), state.action_time, state.hook.clone());
        let moved = Move { address: address.to_owned(), from, to };
        tokio::spawn(async move {
            takes(time).await;
            let status = match ending {
                Ending::Never => return,
                Ending::Errored => "errored",
                Ending::Done => "done",
                Ending::Completed | Ending::Invisible => "completed",
            };
            let errored = ending == Ending::Errored;
            if let Some(hook) = hook.filter(|_| !errored) {
                let moved = moved.clone();
                tokio::task::spawn_blocking(move || hook(moved)).await.unwrap();
            }
            let mut state = fake.state.lock().unwrap();
            state.actions.get_mut(&id).unwrap().status = status;
            let ip = state.ips.get_mut(&moved.address).unwrap();
            ip.locked = false;
            if !errored {
                ip.droplet = Some(moved.to);
            }
        });
        (201, describe_action(id, "in-progress"))
    }

    fn read_action(&self, address: Option<&str>, id: &str) -> Reply {
        let state = self.state.lock().unwrap();
        let id: u64 = id.parse().unwrap_or(0);
        let action = state.actions.get(&id);
        match action.filter(|action| action.visible && address.is_none_or(|address| action.address == address)) {
            Some(action) => (200, describe_action(id, action.status)),
            None => no(404, "not_found", "The resource was not found."),
        }
    }
}

fn describe_droplet(id: u64, droplet: &Droplet) -> Value {
    let mut fields = Spec::digitalocean().answer(&format!("/v2/droplets/{id}"))["droplet"].take();
    (fields["id"], fields["name"]) = (json!(id), json!(format!("web{id}")));
    (fields["status"], fields["locked"]) = (json!(droplet.status), json!(droplet.locked));
    fields["region"]["slug"] = json!(droplet.region);
    fields
}

fn describe_action(id: u64, status: &str) -> Value {
    let mut answer = Spec::digitalocean().answer(&format!("/v2/actions/{id}"));
    let action = &mut answer["action"];
    (action["id"], action["status"], action["type"]) = (json!(id), json!(status), json!("assign_ip"));
    if status == "in-progress" {
        action["completed_at"] = Value::Null;
    }
    answer
}

/// A refusal.
pub(super) fn no(status: u16, id: &str, message: &str) -> Reply {
    (status, json!({ "id": id, "message": message, "request_id": "req-0" }))
}

impl Cloud for DigitalOcean {
    fn spec() -> &'static Spec {
        Spec::digitalocean()
    }

    fn headers() -> Vec<(&'static str, String)> {
        rate_limit(5000)
    }

    fn handle(self: &Arc<Self>, call: &Call) -> Reply {
        let parts: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["v2", "reserved_ips" | "reserved_ipv6", address]) => self.read_ip(address),
            ("POST", ["v2", "reserved_ips" | "reserved_ipv6", address, "actions"]) => self.assign(address, &call.body),
            ("GET", ["v2", "reserved_ips", address, "actions", id]) => self.read_action(Some(address), id),
            ("GET", ["v2", "actions", id]) => self.read_action(None, id),
            ("GET", ["v2", "droplets", id]) => self.read_droplet(id.parse().unwrap_or(0)),
            _ => no(404, "not_found", "The resource was not found."),
        }
    }

    fn refusal(status: u16, code: &str, message: &str) -> Reply {
        no(status, code, message)
    }
}
