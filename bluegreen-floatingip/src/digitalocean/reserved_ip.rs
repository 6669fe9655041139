use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, PerSlot, Result, Secret, Slot};
use bluegreen_http_client::Method;
use serde_json::{Value, json};

use super::{API, SCOPES};
use crate::api::{Api, Quota, Trouble};
use crate::servers::Servers;
use crate::{ActionId, ActionState, AddressProvider, Assigned, Holder, Observed, Transition};

/// A reserved IP of DigitalOcean, IPv4 or IPv6, that is moved between two droplets.
///
/// The token needs the scopes `reserved_ip:read`, `reserved_ip:update`, `droplet:read` and, for IPv6, `actions:read`. The
/// control panel adds by itself what these require: `actions:read`, `image:read`, `regions:read` and `sizes:read`. Without
/// `droplet:read` the API does not tell who holds the address; that is an error here, and never taken for an address that
/// nobody holds.
///
/// A reserved IP moves within its region, each droplet can have one, and it cannot point to a load balancer. The API has
/// no compare-and-set: let one deployer at a time move an address (the pipeline's lease sees to that). For IPv6 it does
/// not tell either whether a move is under way: after a deployer's death in that very moment, `recover` sees the old
/// holder until the address has moved.
///
/// A reserved IP has no tags or labels, so it cannot be marked as a service's. What is refused is an address that a droplet
/// has which is neither blue's nor green's. Two services with the same two droplets are not told apart: give each an address
/// of its own.
#[derive(Debug)]
pub struct DigitalOceanIp {
    api: Api,
    address: IpAddr,
    droplets: Servers,
    /// An address never changes its region.
    region: OnceLock<String>,
}

impl DigitalOceanIp {
    /// The reserved IP, and the numbers of the droplets of blue and green. Nothing is asked yet.
    ///
    /// # Errors
    /// `Config` when the token cannot be one, or the droplets are not two.
    pub fn new(token: Secret, address: IpAddr, droplets: impl Into<PerSlot<u64>>) -> Result<Self> {
        Ok(Self {
            api: Api::new("DigitalOcean", Quota::Window, API, token)?,
            address,
            droplets: Servers::new(droplets.into())?,
            region: OnceLock::new(),
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

    fn path(&self) -> String {
        match self.address {
            IpAddr::V4(address) => format!("/v2/reserved_ips/{address}"),
            IpAddr::V6(address) => format!("/v2/reserved_ipv6/{address}"),
        }
    }

    async fn droplet(&self, id: u64) -> Result<Value, Trouble> {
        let mut answer = self.api.get(&format!("/v2/droplets/{id}")).await?;
        Ok(answer["droplet"].take())
    }

    fn name_of(&self, droplet: &Value) -> String {
        droplet["name"].as_str().map(|name| format!(" ({})", self.api.shown(name))).unwrap_or_default()
    }

    /// The API shows no holder: either there is none, or the token may not see droplets. A droplet of ours tells.
    async fn nobody(&self) -> Result<Holder> {
        match self.droplet(self.droplets.of(Slot::Blue)).await {
            Ok(_) => Ok(Holder::Nobody),
            Err(trouble) if trouble.refused_with(404).is_some() => Ok(Holder::Nobody),
            Err(trouble) => {
                let advice =
                    "an address without a visible holder is not taken for unassigned; the token needs droplet:read";
                Err(trouble.looking("verify that nobody holds the address", advice))
            }
        }
    }
}

impl fmt::Display for DigitalOceanIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at DigitalOcean", self.address)
    }
}

#[async_trait]
impl AddressProvider for DigitalOceanIp {
    async fn observe(&self) -> Result<Observed> {
        let answer =
            self.api.get(&self.path()).await.map_err(|trouble| trouble.looking("read the reserved IP", SCOPES))?;
        let (ip, region) = match self.address {
            IpAddr::V4(_) => (&answer["reserved_ip"], &answer["reserved_ip"]["region"]["slug"]),
            IpAddr::V6(_) => (&answer["reserved_ipv6"], &answer["reserved_ipv6"]["region_slug"]),
        };
        if !ip.is_object() {
            return Err(unexpected("read the reserved IP", "it has no reserved IP in it"));
        }
        if let Some(region) = region.as_str() {
            let _ = self.region.set(region.to_owned());
        }
        let holder = match ip["droplet"]["id"].as_u64() {
            Some(id) => self
                .droplets
                .slot_of(id)
                .map_or_else(|| Holder::Other(format!("droplet {id}{}", self.name_of(&ip["droplet"]))), Holder::Slot),
            None => self.nobody().await?,
        };
        let locked = ip["locked"].as_bool() == Some(true);
        let transition = if locked {
            Transition::Pending("the address has a pending event".to_owned())
        } else {
            Transition::Settled
        };
        Ok(Observed { holder, transition })
    }

    async fn preflight(&self, to: Slot) -> Result<()> {
        let id = self.droplets.of(to);
        let what = format!("check droplet {id} ({to})");
        let droplet = self.droplet(id).await.map_err(|trouble| trouble.looking(what.clone(), SCOPES))?;
        let refused = |kind, message: String| Err(Error::new(kind, message).with_operation(what.clone()).not_applied());
        match droplet["status"].as_str() {
            Some("active") => {}
            status => {
                let status = self.api.shown(status.unwrap_or("in no known state"));
                return refused(ErrorKind::Unhealthy, format!("it is {status}"));
            }
        }
        if droplet["locked"].as_bool() == Some(true) {
            let busy = Error::new(ErrorKind::Conflict, "the droplet has a pending event").with_operation(what.clone());
            return Err(busy.not_applied().retryable(true));
        }
        match (droplet["region"]["slug"].as_str(), self.region.get()) {
            (Some(here), Some(there)) if here != there => {
                let regions = format!("it is in {here}, and the address is in {there}");
                refused(ErrorKind::Config, self.api.shown(&regions))
            }
            _ => Ok(()),
        }
    }

    async fn assign(&self, to: Slot) -> Result<Assigned> {
        let body = json!({ "type": "assign", "droplet_id": self.droplets.of(to) });
        let what = format!("assign the reserved IP to droplet {}", self.droplets.of(to));
        match self.api.send(Method::POST, &format!("{}/actions", self.path()), &body).await {
            Ok(answer) => match answer["action"]["id"].as_u64() {
                Some(id) => Ok(Assigned::Started(ActionId::new(id))),
                None => Err(unexpected("assign the reserved IP", "it has no action in it").maybe_applied()),
            },
            Err(trouble) => match trouble.refused_with(422) {
                Some((_, message)) if message.to_lowercase().contains("pending event") => {
                    Ok(Assigned::Busy(message.to_owned()))
                }
                _ => Err(trouble.asking(what, SCOPES)),
            },
        }
    }

    async fn poll(&self, action: &ActionId) -> Result<ActionState> {
        let path = match self.address {
            IpAddr::V4(_) => format!("{}/actions/{action}", self.path()),
            IpAddr::V6(_) => format!("/v2/actions/{action}"),
        };
        let answer = self.api.get_once(&path).await.map_err(|trouble| trouble.looking("poll the action", SCOPES))?;
        match answer["action"]["status"].as_str() {
            Some("in-progress") => Ok(ActionState::Running),
            Some("completed" | "done") => Ok(ActionState::Done),
            Some("errored") => Ok(ActionState::Failed("the action has errored".to_owned())),
            other => Err(unexpected("poll the action", &self.api.shown(&format!("its status is {other:?}")))),
        }
    }
}

fn unexpected(what: &'static str, message: &str) -> Error {
    let message = format!("the answer is not what was expected: {message}");
    Error::new(ErrorKind::Unexpected, message).with_operation(what).not_applied()
}
