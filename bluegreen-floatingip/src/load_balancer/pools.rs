use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Error, ErrorKind, PerSlot, Result, Slot, Split};

use super::balancer::{Members, Seen};
use super::share::share;

/// The servers of blue and of green behind a load balancer, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pools(PerSlot<BTreeSet<u64>>);

impl Pools {
    /// # Errors
    /// `Config` when a slot has none, or a server is in both.
    pub(super) fn new(servers: PerSlot<Vec<u64>>) -> Result<Self> {
        let pools = servers.map(|servers| servers.into_iter().collect::<BTreeSet<_>>());
        if pools.iter().any(BTreeSet::is_empty) {
            return Err(Error::config("each slot needs a server behind the load balancer"));
        }
        if let Some(server) = pools.blue.intersection(&pools.green).next() {
            return Err(Error::config(format!("server {server} cannot be blue and green")));
        }
        Ok(Self(pools))
    }

    pub(super) fn of(&self, slot: Slot) -> &BTreeSet<u64> {
        &self.0[slot]
    }

    /// The split that the balancer's members stand for.
    pub(super) fn split(&self, members: &Members) -> Result<Option<Split>> {
        let servers = known(members)?;
        let strangers: Vec<String> = servers
            .keys()
            .filter(|server| !self.0.iter().any(|pool| pool.contains(*server)))
            .map(u64::to_string)
            .collect();
        if !strangers.is_empty() {
            let message = format!("server {} behind it is neither blue nor green", strangers.join(", "));
            return Err(Error::new(ErrorKind::Conflict, message)
                .not_applied()
                .with_hint("find out who added it; remove it, or name it as blue's or green's"));
        }
        let green = servers.keys().filter(|server| self.0.green.contains(server)).count();
        Ok(share(green, servers.len()))
    }
}

/// The servers behind the balancer, where they are named one by one.
pub(super) fn known(members: &Members) -> Result<&BTreeMap<u64, Option<bool>>> {
    match members {
        Members::Servers(servers) => Ok(servers),
        Members::Chosen(how) => Err(Error::config(format!("it cannot be switched by servers: {how}"))
            .with_hint("have it name its servers one by one, or switch by ports")),
    }
}

/// The servers behind the balancer.
pub(super) fn there(seen: &Seen) -> BTreeSet<u64> {
    match &seen.members {
        Members::Servers(servers) => servers.keys().copied().collect(),
        Members::Chosen(_) => BTreeSet::new(),
    }
}
