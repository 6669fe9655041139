//! Networks that both slots would be on, or that the engine's machine has once.

use super::{Findings, Question};
use crate::compose::{Network, Said};

pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    for (name, network) in &question.project.networks {
        if let Some(network) = network {
            of_machine(question, findings, name, network);
        }
    }
    for (name, service) in question.in_slot() {
        for (network, attachment) in service.attachments() {
            ambiguous(question, findings, name, &network, &attachment.aliases);
        }
    }
}

/// Compose gives each container its service's name on each of its networks: on one that both slots are on, the name stands
/// for the containers of both.
fn ambiguous(question: &Question<'_>, findings: &mut Findings, service: &str, name: &str, aliases: &[String]) {
    let Some(Some(network)) = question.project.networks.get(name) else { return };
    let called = network.fixed_name().unwrap_or(name);
    if network.is_own(question.project_name) || question.names_slot(called) {
        return;
    }
    let kind = if network.is_external() { "is external" } else { "has a fixed name" };
    let alias = aliases.iter().find(|alias| question.names_slot(alias));
    let peers = question.in_slot().filter(|(peer, of)| *peer != service && of.attachments().contains_key(name));
    let caller = peers.filter(|(_, of)| question.mentions(of, service)).map(|(peer, _)| peer).next();
    match (alias, caller) {
        (None, _) => findings.refuse(
            format!(
                "services.{service}.networks: {name} {kind} ({called}), so both slots are on it, and {service:?} would stand \
                 for the containers of both: the slot without traffic would answer the live one's calls"
            ),
            format!(
                "keep {service} off {name} (what both slots use can be a service of this file, with `.shared([..])`), or give \
                 it a name there that only its slot has, `{name}: {{aliases: [{service}-${{SLOT}}]}}`, and call it by that"
            ),
        ),
        (Some(alias), Some(caller)) => findings.refuse(
            format!(
                "services.{caller}: it calls {service:?}, which on the network {name} stands for the containers of both slots"
            ),
            format!("call it {:?}", alias.replace(question.slot.as_str(), "${SLOT}")),
        ),
        (Some(_), None) => {}
    }
}

/// Addresses and names of the machine, which two networks cannot have.
fn of_machine(question: &Question<'_>, findings: &mut Findings, name: &str, network: &Network) {
    if !network.is_own(question.project_name) || !question.in_slot().any(|(_, of)| of.attachments().contains_key(name))
    {
        return;
    }
    if let Some(driver @ ("macvlan" | "ipvlan")) = network.driver.as_deref() {
        findings.refuse(
            format!("networks.{name}.driver: {driver} gives its containers addresses of the machine's own network"),
            format!(
                "use a bridge network, and reach the slots by `.endpoint(..)`; or keep {name} external and per slot"
            ),
        );
    }
    let fixed = network.ipam.as_ref().is_some_and(|ipam| !ipam.config.is_empty());
    if fixed {
        let what = format!("networks.{name}.ipam: two networks cannot have one subnet");
        match question.may_change() {
            true => findings.patch.set(["networks", name, "ipam"], Said::Removed),
            false => findings.refuse(what, format!("leave `ipam:` out, {}", question.why_unchanged())),
        }
    }
    if network.driver_opts.contains_key(BRIDGE) {
        let what = format!("networks.{name}.driver_opts: two bridges cannot have one name");
        match question.may_change() {
            true => findings.patch.set(["networks", name, "driver_opts", BRIDGE], Said::Removed),
            false => findings.refuse(what, format!("leave {BRIDGE} out, {}", question.why_unchanged())),
        }
    }
    for (service, of) in question.in_slot() {
        let attachments = of.attachments();
        let Some(attachment) = attachments.get(name) else { continue };
        let addresses = [("ipv4_address", &attachment.ipv4_address), ("ipv6_address", &attachment.ipv6_address)];
        for (key, address) in addresses {
            let Some(address) = address else { continue };
            let what =
                format!("services.{service}.networks.{name}.{key}: two containers cannot have the address {address}");
            let user = question.in_slot().find(|(_, of)| question.mentions(of, address)).map(|(name, _)| name);
            match (user, question.may_change()) {
                (Some(user), _) => {
                    findings.refuse(what, format!("let {user} call it {service:?}, and leave `{key}:` out"))
                }
                (None, true) => {
                    findings.patch.set(["services", service, "networks", name, key], Said::Removed);
                }
                (None, false) => findings.refuse(what, format!("leave `{key}:` out, {}", question.why_unchanged())),
            }
        }
    }
}

/// The name of a bridge on the machine.
const BRIDGE: &str = "com.docker.network.bridge.name";
