//! The file of our own that comes last: the exact images, the labels, and ports for the endpoints.

use std::collections::BTreeMap;

use bluegreen_core::Target;
use serde_json::{Map, Value, json};

use super::{Port, Project, PullPolicy};
use crate::labels;

/// What is laid over the user's compose files, so that these stay as they are.
pub(crate) struct Overlay<'a> {
    pub(crate) target: &'a Target,
    pub(crate) project: &'a Project,
    pub(crate) project_name: &'a str,
    /// The exact image of each service.
    pub(crate) images: &'a BTreeMap<String, String>,
    /// The ports of each service, where the compose file's own are not enough.
    pub(crate) ports: &'a BTreeMap<String, OwnPorts>,
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
    /// Instead of them, which only a newer Compose [understands](super::Program::replaces_lists).
    Instead(Vec<Port>),
}

/// Written for `OwnPorts::Instead`, and then made a tag of YAML. In a text of JSON, it stands nowhere else.
const INSTEAD: (&str, &str) = (r#""ports!": ["#, r#""ports": !override ["#);

impl Overlay<'_> {
    /// As JSON, but for the tag `!override`: all of it is YAML.
    ///
    /// Volumes get no labels: they outlive releases, and newer versions of Compose take a volume with other labels for
    /// one that has to be made anew.
    pub(crate) fn to_yaml(&self) -> String {
        let mut services = Map::new();
        for (name, service) in &self.project.services {
            let mut own = json!({ "labels": {
                labels::SERVICE: self.target.service.as_str(),
                labels::SLOT: self.target.slot.as_str(),
                labels::VERSION: self.target.version().as_str(),
                labels::OPERATION: self.operation,
            }});
            if let Some(image) = self.images.get(name) {
                own["image"] = json!(image);
            }
            // All is here already, and a registry that is down must not matter any more. v1 does not look at it.
            if !self.v1 && service.pull_policy() != Some(PullPolicy::Never) {
                own["pull_policy"] = json!("missing");
            }
            match self.ports.get(name) {
                Some(OwnPorts::Added(ports)) => own["ports"] = json!(ports),
                Some(OwnPorts::Instead(ports)) => own["ports!"] = json!(ports),
                None => {}
            }
            services.insert(name.clone(), own);
        }
        let mark = json!({ "labels": {
            labels::SERVICE: self.target.service.as_str(),
            labels::SLOT: self.target.slot.as_str(),
        }});
        let networks = self.project.own_networks(self.project_name);
        let networks: Map<String, Value> = networks.into_iter().map(|name| (name, mark.clone())).collect();
        let mut whole = json!({ "services": services });
        if !networks.is_empty() {
            whole["networks"] = Value::Object(networks);
        }
        format!("{whole:#}\n").replace(INSTEAD.0, INSTEAD.1)
    }
}
