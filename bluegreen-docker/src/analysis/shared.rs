//! Services that run once: each slot leaves them out, and reaches them over a network that it alone shares with them.
//!
//! There is one such network per slot. On a single one, the names of the slots' own services would stand for the containers
//! of both.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::Slot;
use serde_json::{Value, json};

use super::{Findings, Question};
use crate::compose::{DependsOn, Patch, Said, Service};

/// What the network is called in the slots' files.
const NETWORK: &str = "bluegreen-shared";

pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    let wishes = question.wishes;
    if wishes.shared.is_empty() {
        return;
    }
    if !question.replaces {
        return findings.refuse(
            "a service that is shared is taken out of the slots, which this Compose cannot do",
            "use Compose 2.25 or newer, or move the shared services into a compose file of their own",
        );
    }
    let mut users = false;
    for (name, service) in question.in_slot() {
        without_shared(question, findings, name, service);
        if meets(service, question) {
            findings.patch.set(["services", name, "networks", NETWORK], Said::Merged(json!({})));
            for network in service.attachments().keys() {
                findings.patch.set(["services", name, "networks", network], Said::Merged(json!({})));
            }
            users = true;
        }
    }
    if users {
        let network = json!({"external": true, "name": network_name(question.shared_name, question.slot)});
        findings.patch.set(["networks", NETWORK], Said::Merged(network));
    }
    for (name, service) in question.shared() {
        findings.patch.set(["services", name], Said::Removed);
        for needed in service.depends_on.names() {
            if !wishes.shared.contains(needed) {
                findings.refuse(
                    format!("services.{name}.depends_on: {name} is shared, and needs {needed}, which is not"),
                    format!("share {needed} too, or leave it out of `depends_on:`"),
                );
            }
        }
    }
}

fn network_name(shared_name: &str, slot: Slot) -> String {
    format!("{shared_name}_{slot}")
}

/// Whether a service has a network in common with one that is shared.
fn meets(service: &Service, question: &Question<'_>) -> bool {
    let own = service.attachments();
    question.shared().any(|(_, shared)| shared.attachments().keys().any(|network| own.contains_key(network)))
}

/// Takes out of a service of the slot what it says of those that are not there.
fn without_shared(question: &Question<'_>, findings: &mut Findings, name: &str, service: &Service) {
    let is_shared = |other: &str| question.wishes.shared.contains(other);
    let needed = service.depends_on.names();
    if needed.iter().any(|other| is_shared(other)) {
        let left = match &service.depends_on {
            DependsOn::Names(names) => json!(names.iter().filter(|other| !is_shared(other)).collect::<Vec<_>>()),
            DependsOn::WithConditions(map) => {
                json!(map.iter().filter(|(other, _)| !is_shared(other)).collect::<BTreeMap<_, _>>())
            }
        };
        let all = needed.iter().all(|other| is_shared(other));
        let said = if all { Said::Removed } else { Said::Instead(left) };
        findings.patch.set(["services", name, "depends_on"], said);
    }
    let of_link = |link: &String| link.split(':').next().is_some_and(is_shared);
    if service.links.iter().any(of_link) {
        let left: Vec<_> = service.links.iter().filter(|link| !of_link(link)).collect();
        let said = if left.is_empty() { Said::Removed } else { Said::Instead(json!(left)) };
        findings.patch.set(["services", name, "links"], said);
    }
    let modes = [("network_mode", &service.network_mode), ("ipc", &service.ipc), ("pid", &service.pid)];
    let joined = modes.iter().filter_map(|(key, mode)| Some((*key, mode.as_deref()?.strip_prefix("service:")?)));
    let from = service.volumes_from.iter().filter_map(|from| Some(("volumes_from", from.split(':').next()?)));
    for (key, other) in joined.chain(from).filter(|(_, other)| is_shared(other)) {
        findings.refuse(
            format!("services.{name}.{key}: {other} is shared, and not in the slot"),
            format!("share {name} too, or leave `{key}:` out"),
        );
    }
}

/// The file of the shared services' own project: they alone, on both slots' networks.
pub(super) fn project(question: &Question<'_>) -> Patch {
    let mut patch = Patch::default();
    for name in question.project.services.keys().filter(|name| !question.wishes.shared.contains(*name)) {
        patch.set(["services", name], Said::Removed);
    }
    for (name, service) in question.shared() {
        let attachments = service.attachments();
        if attachments.is_empty() {
            continue;
        }
        let mut aliases: BTreeSet<&str> = attachments.values().flat_map(|of| &of.aliases).map(String::as_str).collect();
        aliases.extend(service.container_name.as_deref());
        let links = question.project.services.values().flat_map(|of| &of.links);
        aliases
            .extend(links.filter_map(|link| link.split_once(':')).filter(|(of, _)| of == name).map(|(_, alias)| alias));
        for network in attachments.keys() {
            patch.set(["services", name, "networks", network], Said::Merged(json!({})));
        }
        for slot in Slot::BOTH {
            let key = format!("{NETWORK}-{slot}");
            patch.set(["services", name, "networks", &key], Said::Merged(json!({"aliases": aliases})));
            let network: Value = json!({"name": network_name(question.shared_name, slot)});
            patch.set(["networks", &key], Said::Merged(network));
        }
    }
    patch
}
