//! What is in one slot of all members, as one instance.

use super::shared::Shared;
use crate::types::{Endpoint, Instance, Version};

/// Running where all run the same version; degraded where some do not. Each endpoint names its member as its host.
pub(super) fn combined(shared: &Shared, seen: Vec<(usize, Instance)>) -> Instance {
    if seen.iter().all(|(_, instance)| *instance == Instance::Absent) {
        return Instance::Absent;
    }
    let running = seen.iter().filter(|(_, instance)| instance.is_running());
    let version = most_common(running.clone().filter_map(|(_, instance)| instance.version()));
    let odd = |instance: &Instance| match &version {
        _ if instance.is_degraded() || !instance.is_running() => true,
        Some(version) => instance.version().is_some_and(|found| found != version),
        None => false,
    };
    let odd: Vec<_> = seen.iter().filter(|(_, instance)| odd(instance)).collect();
    let reason = || {
        let text = |(member, instance): &&(usize, Instance)| format!("{}: {instance}", shared.names[*member]);
        shown(&odd.iter().map(text).collect::<Vec<_>>())
    };
    if running.clone().next().is_none() {
        let version = most_common(seen.iter().filter_map(|(_, instance)| instance.version()));
        return Instance::Stopped { version, reason: Some(reason()) };
    }
    let endpoints: Vec<_> = running.flat_map(|(member, instance)| endpoints(shared, *member, instance)).collect();
    match odd.is_empty() {
        true => Instance::Running { version, endpoints },
        false => Instance::Degraded { version, endpoints, reason: reason() },
    }
}

/// How many members are named with what is wrong with them.
const SHOWN: usize = 5;

/// The first of what is told of several members, and how many more there are.
pub(super) fn shown(told: &[String]) -> String {
    match told.len().saturating_sub(SHOWN) {
        0 => told.join("; "),
        more => format!("{}; and {more} more", told[..SHOWN].join("; ")),
    }
}

/// One member's part of an instance, as its own router or check is told it. `None` where it has none.
pub(super) fn of_member(shared: &Shared, member: usize, instance: &Instance) -> Option<Instance> {
    let name = shared.names[member].as_str();
    let own = instance.endpoints().iter().filter(|endpoint| endpoint.host.as_deref() == Some(name));
    let endpoints: Vec<_> = own.map(|endpoint| Endpoint { host: None, ..endpoint.clone() }).collect();
    let version = instance.version().cloned();
    (!endpoints.is_empty()).then_some(Instance::Running { version, endpoints })
}

fn endpoints(shared: &Shared, member: usize, instance: &Instance) -> Vec<Endpoint> {
    let from_outside = shared.members[member].address.as_ref();
    let seen = |endpoint: &Endpoint| {
        let mut endpoint = endpoint.clone().on(shared.names[member].as_str());
        if let (Some(host), Some((_, port))) = (from_outside, endpoint.address.rsplit_once(':')) {
            endpoint.address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        }
        endpoint
    };
    instance.endpoints().iter().map(seen).collect()
}

fn most_common<'a>(versions: impl Iterator<Item = &'a Version>) -> Option<Version> {
    let mut counts: Vec<(&Version, usize)> = Vec::new();
    for version in versions {
        match counts.iter_mut().find(|(known, _)| *known == version) {
            Some((_, count)) => *count += 1,
            None => counts.push((version, 1)),
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(version, _)| version.clone())
}

/// That more members are set aside than may be, where that is so and matters.
pub(super) fn beyond_policy(shared: &Shared) -> Option<String> {
    let (aside, may) = (shared.roster.aside(), shared.may_fail());
    let beyond = !shared.roster.is_tolerant() && aside.len() > may;
    let reason = |member: &usize| {
        let reason = shared
            .roster
            .read(*member, |standing| standing.record.set_aside.clone())
            .map(|aside| aside.reason)
            .unwrap_or_default();
        format!("{}: {reason}", shared.names[*member])
    };
    beyond.then(|| {
        let reasons: Vec<_> = aside.iter().map(reason).collect();
        format!("{} of {} members failed, and {may} may: {}", aside.len(), shared.members.len(), shown(&reasons))
    })
}
