use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Result, Secret, ServiceName};
use bluegreen_http_client::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::label::Label;
use super::services::{SERVICE, retargeted, target_ports, updates};
use super::targets::{Reach, TARGET, addition, is_one_of, members, removal, write_address_one_way};
use super::{API, RIGHTS, is_busy};
use crate::CloudBalancer;
use crate::api::{Api, Quota};
use crate::load_balancer::{Accepted, Balancer, Members, Seen, documented};

/// Between two polls of an action: these take a second or two, and 3,600 calls an hour are allowed.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// So many polls in a row that say nothing end the wait; the balancer itself is asked then.
const SILENT_POLLS: u32 = 5;

/// A load balancer of Hetzner Cloud, for a [`LoadBalancerRouter`](crate::LoadBalancerRouter).
///
/// Hetzner says which targets it calls healthy, and a router by servers waits for that. By ports, each service is changed
/// by a call of its own: with several services there is a moment at which some lead to the new slot and some to the old.
///
/// The token is one of the project with permission to read and write. An exchange during which the load balancer would have
/// more targets than its type takes is refused before anything is changed, and by [`plan`](crate::LoadBalancerRouter::plan).
///
/// # Whose it is
///
/// The first change of a pipeline labels the load balancer `bluegreen-service=SERVICE`, and keeps the other labels. From then
/// on another service is refused, also when it only looks. The API has no compare-and-set: of two services that come to a
/// load balancer without a label in the same moment, the one that wrote first is refused at its next look. To give the load
/// balancer to another service, remove the label.
#[derive(Debug)]
pub struct HetznerBalancer {
    api: Api,
    id: u64,
    reach: Reach,
    label: Label,
}

impl HetznerBalancer {
    /// The load balancer by its number. Nothing is asked yet.
    ///
    /// # Errors
    /// `Config` when the token cannot be one.
    pub fn new(token: Secret, load_balancer: u64) -> Result<Self> {
        let api = Api::new("Hetzner", Quota::Trickle, API, token)?;
        Ok(Self { api, id: load_balancer, reach: Reach::default(), label: Label::default() })
    }

    /// Whether servers that are added are reached over the private network. Default: as the present targets are; where there is
    /// none, over the public one. A switch by servers is refused, before anything is changed, when that
    /// cannot be told because the targets differ, or when they are not as set here.
    #[must_use]
    pub fn private(mut self, private: bool) -> Self {
        self.reach.private = Some(private);
        self
    }

    /// At which public addresses this server is reached when it is added: one target for each. Default: its IPv4
    /// address. Needed for servers without one, and wherever the targets that are there are reached over IPv6: a switch by
    /// servers is refused otherwise, before anything is changed.
    ///
    /// ```
    /// use std::net::Ipv6Addr;
    ///
    /// use bluegreen_core::Secret;
    /// use bluegreen_floatingip::{HetznerBalancer, LoadBalancerRouter};
    ///
    /// # fn example() -> bluegreen_core::Result<()> {
    /// let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, last, 0, 0, 0, 1).into();
    /// let balancer = HetznerBalancer::new(Secret::from_env("HCLOUD_TOKEN")?, 4711)?
    ///     .reached_at(11, [address(11)])
    ///     .reached_at(22, [address(22)]);
    /// let router = LoadBalancerRouter::builder(balancer).servers((vec![11], vec![22])).build()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn reached_at(mut self, server: u64, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.reach.addresses.insert(server, addresses.into_iter().collect());
        self
    }

    /// Has the API at another address: a proxy of your own, or a fake one for tests. Default: the cloud's own.
    ///
    /// # Errors
    /// `Config` when the address is neither HTTPS nor on this machine.
    pub fn api(mut self, url: &str) -> Result<Self> {
        self.api = self.api.at(url)?;
        Ok(self)
    }

    fn path(&self) -> String {
        format!("/v1/load_balancers/{}", self.id)
    }

    fn place(&self) -> String {
        format!("the load balancer {self}")
    }

    async fn balancer(&self) -> Result<Value> {
        let what = "read the load balancer";
        let mut answer = self.api.get(&self.path()).await.map_err(|trouble| trouble.looking(what, RIGHTS))?;
        let balancer = answer["load_balancer"].take();
        if !balancer["targets"].is_array() {
            let message = "the answer is not what was expected: it has no load balancer with targets in it";
            return Err(Error::new(ErrorKind::Unexpected, message).with_operation(what).not_applied());
        }
        self.label.check(&self.api, &balancer, self.place())?;
        Ok(balancer)
    }

    /// Labels the load balancer as the service's, where it is not. `Some`: not now, for this reason.
    async fn claim(&self) -> Result<Option<String>> {
        if self.label.is_settled() {
            return Ok(None);
        }
        let balancer = self.balancer().await?;
        self.label.write(&self.api, &self.path(), "load_balancer", &balancer, self.place()).await
    }

    /// Asks for an action, and waits for its end. `done` are the refusals that say that it is so already.
    async fn act(&self, action: &str, body: &Value, done: &[&str]) -> Result<Accepted> {
        if let Some(why) = self.claim().await? {
            return Ok(Accepted::Busy(why));
        }
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
            return Err(Error::new(ErrorKind::Unexpected, message).with_operation(what));
        };
        self.finish(id, what).await
    }

    /// One action after the other, until one is not taken; and how many were done.
    async fn act_on_each(&self, action: &str, bodies: Vec<Value>, done: &[&str]) -> (Result<Accepted>, usize) {
        for (changed, body) in bodies.iter().enumerate() {
            match self.act(action, body, done).await {
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
                        return Err(Error::new(ErrorKind::Unexpected, message).with_operation(what).not_applied());
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

impl From<HetznerBalancer> for CloudBalancer {
    fn from(balancer: HetznerBalancer) -> Self {
        Self(Arc::new(balancer))
    }
}

impl fmt::Display for HetznerBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at Hetzner", self.id)
    }
}

#[async_trait]
impl Balancer for HetznerBalancer {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.label.bind(service)
    }

    async fn verify(&self) -> Result<()> {
        if !self.label.is_settled() {
            self.balancer().await?;
        }
        Ok(())
    }

    async fn read(&self) -> Result<Seen> {
        let busy = self.running().await?;
        let balancer = self.balancer().await?;
        let members = match members(balancer["targets"].as_array().map(Vec::as_slice).unwrap_or_default()) {
            Members::Chosen(how) => Members::Chosen(self.api.shown(&how)),
            servers => servers,
        };
        let max_targets = balancer["load_balancer_type"]["max_targets"].as_u64();
        let max_targets = max_targets.and_then(|max| usize::try_from(max).ok());
        Ok(Seen { members, busy, settings: balancer, health_deadline: None, max_targets })
    }

    fn shown(&self, text: &str) -> String {
        self.api.shown(text)
    }

    fn judged(&self, settings: &Value) -> Value {
        let mut judged = documented(settings, &json!({ "services": [*SERVICE], "targets": [*TARGET] }));
        judged["targets"].as_array_mut().into_iter().flatten().for_each(write_address_one_way);
        judged
    }

    fn with_members(&self, settings: &Value, servers: &BTreeSet<u64>) -> Result<Value> {
        let there = settings["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        let targets = self.reach.targets(there, servers)?;
        let mut settings = settings.clone();
        settings["targets"] = targets.into();
        Ok(settings)
    }

    async fn add(&self, wanted: &Value) -> Result<Accepted> {
        let bodies = wanted["targets"].as_array().into_iter().flatten().map(addition).collect();
        self.act_on_each("add_target", bodies, &["target_already_defined"]).await.0
    }

    async fn remove(&self, servers: &[u64], settings: &Value) -> Result<Accepted> {
        let servers = servers.iter().copied().collect();
        let targets = settings["targets"].as_array().into_iter().flatten();
        let bodies = targets.filter(|target| is_one_of(target, &servers)).map(removal).collect();
        self.act_on_each("remove_target", bodies, &["not_found", "load_balancer_target_not_found"]).await.0
    }

    /// Each service is updated by itself.
    fn check_writable(&self, _settings: &Value) -> Result<()> {
        Ok(())
    }

    fn retargeted(&self, settings: &Value, port: &dyn Fn(u64) -> u64) -> Value {
        retargeted(settings, port)
    }

    fn target_ports(&self, settings: &Value) -> Vec<u64> {
        target_ports(settings)
    }

    async fn write(&self, seen: &Value, wanted: &Value) -> Result<Accepted> {
        let (answer, changed) = self.act_on_each("update_service", updates(seen, wanted), &[]).await;
        answer.map_err(|error| if changed > 0 { error.maybe_applied() } else { error })
    }
}
