use std::fmt;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, PerSlot, Result, Secret, ServiceName, Slot};
use bluegreen_http_client::Method;
use serde_json::{Value, json};

use super::label::Label;
use super::{API, RIGHTS, is_busy};
use crate::api::{Api, Quota};
use crate::servers::Servers;
use crate::{ActionId, ActionState, AddressProvider, Assigned, Holder, Observed, Transition};

/// A floating IP of Hetzner Cloud, IPv4 or IPv6, that is moved between two servers.
///
/// The token is one of the project with permission to read and write. The address must be configured inside of both
/// servers beforehand, since Hetzner only routes it there: [`preflight`](AddressProvider::preflight) cannot see that.
///
/// # Whose it is
///
/// The first move of a pipeline labels the floating IP `bluegreen-service=SERVICE`, and keeps the other labels. From then on
/// another service is refused, also when it only looks. The API has no compare-and-set: of two services that come to an
/// address without a label in the same moment, the one that wrote first is refused at its next look. To give the address to
/// another service, remove the label.
#[derive(Debug)]
pub struct HetznerIp {
    api: Api,
    id: u64,
    servers: Servers,
    label: Label,
}

impl HetznerIp {
    /// The floating IP by its number, and the numbers of the servers of blue and green. Nothing is asked yet.
    ///
    /// # Errors
    /// `Config` when the token cannot be one, or the servers are not two.
    pub fn new(token: Secret, floating_ip: u64, servers: impl Into<PerSlot<u64>>) -> Result<Self> {
        Ok(Self {
            api: Api::new("Hetzner", Quota::Trickle, API, token)?,
            id: floating_ip,
            servers: Servers::new(servers.into())?,
            label: Label::default(),
        })
    }

    /// Has the API at another address: a proxy of your own, or a fake one for tests. Default: the cloud's own.
    ///
    /// # Errors
    /// `Config` when the address is neither HTTPS nor on this machine.
    pub fn api(mut self, url: &str) -> Result<Self> {
        self.api = self.api.at(url)?;
        Ok(self)
    }

    async fn floating_ip(&self) -> Result<Value> {
        let what = "read the floating IP";
        let mut answer = self.api.get(&self.path()).await.map_err(|trouble| trouble.looking(what, RIGHTS))?;
        let ip = answer["floating_ip"].take();
        if !ip.is_object() {
            return Err(unexpected(what, "it has no floating IP in it"));
        }
        self.label.check(&self.api, &ip, self.place())?;
        Ok(ip)
    }

    /// Labels the address as the service's, where it is not. `Some`: not now, for this reason.
    async fn claim(&self) -> Result<Option<String>> {
        if self.label.is_settled() {
            return Ok(None);
        }
        let ip = self.floating_ip().await?;
        self.label.write(&self.api, &self.path(), "floating_ip", &ip, self.place()).await
    }

    fn path(&self) -> String {
        format!("/v1/floating_ips/{}", self.id)
    }

    fn place(&self) -> String {
        format!("the floating IP {self}")
    }

    /// The actions on the address that have not ended.
    async fn running(&self) -> Result<Option<String>> {
        let path = format!("{}/actions?status=running", self.path());
        let answer = self.api.get(&path).await;
        let answer = answer.map_err(|trouble| trouble.looking("read the floating IP's actions", RIGHTS))?;
        let running = answer["actions"].as_array().into_iter().flatten().find(|action| action["status"] == "running");
        Ok(running.map(|action| {
            let command = self.api.shown(action["command"].as_str().unwrap_or("an action"));
            format!("{command} is running (action {})", self.api.shown(&action["id"].to_string()))
        }))
    }

    async fn server(&self, id: u64) -> Result<Value> {
        let answer = self.api.get(&format!("/v1/servers/{id}")).await;
        let mut answer = answer.map_err(|trouble| trouble.looking("read the server", RIGHTS))?;
        Ok(answer["server"].take())
    }
}

impl fmt::Display for HetznerIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at Hetzner", self.id)
    }
}

#[async_trait]
impl AddressProvider for HetznerIp {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.label.bind(service)
    }

    async fn verify(&self) -> Result<()> {
        if !self.label.is_settled() {
            self.floating_ip().await?;
        }
        Ok(())
    }

    async fn observe(&self) -> Result<Observed> {
        // In this order: an action that ends in between has changed the holder before it did.
        let running = self.running().await?;
        let ip = self.floating_ip().await?;
        let holder = match &ip["server"] {
            Value::Null => Holder::Nobody,
            server => match server.as_u64() {
                Some(id) => {
                    self.servers.slot_of(id).map_or_else(|| Holder::Other(format!("server {id}")), Holder::Slot)
                }
                None => return Err(unexpected("read the floating IP", "its server is not a number")),
            },
        };
        Ok(Observed { holder, transition: running.map_or(Transition::Settled, Transition::Pending) })
    }

    async fn preflight(&self, to: Slot) -> Result<()> {
        let id = self.servers.of(to);
        let what = format!("check server {id} ({to})");
        let refused = |kind, message: String| Error::new(kind, message).with_operation(what.clone()).not_applied();
        let (ip, server) = tokio::try_join!(self.floating_ip(), self.server(id))
            .map_err(|error| error.with_operation(what.clone()))?;
        if ip["blocked"].as_bool() == Some(true) {
            return Err(refused(ErrorKind::Unhealthy, "the floating IP is blocked by Hetzner".to_owned()));
        }
        match server["status"].as_str() {
            Some("running") => {}
            status => {
                let status = self.api.shown(status.unwrap_or("in no known state"));
                return Err(refused(ErrorKind::Unhealthy, format!("it is {status}")));
            }
        }
        if server["locked"].as_bool() == Some(true) {
            return Err(refused(ErrorKind::Conflict, "the server is locked".to_owned()).retryable(true));
        }
        let there = ip["home_location"]["network_zone"].as_str();
        match (server["location"]["network_zone"].as_str(), there) {
            (Some(here), Some(there)) if here != there => Err(refused(
                ErrorKind::Config,
                self.api.shown(&format!("it is in the network zone {here}, and the address is in {there}")),
            )),
            _ => Ok(()),
        }
    }

    async fn assign(&self, to: Slot) -> Result<Assigned> {
        let server = self.servers.of(to);
        if let Some(why) = self.claim().await? {
            return Ok(Assigned::Busy(why));
        }
        let path = format!("{}/actions/assign", self.path());
        match self.api.send(Method::POST, &path, &json!({ "server": server })).await {
            Ok(answer) => match answer["action"]["id"].as_u64() {
                Some(id) => Ok(Assigned::Started(ActionId::new(id))),
                None => Err(unexpected("assign the floating IP", "it has no action in it").maybe_applied()),
            },
            Err(trouble) => {
                if let Some(why) = is_busy(&trouble) {
                    return Ok(Assigned::Busy(why));
                }
                let there_already = matches!(trouble.refused_with(422), Some(("floating_ip_assigned", _)));
                if there_already && self.observe().await?.holder == Holder::Slot(to) {
                    return Ok(Assigned::Done);
                }
                Err(trouble.asking(format!("assign the floating IP to server {server}"), RIGHTS))
            }
        }
    }

    async fn poll(&self, action: &ActionId) -> Result<ActionState> {
        let answer = self.api.get_once(&format!("/v1/actions/{action}")).await;
        let answer = answer.map_err(|trouble| trouble.looking("poll the action", RIGHTS))?;
        let action = &answer["action"];
        match action["status"].as_str() {
            Some("running") => Ok(ActionState::Running),
            Some("success") => Ok(ActionState::Done),
            Some("error") => {
                let word = |key: &str| self.api.shown(action["error"][key].as_str().unwrap_or("untold"));
                Ok(ActionState::Failed(format!("{}: {}", word("code"), word("message"))))
            }
            other => Err(unexpected("poll the action", &self.api.shown(&format!("its status is {other:?}")))),
        }
    }
}

fn unexpected(what: &'static str, message: &str) -> Error {
    let message = format!("the answer is not what was expected: {message}");
    Error::new(ErrorKind::Unexpected, message).with_operation(what).not_applied()
}
