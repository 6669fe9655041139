//! Whether the endpoints can be reached at all, and by both slots' own ports.

use super::{Findings, Question};
use crate::compose::Service;

pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    for (name, service) in question.in_slot() {
        if let Some(mode) = service.network_mode.as_deref() {
            of_mode(question, findings, name, mode);
        } else if question.wishes.has_endpoint(name) && is_shut_in(question, service) {
            findings.refuse(
                format!(
                    "services.{name}.networks: all of them are `internal: true`, so no port of it can be published"
                ),
                format!("give {name}, which is an endpoint, one more network that is not internal"),
            );
        }
    }
    for endpoint in &question.wishes.endpoints {
        if question.wishes.shared.contains(&endpoint.service) {
            findings.refuse(
                format!("the endpoint {} is on {}, which is shared by both slots", endpoint.name, endpoint.service),
                "an endpoint is on a service of which each slot has its own",
            );
        }
    }
}

fn of_mode(question: &Question<'_>, findings: &mut Findings, name: &str, mode: &str) {
    let is_endpoint = question.wishes.has_endpoint(name);
    if mode == "host" {
        findings.refuse(
            format!(
                "services.{name}.network_mode: with `host`, both slots would listen on the same ports of the machine"
            ),
            format!("leave `network_mode:` out of {name}, and publish what it serves by `.endpoint(..)`"),
        );
    } else if let Some(other) = mode.strip_prefix("container:") {
        findings.refuse(
            format!("services.{name}.network_mode: the container {other} is none of the slot's"),
            format!("make it a service of this file, and say `network_mode: service:..` in {name}"),
        );
    } else if let Some(other) = mode.strip_prefix("service:").filter(|_| is_endpoint) {
        findings.refuse(
            format!("services.{name}.network_mode: its ports are those of {other}, and none of its own is published"),
            format!("name {other} instead, as in `.endpoint(\"{name}\", \"{other}\", port)`"),
        );
    } else if mode == "none" && is_endpoint {
        findings.refuse(
            format!("services.{name}.network_mode: with `none`, no port of it can be published"),
            format!("leave `network_mode:` out of {name}, which is an endpoint"),
        );
    }
}

fn is_shut_in(question: &Question<'_>, service: &Service) -> bool {
    let networks = service.attachments();
    let internal = |name: &String| {
        let network = question.project.networks.get(name).and_then(Option::as_ref);
        network.is_some_and(|network| network.internal)
    };
    !networks.is_empty() && networks.keys().all(internal)
}
