//! What `config` prints: the compose files, merged, with all variables filled in.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Port;

/// The parts of a project that matter here.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Project {
    #[serde(default)]
    pub(crate) services: BTreeMap<String, Service>,
    #[serde(default)]
    pub(crate) networks: BTreeMap<String, Option<Network>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    pub(crate) image: Option<String>,
    #[serde(default)]
    pub(crate) container_name: Option<String>,
    #[serde(default)]
    build: Option<IgnoredAny>,
    #[serde(default)]
    pull_policy: Option<String>,
    #[serde(default)]
    depends_on: DependsOn,
    #[serde(default)]
    pub(crate) ports: Vec<Port>,
    #[serde(default)]
    networks: Option<IgnoredAny>,
    #[serde(default)]
    network_mode: Option<String>,
    #[serde(default)]
    scale: Option<u32>,
    #[serde(default)]
    deploy: Option<Deploy>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Network {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    external: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Deploy {
    #[serde(default)]
    replicas: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DependsOn {
    WithConditions(BTreeMap<String, Dependency>),
    Names(#[expect(dead_code, reason = "those that wait for nothing but a start need no look")] Vec<String>),
}

impl Default for DependsOn {
    fn default() -> Self {
        Self::Names(Vec::new())
    }
}

#[derive(Debug, Deserialize)]
struct Dependency {
    #[serde(default)]
    condition: Option<String>,
}

/// When an image is fetched; Compose's `pull_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    Always,
    Missing,
    Never,
}

impl Project {
    pub(crate) fn parse(printed: &[u8], v1: bool) -> Result<Self> {
        let text = std::str::from_utf8(printed).map_err(|error| senseless().because(error))?;
        // Neither parser's error is passed on with its excerpt: the file holds secrets once its variables are filled in.
        let project: Self = match v1 {
            true => serde_saphyr::from_str(text).map_err(|_| senseless())?,
            false => serde_json::from_str(text).map_err(|_| senseless())?,
        };
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
                let completed =
                    |dependency: &Dependency| dependency.condition.as_deref() == Some("service_completed_successfully");
                jobs.extend(dependencies.iter().filter(|(_, of)| completed(of)).map(|(name, _)| name.clone()));
            }
        }
        jobs
    }

    /// The networks that are made for this project alone: neither external nor under a name of their own.
    pub(crate) fn own_networks(&self, project: &str) -> BTreeSet<String> {
        let own = |network: &Option<Network>| match network {
            None => true,
            Some(Network { external: Some(external), .. }) if *external != serde_json::Value::Bool(false) => false,
            Some(Network { name: None, .. }) => true,
            Some(Network { name: Some(name), .. }) => name.starts_with(&format!("{project}_")),
        };
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

impl Service {
    /// The name of the image.
    pub(crate) fn image(&self, name: &str) -> Result<&str> {
        self.image.as_deref().ok_or_else(|| match self.build {
            Some(_) => Error::config(format!("the service {name} is built and has no `image:`")).advice(
                "name the image in the compose file, and build it before the deploy, for instance with ImageBuild",
            ),
            None => Error::config(format!("the service {name} has no `image:`")),
        })
    }

    /// What the compose file says about fetching the image.
    pub(crate) fn pull_policy(&self) -> Option<PullPolicy> {
        match self.pull_policy.as_deref()? {
            "always" => Some(PullPolicy::Always),
            "never" | "build" => Some(PullPolicy::Never),
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
    fn a_service_that_is_built_and_has_no_name_for_its_image_is_told() {
        let printed = r#"{"services":{"api":{"build":{"context":"."}}}}"#;
        let project = Project::parse(printed.as_bytes(), false).unwrap();
        let error = project.services["api"].image("api").unwrap_err();
        assert!(error.to_string().contains("ImageBuild"), "{error}");
    }
}
