//! Which ports of the engine's machine the services of a slot get, where the compose file leaves it open.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use bluegreen_core::{Result, Slot};

use crate::compose::{OwnPorts, Port, Project, Wish};
use crate::endpoint::EndpointPort;
use crate::slot::container::Container;
use crate::slot::free_ports::{LOOPBACK, Search, in_words};
use crate::slot::group::Group;
use crate::slot::used_ports::Taken;

/// What the ports of a slot's endpoints are chosen by.
pub(super) struct Choice<'a> {
    pub(super) project: &'a Project,
    pub(super) group: &'a Group,
    pub(super) slot: Slot,
    pub(super) endpoints: &'a [EndpointPort],
    /// What is in the slot: what lives there keeps its ports.
    pub(super) before: &'a [Container],
    /// By others than this slot.
    pub(super) taken: Taken,
    /// Whether a port that the compose file gives can be replaced.
    pub(super) replaces: bool,
    /// Whether ports that the compose file fixes stay as they are.
    pub(super) as_written: bool,
}

impl Choice<'_> {
    /// What has to be said of each service, so that the port of each endpoint is fixed.
    ///
    /// A slot comes to the same ports each time, unless somebody else has them.
    pub(super) fn make(mut self) -> Result<BTreeMap<String, OwnPorts>> {
        let mut all = BTreeMap::new();
        for (name, service) in &self.project.services {
            let (mut added, mut entries, mut changed) = (Vec::new(), service.ports.clone(), false);
            for port in self.ports_of(name) {
                if !entries.iter().any(|entry| entry.covers(port)) {
                    let chosen = self.choose(name, port, service.replicas(), LOOPBACK, None)?;
                    added.push(Port::Short(format!("{LOOPBACK}:{}:{port}", in_words(&chosen))));
                }
                for entry in entries.iter_mut().filter(|entry| entry.covers(port)) {
                    let (within, at) = match entry.wish() {
                        Some(Wish::Any) => (None, entry.address()),
                        Some(Wish::Within(range)) => (Some(range), entry.address()),
                        // Two slots cannot have it, and the router is in front.
                        Some(Wish::Fixed(_)) if !self.as_written && self.replaces => (None, Some(LOOPBACK)),
                        Some(Wish::Fixed(_)) | None => continue,
                    };
                    if !self.replaces {
                        not_pinned(name, port);
                        continue;
                    }
                    let address = at.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                    let chosen = self.choose(name, port, service.replicas(), address, within)?;
                    if let Some(pinned) = entry.pinned(at, &chosen) {
                        (*entry, changed) = (pinned, true);
                    }
                }
            }
            let is_endpoint = |entry: &Port| self.ports_of(name).iter().any(|port| entry.covers(*port));
            let is_fixed = |entry: &Port| matches!(entry.wish(), Some(Wish::Fixed(_))) && !is_endpoint(entry);
            for entry in entries.iter_mut().filter(|entry| is_fixed(entry)) {
                if let (true, false, Some(open)) = (self.replaces, self.as_written, entry.open()) {
                    (*entry, changed) = (open, true);
                }
            }
            if changed {
                entries.append(&mut added);
                all.insert(name.clone(), OwnPorts::Instead(entries));
            } else if !added.is_empty() {
                all.insert(name.clone(), OwnPorts::Added(added));
            }
        }
        Ok(all)
    }

    fn ports_of(&self, service: &str) -> BTreeSet<u16> {
        let endpoints = self.endpoints.iter().filter(|endpoint| endpoint.service == service);
        endpoints.map(|endpoint| endpoint.port).collect()
    }

    fn choose(
        &mut self,
        service: &str,
        port: u16,
        replicas: u32,
        address: IpAddr,
        within: Option<RangeInclusive<u16>>,
    ) -> Result<RangeInclusive<u16>> {
        let Self { group, slot, before, .. } = *self;
        let count = u16::try_from(replicas.max(1)).unwrap_or(u16::MAX);
        Search { group, slot, service, port, count, address, within, before }.find(&mut self.taken)
    }
}

fn not_pinned(service: &str, port: u16) {
    tracing::warn!(
        service,
        port,
        "the engine may give this port another place whenever the container restarts, and the router does not follow: \
         use Compose 2.25 or newer, or leave it out of `ports:`"
    );
}

#[cfg(test)]
mod tests {
    use bluegreen_core::ErrorKind;

    use super::*;
    use crate::slot::free_ports::OURS;

    fn project(services: &str) -> Project {
        Project::parse(format!(r#"{{"services":{services}}}"#).as_bytes(), false).unwrap()
    }

    fn choose(project: &Project, slot: Slot, taken: &[u16]) -> Result<BTreeMap<String, String>> {
        let endpoints =
            ["api", "web"].map(|service| EndpointPort { name: service.into(), service: service.into(), port: 80 });
        let mut by_others = Taken::default();
        taken.iter().for_each(|port| by_others.add(LOOPBACK, *port));
        let choice = Choice {
            project,
            group: &Group::project("shop"),
            slot,
            endpoints: &endpoints,
            before: &[],
            taken: by_others,
            replaces: true,
            as_written: true,
        };
        let ports = choice.make()?.into_iter().map(|(service, ports)| {
            let text = match ports {
                OwnPorts::Added(ports) => serde_json::to_string(&ports),
                OwnPorts::Instead(ports) => serde_json::to_string(&ports).map(|text| format!("instead {text}")),
            };
            (service, text.unwrap())
        });
        Ok(ports.collect())
    }

    #[test]
    fn the_slots_take_a_range_from_its_two_ends_and_make_way_for_others() {
        let project = project(
            r#"{"api":{"ports":[{"host_ip":"127.0.0.1","target":80,"published":"4000-4002","protocol":"tcp"},
                {"target":81,"published":"9","protocol":"udp"}]}}"#,
        );
        let api = |slot, taken: &[u16]| choose(&project, slot, taken).map(|all| all["api"].clone());
        let expected = |port: u16| {
            format!(
                r#"instead [{{"target":80,"published":"{port}","protocol":"tcp","host_ip":"127.0.0.1"}},{{"target":81,"published":"9","protocol":"udp"}}]"#
            )
        };
        assert_eq!(api(Slot::Blue, &[]).unwrap(), expected(4000));
        assert_eq!(api(Slot::Green, &[]).unwrap(), expected(4002));
        assert_eq!(api(Slot::Green, &[4002]).unwrap(), expected(4001));
        let error = api(Slot::Blue, &[4000, 4001, 4002]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("no port of 4000-4002 is free for the port 80 of api"), "{error}");
    }

    #[test]
    fn what_is_not_published_gets_a_port_of_its_own_the_same_each_time() {
        let project = project(r#"{"api":{},"web":{"ports":[{"target":80,"protocol":"tcp"}]},"db":{}}"#);
        let first = choose(&project, Slot::Blue, &[]).unwrap();
        assert_eq!(choose(&project, Slot::Blue, &[]).unwrap(), first);
        assert_eq!(first.len(), 2, "{first:?}");
        assert!(first["web"].starts_with("instead "), "{first:?}");
        let text = first["api"].strip_prefix(r#"["127.0.0.1:"#).unwrap().strip_suffix(r#":80"]"#).unwrap();
        let port: u16 = text.parse().unwrap();
        assert!(OURS.contains(&port), "{port}");
        assert_ne!(choose(&project, Slot::Blue, &[port]).unwrap()["api"], first["api"]);
    }

    #[test]
    fn what_is_fixed_already_stays_and_replicas_get_ports_in_a_row() {
        let project = project(
            r#"{"api":{"ports":[{"target":80,"published":"8080"}]},
                "web":{"deploy":{"replicas":2},"ports":[{"target":80,"published":"4000-4003"}]}}"#,
        );
        let chosen = choose(&project, Slot::Green, &[4003]).unwrap();
        assert_eq!(chosen["web"], r#"instead [{"target":80,"published":"4001-4002"}]"#);
        assert!(!chosen.contains_key("api"), "{chosen:?}");
    }
}
