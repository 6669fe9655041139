use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Result, Secret};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{API, RIGHTS, is_busy};
use crate::api::{Api, Quota};
use crate::load_balancer::{Accepted, Balancer, Members, Seen};
use crate::{LoadBalancerRouter, Pools, Ports};

/// Between two polls of an action: these take a second or two, and 3,600 calls an hour are allowed.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// So many polls in a row that say nothing end the wait; the balancer itself is asked then.
const SILENT_POLLS: u32 = 5;

/// A load balancer of Hetzner Cloud, from which a [`LoadBalancerRouter`] is made.
///
/// Hetzner says which targets it calls healthy, and a router by servers waits for that. By ports, each service is changed
/// by a call of its own: with several services there is a moment at which some lead to the new slot and some to the old.
#[derive(Debug)]
pub struct HetznerBalancer {
    api: Api,
    id: u64,
    /// As the targets are that are there, unless set.
    private: Option<bool>,
}

impl HetznerBalancer {
    /// The load balancer by its number. Nothing is asked yet.
    ///
    /// # Errors
    /// `Config` when the token cannot be one.
    pub fn new(token: Secret, load_balancer: u64) -> Result<Self> {
        Self::at(API, token, load_balancer)
    }

    /// The same, with the API at another address: a proxy of one's own, or a fake one for tests.
    ///
    /// # Errors
    /// `Config` when the API's address is neither HTTPS nor on this machine.
    pub fn at(api: &str, token: Secret, load_balancer: u64) -> Result<Self> {
        Ok(Self { api: Api::new("Hetzner", Quota::Trickle, api, token)?, id: load_balancer, private: None })
    }

    /// Whether servers that are added are reached over the private network. Unless set, as the targets are that are there;
    /// where there is none, over the public one. A switch by servers is refused, before anything is changed, when that
    /// cannot be told because the targets differ, or when they are not as set here.
    #[must_use]
    pub fn private(mut self, private: bool) -> Self {
        self.private = Some(private);
        self
    }

    /// A router that exchanges servers.
    pub fn by_servers(self, pools: Pools) -> LoadBalancerRouter {
        LoadBalancerRouter::by_servers(self, pools)
    }

    /// A router that changes the destination ports of services.
    pub fn by_ports(self, ports: Ports) -> LoadBalancerRouter {
        LoadBalancerRouter::by_ports(self, ports)
    }

    /// Whether a new target is to be reached over the private network, beside these.
    fn is_private_beside(&self, targets: &[Value]) -> Result<bool> {
        let ids = |private: bool| -> Vec<u64> {
            targets.iter().filter(|target| is_private(target) == private).filter_map(server_of).collect()
        };
        let (private, public) = (ids(true), ids(false));
        let there = match (private.is_empty(), public.is_empty()) {
            (true, true) => return Ok(self.private.unwrap_or(false)),
            (false, false) => {
                let message = format!(
                    "it reaches the servers {private:?} over the private network and {public:?} over the public one: how it \
                     is to reach new ones cannot be told"
                );
                return Err(Error::config(message).advice("remove those that are wrong, and add them the other way"));
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
                Err(Error::config(message).advice("leave that setting out, or change the targets by hand first"))
            }
            _ => Ok(there),
        }
    }

    fn path(&self) -> String {
        format!("/v1/load_balancers/{}", self.id)
    }

    /// Asks for an action, and waits for its end. `done` are the refusals that say that it is so already.
    async fn act(&self, action: &str, body: &Value, done: &[&str]) -> Result<Accepted> {
        let what = format!("{action} of the load balancer");
        let path = format!("{}/actions/{action}", self.path());
        let answer = match self.api.send(Method::POST, &path, body).await {
            Ok(answer) => answer,
            Err(trouble) => {
                if let Some(why) = is_busy(&trouble) {
                    return Ok(Accepted::Busy(why));
                }
                if trouble.code().is_some_and(|code| done.contains(&code)) {
                    return Ok(Accepted::Yes);
                }
                return Err(trouble.asking(what, RIGHTS));
            }
        };
        let Some(id) = answer["action"]["id"].as_u64() else {
            let message = "the answer is not what was expected: it has no action in it";
            return Err(Error::new(ErrorKind::Unexpected, message).trying(what));
        };
        self.finish(id, what).await
    }

    /// One action after the other, until one is not taken; and how many were done.
    async fn act_on_each(
        &self,
        action: &str,
        bodies: impl Iterator<Item = Value> + Send,
        done: &[&str],
    ) -> (Result<Accepted>, usize) {
        for (changed, body) in bodies.enumerate() {
            match self.act(action, &body, done).await {
                Ok(Accepted::Yes) => {}
                Ok(Accepted::Busy(why)) if changed > 0 => return (Ok(Accepted::Partly(why)), changed),
                other => return (other, changed),
            }
        }
        (Ok(Accepted::Yes), 0)
    }

    async fn finish(&self, id: u64, what: String) -> Result<Accepted> {
        let mut silent = 0;
        loop {
            match self.api.get_once(&format!("/v1/actions/{id}")).await {
                Ok(answer) => match answer["action"]["status"].as_str() {
                    Some("success") => return Ok(Accepted::Yes),
                    Some("error") => {
                        let why = answer["action"]["error"]["message"].as_str().unwrap_or("it does not say why");
                        let message = format!("action {id} failed: {}", self.api.shown(why));
                        return Err(Error::new(ErrorKind::Unexpected, message).trying(what).not_applied());
                    }
                    _ => silent = 0,
                },
                Err(trouble) => {
                    silent += 1;
                    if silent == SILENT_POLLS {
                        return Err(trouble.looking(what, RIGHTS).maybe_applied());
                    }
                }
            }
            sleep(POLL_EVERY).await;
        }
    }

    async fn running(&self) -> Result<Option<String>> {
        let path = format!("{}/actions?status=running", self.path());
        let answer = self.api.get(&path).await;
        let answer = answer.map_err(|trouble| trouble.looking("read the load balancer's actions", RIGHTS))?;
        let running = answer["actions"].as_array().into_iter().flatten().find(|action| action["status"] == "running");
        let command = |action: &Value| self.api.shown(action["command"].as_str().unwrap_or("an action"));
        Ok(running.map(|action| format!("{} is running", command(action))))
    }
}

impl fmt::Display for HetznerBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at Hetzner", self.id)
    }
}

#[async_trait]
impl Balancer for HetznerBalancer {
    async fn read(&self) -> Result<Seen> {
        let busy = self.running().await?;
        let what = "read the load balancer";
        let answer = self.api.get(&self.path()).await.map_err(|trouble| trouble.looking(what, RIGHTS))?;
        let balancer = &answer["load_balancer"];
        if !balancer.is_object() {
            let message = "the answer is not what was expected: it has no load balancer in it";
            return Err(Error::new(ErrorKind::Unexpected, message).trying(what).not_applied());
        }
        let members = match members(balancer) {
            Members::Chosen(how) => Members::Chosen(self.api.shown(&how)),
            servers => servers,
        };
        Ok(Seen { members, busy, settings: settings(balancer), healthy_within: None })
    }

    fn shown(&self, text: &str) -> String {
        self.api.shown(text)
    }

    fn with_members(&self, settings: &Value, servers: &BTreeSet<u64>) -> Result<Value> {
        let there = settings["targets"].as_array().cloned().unwrap_or_default();
        let mut targets: BTreeMap<u64, Value> =
            there.iter().filter_map(|target| Some((server_of(target)?, target.clone()))).collect();
        targets.retain(|id, _| servers.contains(id));
        if servers.len() > targets.len() {
            let private = self.is_private_beside(&there)?;
            for id in servers {
                targets.entry(*id).or_insert_with(|| target(*id, private));
            }
        }
        let mut settings = settings.clone();
        if let Some(fields) = settings.as_object_mut() {
            fields.insert("targets".to_owned(), targets.into_values().collect());
        }
        Ok(settings)
    }

    async fn add(&self, servers: &[u64], wanted: &Value) -> Result<Accepted> {
        let targets = wanted["targets"].as_array().into_iter().flatten();
        let bodies = targets.filter_map(|wanted| {
            let id = server_of(wanted).filter(|id| servers.contains(id))?;
            Some(target(id, is_private(wanted)))
        });
        self.act_on_each("add_target", bodies, &["target_already_defined"]).await.0
    }

    async fn remove(&self, servers: &[u64]) -> Result<Accepted> {
        let target = |id| json!({ "type": "server", "server": { "id": id } });
        self.act_on_each("remove_target", servers.iter().map(target), &["not_found"]).await.0
    }

    fn retargeted(&self, settings: &Value, port: &dyn Fn(u64) -> u64) -> Value {
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

    fn target_ports(&self, settings: &Value) -> Vec<u64> {
        let services = settings["services"].as_array().into_iter().flatten();
        services.filter_map(|service| service["destination_port"].as_u64()).collect()
    }

    async fn write(&self, seen: &Value, wanted: &Value) -> Result<Accepted> {
        let services = |settings: &Value| settings["services"].as_array().cloned().unwrap_or_default();
        let old = services(seen);
        let (services, fields) = (services(wanted), ["listen_port", "destination_port", "health_check"]);
        let differing = services.iter().filter(|service| !old.contains(service));
        let bodies = differing.map(|service| fields.iter().map(|field| (*field, service[*field].clone())).collect());
        let (answer, changed) = self.act_on_each("update_service", bodies, &[]).await;
        answer.map_err(|error| if changed > 0 { error.maybe_applied() } else { error })
    }
}

/// A target, as it is added.
fn target(server: u64, private: bool) -> Value {
    json!({ "type": "server", "server": { "id": server }, "use_private_ip": private })
}

fn server_of(target: &Value) -> Option<u64> {
    target["server"]["id"].as_u64()
}

fn is_private(target: &Value) -> bool {
    target["use_private_ip"].as_bool().unwrap_or(false)
}

/// What people set, without health and traffic, which change by themselves.
fn settings(balancer: &Value) -> Value {
    let mut targets = balancer["targets"].clone();
    if let Some(targets) = targets.as_array_mut() {
        for target in targets.iter_mut().filter_map(Value::as_object_mut) {
            target.remove("health_status");
            target.remove("targets");
        }
        // Their order means nothing, and must not look like a change.
        targets.sort_by_key(server_of);
    }
    json!({ "services": balancer["services"], "algorithm": balancer["algorithm"], "targets": targets })
}

fn members(balancer: &Value) -> Members {
    let mut servers = BTreeMap::new();
    for target in balancer["targets"].as_array().into_iter().flatten() {
        match (target["type"].as_str(), server_of(target)) {
            (Some("server"), Some(id)) => {
                let states: Vec<&Value> =
                    target["health_status"].as_array().into_iter().flatten().map(|health| &health["status"]).collect();
                let healthy = !states.is_empty() && states.iter().all(|state| *state == "healthy");
                servers.insert(id, Some(healthy));
            }
            (Some("label_selector"), _) => {
                return Members::Chosen("it takes the servers with a label".to_owned());
            }
            (kind, _) => return Members::Chosen(format!("it has a target of the kind {}", kind.unwrap_or("unknown"))),
        }
    }
    Members::Servers(servers)
}
