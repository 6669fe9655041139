use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Result, Secret};
use bluegreen_http_client::Method;
use serde_json::{Value, json};

use super::{API, settings};
use crate::CloudBalancer;
use crate::api::{Api, Quota, Trouble};
use crate::load_balancer::{Accepted, Balancer, Members, Seen, documented};

/// What a 403 most often means here, when it is not that the balancer is busy.
const SCOPES: &str =
    "does the token have the scopes load_balancer:read, load_balancer:update, droplet:read and project:read?";

/// A load balancer of DigitalOcean, for a [`LoadBalancerRouter`](crate::LoadBalancerRouter).
///
/// The API does not say which droplets it calls healthy. A router by servers gives new ones the time that the balancer's
/// own health check needs (an interval for each answer that makes it healthy and one more, and the time for one answer:
/// with the defaults of the control panel 65 s), unless told otherwise; have it
/// [confirmed](crate::LoadBalancerRouterBuilder::confirm_by) by a probe.
///
/// The token needs the scopes `load_balancer:read`, `load_balancer:update`, `droplet:read` and `project:read`. The control
/// panel adds by itself what these require: `actions:read`, `image:read`, `regions:read`, `sizes:read`, `tag:read` and
/// `vpc:read`. Without `project:read` the API does not tell the project of a load balancer, and a write, which replaces all
/// settings, would move it to the default project: a switch by ports is refused then, before anything is changed.
///
/// A load balancer cannot be marked as a service's: it has no labels, its tag chooses droplets, and its name belongs to those
/// who look for it. What is refused is one with droplets, or ports, of neither slot. Two services with the same droplets and
/// ports are not told apart: give each a load balancer of its own.
///
/// ```no_run
/// use bluegreen_core::{Secret, Slot};
/// use bluegreen_floatingip::{DigitalOceanBalancer, HttpProbe, LoadBalancerRouter};
///
/// # async fn example() -> bluegreen_core::Result<()> {
/// let token = Secret::from_env("DIGITALOCEAN_TOKEN")?;
/// let balancer = DigitalOceanBalancer::new(token, "4de7ac8b-495b-4884-9a69-1050c6793cd6")?;
/// let router = LoadBalancerRouter::builder(balancer)
///     .ports((3000, 3001))
///     .confirm_by(HttpProbe::new("https://shop.example.com/health", "x-slot")?, 5)
///     .build()?;
/// println!("{}", router.plan(Slot::Green).await?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct DigitalOceanBalancer {
    api: Api,
    id: String,
}

impl DigitalOceanBalancer {
    /// The load balancer by its id, as `doctl compute load-balancer list` shows it. Nothing is asked yet.
    ///
    /// # Errors
    /// `Config` when the id or the token cannot be one.
    pub fn new(token: Secret, id: &str) -> Result<Self> {
        if id.is_empty() || id.len() > 64 || id.chars().any(|c| !c.is_ascii_alphanumeric() && c != '-') {
            return Err(Error::config(format!("{id:?} is no id of a load balancer")));
        }
        Ok(Self { api: Api::new("DigitalOcean", Quota::Window, API, token)?, id: id.to_owned() })
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
        format!("/v2/load_balancers/{}", self.id)
    }

    async fn change(&self, method: Method, path: &str, body: &Value, what: &'static str) -> Result<Accepted> {
        match self.api.send(method, path, body).await {
            Ok(_) => Ok(Accepted::Yes),
            Err(trouble) => match busy(&trouble) {
                Some(why) => Ok(Accepted::Busy(why)),
                None => Err(trouble.asking(what, SCOPES)),
            },
        }
    }
}

/// A busy balancer answers as if it were forbidden to change it: the message tells.
fn busy(trouble: &Trouble) -> Option<String> {
    let (_, message) = trouble.refused_with(403).or_else(|| trouble.refused_with(422))?;
    let lower = message.to_lowercase();
    let told = ["previous actions", "pending event", "can't be updated while", "cannot be updated while"];
    told.iter().any(|words| lower.contains(words)).then(|| message.to_owned())
}

/// How long a new droplet needs at most until it is given requests: its first check may come a whole interval late, and the
/// last one may take as long as an answer is waited for. What is not told is what the control panel sets.
fn health_deadline(check: &Value) -> Duration {
    let number = |key: &str, default: u64| check[key].as_u64().unwrap_or(default);
    let checks = number("healthy_threshold", 5).saturating_add(1);
    let seconds = number("check_interval_seconds", 10).saturating_mul(checks);
    Duration::from_secs(seconds.saturating_add(number("response_timeout_seconds", 5)))
}

impl From<DigitalOceanBalancer> for CloudBalancer {
    fn from(balancer: DigitalOceanBalancer) -> Self {
        Self(Arc::new(balancer))
    }
}

impl fmt::Display for DigitalOceanBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at DigitalOcean", self.id)
    }
}

#[async_trait]
impl Balancer for DigitalOceanBalancer {
    async fn read(&self) -> Result<Seen> {
        let what = "read the load balancer";
        let answer = self.api.get(&self.path()).await.map_err(|trouble| trouble.looking(what, SCOPES))?;
        let balancer = &answer["load_balancer"];
        if !balancer.is_object() {
            let message = "the answer is not what was expected: it has no load balancer in it";
            return Err(Error::new(ErrorKind::Unexpected, message).with_operation(what).not_applied());
        }
        let tag = balancer["tag"].as_str().filter(|tag| !tag.is_empty());
        let members = match tag {
            Some(tag) => Members::Chosen(format!("it takes the droplets with the tag {}", self.api.shown(tag))),
            None => match balancer["droplet_ids"].as_array() {
                Some(ids) => Members::Servers(ids.iter().filter_map(Value::as_u64).map(|id| (id, None)).collect()),
                None => Members::Chosen("the API does not tell its droplets".to_owned()),
            },
        };
        let busy = match balancer["status"].as_str() {
            Some("new") => Some("its status is new".to_owned()),
            Some("errored") => {
                let message = "DigitalOcean says that the load balancer is in error";
                return Err(Error::new(ErrorKind::Unhealthy, message).with_operation(what).not_applied());
            }
            _ => None,
        };
        let health_deadline = Some(health_deadline(&balancer["health_check"]));
        Ok(Seen { members, busy, settings: settings::writable(balancer), health_deadline, max_targets: None })
    }

    fn shown(&self, text: &str) -> String {
        self.api.shown(text)
    }

    fn with_members(&self, settings: &Value, servers: &BTreeSet<u64>) -> Result<Value> {
        Ok(settings::with_droplets(settings, servers))
    }

    fn judged(&self, settings: &Value) -> Value {
        documented(settings, &settings::DOCUMENTED)
    }

    async fn add(&self, wanted: &Value) -> Result<Accepted> {
        let body = json!({ "droplet_ids": wanted["droplet_ids"] });
        self.change(Method::POST, &format!("{}/droplets", self.path()), &body, "add droplets to the load balancer")
            .await
    }

    async fn remove(&self, servers: &[u64], _settings: &Value) -> Result<Accepted> {
        let body = json!({ "droplet_ids": servers });
        let what = "remove droplets from the load balancer";
        self.change(Method::DELETE, &format!("{}/droplets", self.path()), &body, what).await
    }

    fn check_writable(&self, settings: &Value) -> Result<()> {
        if settings["project_id"].is_string() {
            return Ok(());
        }
        let message = "the API does not tell its project, and a write without it would move it to the default project";
        Err(Error::new(ErrorKind::Unauthorized, message)
            .not_applied()
            .with_hint("give the token the scope project:read"))
    }

    fn retargeted(&self, settings: &Value, port: &dyn Fn(u64) -> u64) -> Value {
        settings::retargeted(settings, port)
    }

    fn target_ports(&self, settings: &Value) -> Vec<u64> {
        settings::target_ports(settings)
    }

    async fn write(&self, _seen: &Value, wanted: &Value) -> Result<Accepted> {
        self.change(Method::PUT, &self.path(), wanted, "write the load balancer's settings").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_droplet_is_given_one_interval_and_one_answer_more_than_the_checks_take() {
        let check = json!({ "check_interval_seconds": 3, "healthy_threshold": 2, "response_timeout_seconds": 4 });
        assert_eq!(health_deadline(&check), Duration::from_secs(3 * 3 + 4));
        assert_eq!(health_deadline(&Value::Null), Duration::from_secs(65));
        let endless = json!({ "check_interval_seconds": u64::MAX });
        assert_eq!(health_deadline(&endless), Duration::from_secs(u64::MAX));
    }
}
