//! Which ports of the engine's machine a slot gets. The engine would choose anew whenever a container starts, and a
//! router would send to what is no longer there, or to the other slot: so the choice is made here, once, and containers
//! are created with it.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use bluegreen_core::{Error, ErrorKind, Result, Slot};
use sha2::{Digest, Sha256};

use super::container::Container;
use super::group::Group;
use super::used_ports::Taken;

/// Where nothing is asked for. Linux takes the ports of outgoing connections from above, unless it is told otherwise.
pub(crate) const OURS: RangeInclusive<u16> = 20_000..=32_767;

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What ports of one service in a slot are chosen by.
pub(crate) struct Search<'a> {
    pub(crate) group: &'a Group,
    pub(crate) slot: Slot,
    pub(crate) service: &'a str,
    /// The port in the container.
    pub(crate) port: u16,
    /// As many ports in a row as there are containers, which share them out among themselves.
    pub(crate) count: u16,
    pub(crate) address: IpAddr,
    /// Where the user has said so.
    pub(crate) within: Option<RangeInclusive<u16>>,
    /// What is in the slot: what lives there keeps its ports.
    pub(crate) before: &'a [Container],
}

impl Search<'_> {
    /// A slot comes to the same ports each time, unless somebody else has them.
    pub(crate) fn find(&self, taken: &mut Taken) -> Result<RangeInclusive<u16>> {
        let own = self.before.iter().filter(|container| container.service == self.service && container.is_alive());
        let own: Vec<u16> = own.flat_map(|container| container.published_on(self.port)).collect();
        let rows = self.in_order();
        let is_free = |row: &&RangeInclusive<u16>| !(*row).clone().any(|port| taken.has(self.address, port));
        let has_own = |row: &&RangeInclusive<u16>| !own.is_empty() && own.iter().all(|port| row.contains(port));
        let row = rows.iter().filter(is_free).find(has_own).or_else(|| rows.iter().find(is_free)).cloned();
        let row = row.ok_or_else(|| self.none_left())?;
        for port in row.clone() {
            taken.add(self.address, port);
        }
        Ok(row)
    }

    /// All rows of so many ports, those first that the slot takes if it can: the two slots begin at opposite ends of
    /// what the file gives them. Elsewhere, each group begins at a place of its own.
    fn in_order(&self) -> Vec<RangeInclusive<u16>> {
        let is_given = self.within.is_some();
        let within = self.within.clone().unwrap_or(OURS);
        let row = |first: u16| first.checked_add(self.count - 1).map(|last| first..=last);
        let rows = within.clone().filter_map(row).filter(|row| within.contains(row.end()));
        let mut rows: Vec<_> = rows.collect();
        if is_given && self.slot == Slot::Green {
            rows.reverse();
        }
        if !is_given && !rows.is_empty() {
            let hash = Sha256::digest(format!("{} {} {}", self.group, self.service, self.port));
            let place = usize::from(u16::from_be_bytes([hash[0], hash[1]])) % rows.len();
            rows.rotate_left(place);
        }
        rows
    }

    fn none_left(&self) -> Error {
        let Self { service, port, count, .. } = *self;
        let within = self.within.as_ref().unwrap_or(&OURS);
        let what = match count {
            1 => format!("no port of {} is free for the port {port} of {service}", in_words(within)),
            _ => format!("no {count} ports in a row of {} are free for the port {port} of {service}", in_words(within)),
        };
        Error::new(ErrorKind::Conflict, what).not_applied().with_hint(
            "`docker ps`, and `ss -ltnp` as root, on the engine's machine show who has them; the other slot's are not free while \
                 it is there; give `ports:` a larger range, or leave the port out of it",
        )
    }
}

/// "4000", "4000-4002": as Compose takes it.
pub(crate) fn in_words(ports: &RangeInclusive<u16>) -> String {
    match (ports.start(), ports.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}
