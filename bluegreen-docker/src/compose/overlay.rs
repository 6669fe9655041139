//! The file of our own that comes last: the exact images, the labels, and ports for the endpoints.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::Target;
use serde_json::json;

use super::{Patch, Port, Project, Said};
use crate::image::PullPolicy;
use crate::labels;

/// What is laid over the user's compose files, so that these stay as they are.
pub(crate) struct Overlay<'a> {
    pub(crate) target: &'a Target,
    pub(crate) project: &'a Project,
    pub(crate) project_name: &'a str,
    /// What two slots need otherwise than the files have it.
    pub(crate) changes: &'a Patch,
    /// The exact image of each service.
    pub(crate) images: &'a BTreeMap<String, String>,
    /// The ports of each service, where the compose file's own are not enough.
    pub(crate) ports: &'a BTreeMap<String, OwnPorts>,
    /// The services that end when their work is done.
    pub(crate) jobs: &'a BTreeSet<String>,
    pub(crate) only_while_live: &'a BTreeSet<String>,
    /// Whether it is for Compose v1.
    pub(crate) v1: bool,
    /// The operation that the containers are labelled with.
    pub(crate) operation: &'a str,
}

/// What is said of a service's ports.
#[derive(Debug, PartialEq)]
pub(crate) enum OwnPorts {
    /// Beside those of the compose file.
    Added(Vec<Port>),
    /// Instead of them, which only a newer Compose [understands](super::Program::replaces).
    Instead(Vec<Port>),
}

impl OwnPorts {
    pub(crate) fn said(&self) -> Said {
        match self {
            Self::Added(ports) => Said::Merged(json!(ports)),
            Self::Instead(ports) => Said::Instead(json!(ports)),
        }
    }
}

impl Overlay<'_> {
    /// Volumes get no labels: they outlive releases, and newer versions of Compose take a volume with other labels for
    /// one that has to be made anew.
    pub(crate) fn to_yaml(&self) -> String {
        let mut patch = self.changes.clone();
        for (name, service) in &self.project.services {
            let mut say = |key: &str, said: Said| patch.set(["services", name, key], said);
            let mut labels = json!({
                labels::SERVICE: self.target.service.as_str(),
                labels::SLOT: self.target.slot.as_str(),
                labels::VERSION: self.target.version().as_str(),
                labels::OPERATION: self.operation,
            });
            if let Some(hooks) = service.rest.get("pre_stop").filter(|hooks| !hooks.is_null()) {
                // Compose doubles each dollar in what it prints, and takes it doubled.
                labels[labels::PRE_STOP] = json!(hooks.to_string());
            }
            if self.jobs.contains(name) {
                labels[labels::JOB] = json!("true");
            }
            if self.only_while_live.contains(name) {
                labels[labels::ONLY_WHILE_LIVE] = json!(service.restart.as_deref().unwrap_or("no"));
            }
            say("labels", Said::Merged(labels));
            if let Some(image) = self.images.get(name) {
                say("image", Said::Merged(json!(image)));
            }
            // All is here already, and a registry that is down must not matter any more. v1 does not look at it.
            if !self.v1 && service.pull_policy() != Some(PullPolicy::Never) {
                say("pull_policy", Said::Merged(json!("missing")));
            }
            if let Some(ports) = self.ports.get(name) {
                say("ports", ports.said());
            }
        }
        let mark = json!({
            labels::SERVICE: self.target.service.as_str(),
            labels::SLOT: self.target.slot.as_str(),
        });
        for network in self.project.own_networks(self.project_name) {
            patch.set(["networks", &network, "labels"], Said::Merged(mark.clone()));
        }
        patch.to_yaml()
    }
}
