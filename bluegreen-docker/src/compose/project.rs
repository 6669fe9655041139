//! What `config` prints: the compose files, merged, with all variables filled in.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Port;
use crate::image::PullPolicy;

/// The parts of a project that matter here.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct Project {
    #[serde(default)]
    pub(crate) services: BTreeMap<String, Service>,
    #[serde(default)]
    pub(crate) networks: BTreeMap<String, Option<Network>>,
    #[serde(default)]
    pub(crate) volumes: BTreeMap<String, Option<Volume>>,
    /// What Compose said while it read the files.
    #[serde(skip)]
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Service {
    pub(crate) image: Option<String>,
    pub(crate) container_name: Option<String>,
    pub(crate) build: Option<Value>,
    pull_policy: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) depends_on: DependsOn,
    pub(crate) ports: Vec<Port>,
    pub(crate) expose: Vec<Value>,
    pub(crate) networks: Option<Attachments>,
    pub(crate) network_mode: Option<String>,
    pub(crate) ipc: Option<String>,
    pub(crate) pid: Option<String>,
    pub(crate) links: Vec<String>,
    pub(crate) volumes: Vec<Mount>,
    pub(crate) volumes_from: Vec<String>,
    pub(crate) labels: Pairs,
    pub(crate) environment: Pairs,
    pub(crate) restart: Option<String>,
    scale: Option<u32>,
    deploy: Option<Deploy>,
    /// What else there is.
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Network {
    name: Option<String>,
    external: Option<Value>,
    pub(crate) internal: bool,
    pub(crate) ipam: Option<Ipam>,
    pub(crate) driver: Option<String>,
    pub(crate) driver_opts: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Ipam {
    pub(crate) config: Vec<BTreeMap<String, Value>>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Volume {
    name: Option<String>,
    external: Option<Value>,
    pub(crate) driver_opts: BTreeMap<String, Value>,
}

/// The networks of a service, with what it is called there.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Attachments {
    Named(BTreeMap<String, Option<Attachment>>),
    List(Vec<String>),
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Attachment {
    pub(crate) aliases: Vec<String>,
    pub(crate) ipv4_address: Option<String>,
    pub(crate) ipv6_address: Option<String>,
}

/// One entry of a service's `volumes:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "AnyMount")]
pub(crate) struct Mount {
    /// `bind`, `volume`, `tmpfs`, and others.
    pub(crate) kind: String,
    /// A path, or a volume of the project; none for a volume without a name.
    pub(crate) source: Option<String>,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyMount {
    Long {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        source: Option<String>,
        #[serde(default)]
        target: String,
        #[serde(default)]
        read_only: bool,
    },
    /// `source:target[:mode]`; v1 prints these.
    Short(String),
}

impl From<AnyMount> for Mount {
    fn from(mount: AnyMount) -> Self {
        let text = match mount {
            AnyMount::Long { kind, source, target, read_only } => return Self { kind, source, target, read_only },
            AnyMount::Short(text) => text,
        };
        let mut parts = text.split(':');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next());
        let read_only = parts.next().is_some_and(|mode| mode.split(',').any(|word| word == "ro"));
        let (source, target) = match second {
            Some(target) => (Some(first.to_owned()), target.to_owned()),
            None => (None, first.to_owned()),
        };
        let is_path = source.as_deref().is_some_and(|source| source.starts_with(['/', '.', '~']));
        Self { kind: if is_path { "bind" } else { "volume" }.to_owned(), source, target, read_only }
    }
}

/// `name: value`, or a list of `name=value`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Pairs {
    Map(BTreeMap<String, Value>),
    List(Vec<String>),
}

impl Default for Pairs {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Pairs {
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        match self {
            Self::Map(map) => {
                map.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            }
            Self::List(list) => {
                let pairs = list.iter().filter_map(|entry| entry.split_once('='));
                pairs.filter(|(have, _)| *have == name).map(|(_, value)| value.to_owned()).next_back()
            }
        }
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::Map(map) => map.keys().map(String::as_str).collect(),
            Self::List(list) => list.iter().map(|entry| entry.split('=').next().unwrap_or_default()).collect(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Deploy {
    #[serde(default)]
    replicas: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum DependsOn {
    WithConditions(BTreeMap<String, Value>),
    Names(Vec<String>),
}

impl Default for DependsOn {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

impl DependsOn {
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::WithConditions(map) => map.keys().map(String::as_str).collect(),
            Self::Names(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

impl Project {
    pub(crate) fn parse(printed: &[u8], v1: bool) -> Result<Self> {
        let project: Self = parse(printed, v1)?;
        match project.services.is_empty() {
            true => Err(Error::config("the compose file has no services (or none with the profiles in use)")),
            false => Ok(project),
        }
    }

    /// The services that others wait for until they have ended with success: they are meant to end.
    pub(crate) fn jobs(&self) -> BTreeSet<String> {
        let mut jobs = BTreeSet::new();
        for service in self.services.values() {
            if let DependsOn::WithConditions(dependencies) = &service.depends_on {
                let completed = |dependency: &Value| {
                    dependency.get("condition").and_then(Value::as_str) == Some("service_completed_successfully")
                };
                jobs.extend(dependencies.iter().filter(|(_, of)| completed(of)).map(|(name, _)| name.clone()));
            }
        }
        jobs
    }

    /// The networks that are made for this project alone: neither external nor under a name of their own.
    pub(crate) fn own_networks(&self, project: &str) -> BTreeSet<String> {
        let own = |network: &Option<Network>| network.as_ref().is_none_or(|network| network.is_own(project));
        let mut networks: BTreeSet<_> =
            self.networks.iter().filter(|(_, network)| own(network)).map(|(name, _)| name.clone()).collect();
        let uses_default = |service: &Service| service.networks.is_none() && service.network_mode.is_none();
        // v1 does not list the default network.
        if !self.networks.contains_key("default") && self.services.values().any(uses_default) {
            networks.insert("default".to_owned());
        }
        networks
    }
}

impl Network {
    /// Whether it is made for this project alone.
    pub(crate) fn is_own(&self, project: &str) -> bool {
        is_own(self.external.as_ref(), self.name.as_deref(), project)
    }

    /// What the engine calls it, where it is not the project's own.
    pub(crate) fn fixed_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(crate) fn is_external(&self) -> bool {
        is_external(self.external.as_ref())
    }
}

impl Volume {
    /// Whether it is made for this project alone.
    pub(crate) fn is_own(&self, project: &str) -> bool {
        is_own(self.external.as_ref(), self.name.as_deref(), project)
    }

    /// What the engine calls it, where it is not the project's own.
    pub(crate) fn fixed_name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

fn is_external(external: Option<&Value>) -> bool {
    external.is_some_and(|external| *external != Value::Bool(false))
}

fn is_own(external: Option<&Value>, name: Option<&str>, project: &str) -> bool {
    !is_external(external) && name.is_none_or(|name| name.starts_with(&format!("{project}_")))
}

impl Service {
    /// The networks that it is on, with what is said of each. Those of a service that names none are the default one.
    pub(crate) fn attachments(&self) -> BTreeMap<String, Attachment> {
        match (&self.networks, &self.network_mode) {
            (_, Some(_)) => BTreeMap::new(),
            (None, None) => BTreeMap::from([("default".to_owned(), Attachment::default())]),
            (Some(Attachments::List(names)), None) => {
                names.iter().map(|name| (name.clone(), Attachment::default())).collect()
            }
            (Some(Attachments::Named(map)), None) => {
                map.iter().map(|(name, of)| (name.clone(), of.clone().unwrap_or_default())).collect()
            }
        }
    }

    /// The name of the image.
    pub(crate) fn image(&self, name: &str) -> Result<&str> {
        let missing = || Error::config(format!("the service {name} has neither `image:` nor `build:`"));
        self.image.as_deref().ok_or_else(missing)
    }

    /// Whether its restart policy says that it ends when its work is done.
    pub(crate) fn is_job_by_restart(&self) -> bool {
        self.restart.as_deref().is_some_and(|policy| policy == "no" || policy.starts_with("on-failure"))
    }

    /// What the compose file says about fetching the image.
    pub(crate) fn pull_policy(&self) -> Option<PullPolicy> {
        match self.pull_policy.as_deref()? {
            "always" => Some(PullPolicy::Always),
            "never" => Some(PullPolicy::Never),
            "build" => Some(PullPolicy::Build),
            "missing" | "if_not_present" => Some(PullPolicy::Missing),
            _ => None,
        }
    }

    /// Whether any container of it is to run.
    pub(crate) fn is_wanted(&self) -> bool {
        self.replicas() > 0
    }

    /// How many containers of it are to run.
    pub(crate) fn replicas(&self) -> u32 {
        let replicas = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        self.scale.or(replicas).unwrap_or(1)
    }
}

/// All that `config` prints.
pub(crate) fn value(printed: &[u8], v1: bool) -> Result<Value> {
    parse(printed, v1)
}

/// Neither parser's error is passed on with its excerpt: the file holds secrets once its variables are filled in.
fn parse<T: DeserializeOwned>(printed: &[u8], v1: bool) -> Result<T> {
    let text = std::str::from_utf8(printed).map_err(|error| senseless().with_source(error))?;
    match v1 {
        true => serde_saphyr::from_str(text).map_err(|_| senseless()),
        false => serde_json::from_str(text).map_err(|_| senseless()),
    }
}

fn senseless() -> Error {
    Error::new(ErrorKind::Unexpected, "what Compose prints for `config` is not understood").not_applied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "
networks:
  back: {}
  shared:
    external: true
    name: shared
services:
  api:
    build:
      context: /x
    depends_on:
      setup:
        condition: service_completed_successfully
    image: api:1
    ports:
    - 127.0.0.1::3000/tcp
    - 4000-4002
    - 5000:53/udp
  setup:
    image: setup:1
  off:
    image: off:1
    scale: 0
version: '3.9'
";

    fn publishes(service: &Service, port: u16) -> bool {
        service.ports.iter().any(|entry| entry.covers(port))
    }

    #[test]
    fn what_v1_prints_is_understood() {
        let project = Project::parse(V1.as_bytes(), true).unwrap();
        let api = &project.services["api"];
        assert_eq!(api.image("api").unwrap(), "api:1");
        assert!(publishes(api, 3000) && publishes(api, 4001) && !publishes(api, 53) && !publishes(api, 80));
        assert_eq!(project.jobs().into_iter().collect::<Vec<_>>(), ["setup"]);
        assert_eq!(project.own_networks("p").into_iter().collect::<Vec<_>>(), ["back", "default"]);
        assert!(!project.services["off"].is_wanted() && api.is_wanted());
    }

    #[test]
    fn what_v2_prints_is_understood() {
        let printed = r#"{"name":"shop-blue","networks":{"default":{"name":"shop-blue_default"},"own":{"name":"mine"},
            "far":{"name":"far","external":true}},"services":{"api":{"image":"api:1","pull_policy":"never",
            "networks":{"default":null},"depends_on":{"db":{"condition":"service_healthy","required":true}},
            "ports":[{"mode":"ingress","target":3000,"published":"80","protocol":"tcp"}]},
            "db":{"image":"db:1","networks":{"default":null},"deploy":{"replicas":0}}}}"#;
        let project = Project::parse(printed.as_bytes(), false).unwrap();
        let api = &project.services["api"];
        assert!(publishes(api, 3000) && !publishes(api, 80));
        assert_eq!(api.pull_policy(), Some(PullPolicy::Never));
        assert!(project.jobs().is_empty() && !project.services["db"].is_wanted());
        assert_eq!(project.own_networks("shop-blue").into_iter().collect::<Vec<_>>(), ["default"]);
    }

    #[test]
    fn what_is_not_understood_is_not_shown_because_it_may_hold_secrets() {
        for v1 in [true, false] {
            let error = Project::parse(b"services: [hunter2", v1).unwrap_err();
            assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        }
    }

    #[test]
    fn mounts_are_understood_as_both_print_them() {
        let v1 = "services: {api: {image: a, volumes: ['pg:/data:rw', '/srv/x:/x:ro', '/anonymous']}}";
        let v2 = r#"{"services":{"api":{"image":"a","volumes":[{"type":"volume","source":"pg","target":"/data"},
            {"type":"bind","source":"/srv/x","target":"/x","read_only":true},{"type":"volume","target":"/anonymous"}]}}}"#;
        for (printed, is_v1) in [(v1, true), (v2, false)] {
            let project = Project::parse(printed.as_bytes(), is_v1).unwrap();
            let seen: Vec<_> = project.services["api"]
                .volumes
                .iter()
                .map(|mount| (mount.kind.as_str(), mount.source.as_deref(), mount.target.as_str(), mount.read_only))
                .collect();
            let expected = [
                ("volume", Some("pg"), "/data", false),
                ("bind", Some("/srv/x"), "/x", true),
                ("volume", None, "/anonymous", false),
            ];
            assert_eq!(seen, expected, "{printed}");
        }
    }
}
