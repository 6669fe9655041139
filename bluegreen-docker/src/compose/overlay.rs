//! The file of our own that comes last: the exact images, the labels, and ports for the endpoints.

use std::collections::BTreeMap;

use bluegreen_core::Target;
use serde_json::{Map, Value, json};

use super::Project;
use crate::endpoint::EndpointPort;
use crate::labels;

/// What is laid over the user's compose files, so that these stay as they are.
pub(crate) struct Overlay<'a> {
    pub(crate) target: &'a Target,
    pub(crate) project: &'a Project,
    pub(crate) project_name: &'a str,
    /// The exact image of each service.
    pub(crate) images: &'a BTreeMap<String, String>,
    pub(crate) endpoints: &'a [EndpointPort],
    /// The operation that the containers are labelled with.
    pub(crate) operation: &'a str,
}

impl Overlay<'_> {
    /// As JSON, which is YAML.
    ///
    /// Volumes get no labels: they outlive releases, and newer versions of Compose take a volume with other labels for
    /// one that has to be made anew.
    pub(crate) fn to_json(&self) -> String {
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
            let unpublished = self.endpoints.iter().filter(|endpoint| endpoint.service == *name);
            let unpublished = unpublished.filter(|endpoint| !service.publishes(endpoint.port));
            let ports: Vec<_> = unpublished.map(|endpoint| format!("127.0.0.1::{}", endpoint.port)).collect();
            if !ports.is_empty() {
                own["ports"] = json!(ports);
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
        format!("{whole:#}\n")
    }
}
