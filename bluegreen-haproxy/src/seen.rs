//! [`Seen`]: a backend as HAProxy shows it, and whether it is what it should be.

use std::collections::BTreeMap;

use bluegreen_core::{Error, ErrorKind, PerSlot, Result, Slot, Split};

use crate::command::Command;
use crate::error::refused;
use crate::members::Members;
use crate::name::Name;
use crate::server::Server;
use crate::table::Table;
use crate::weights::split_of;

/// What is asked to see a backend.
pub(crate) const LOOK: [Command; 2] = [Command::ShowServers, Command::ShowStat];

/// Algorithms that pay no attention to weights, or do not let them change.
const WITHOUT_WEIGHTS: [&str; 2] = ["static-rr", "first"];

#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) servers: Vec<Server>,
    /// Empty where HAProxy does not tell.
    pub(crate) algorithm: String,
    /// The answer to `show servers state`, which is what a state file holds.
    pub(crate) states: String,
}

impl Seen {
    /// Reads the answers to [`LOOK`].
    ///
    /// # Errors
    /// `NotFound` when there is no such backend; `Config` when it is not what it should be; `Unexpected` for what is no answer.
    pub(crate) fn read(answers: &[String], backend: &Name, members: &Members) -> Result<Self> {
        Self::checked(answers, backend, members).map_err(Error::not_applied)
    }

    fn checked(answers: &[String], backend: &Name, members: &Members) -> Result<Self> {
        let [states, stat] = answers else { return Err(unreadable("a number of answers")) };
        if states.starts_with("Can't find") || stat.starts_with("No such") {
            return Err(refused(&Command::ShowServers.text(backend), states));
        }
        let seen = Self::parse(states, stat, members).ok_or_else(|| {
            let begin: String = states.chars().take(80).collect();
            unreadable(&format!("what begins with {begin:?}"))
        })?;
        seen.check(members)?;
        Ok(seen)
    }

    fn parse(states: &str, stat: &str, members: &Members) -> Option<Self> {
        let columns = ["svname", "qcur", "scur", "status", "bck", "throttle", "algo"];
        let stat = Table::of_stat(stat)?;
        let stat: BTreeMap<_, _> = stat.columns(columns)?.into_iter().map(|row| (row[0], row)).collect();
        let table = Table::of_states(states)?;
        let columns =
            ["srv_name", "srv_addr", "srv_port", "srv_op_state", "srv_admin_state", "srv_uweight", "srv_fqdn"];
        let servers = table.columns(columns)?.into_iter().map(|row| {
            let [name, address, port, operation, admin_state, weight, host_name] = row;
            let [_, queued, sessions, status, backup, throttle, _] = *stat.get(name)?;
            let name = Name::new("server", name).ok()?;
            Some(Server {
                slot: members.slot_of(&name),
                name,
                ip: address.parse().ok(),
                port: port.parse().ok()?,
                admin_state: admin_state.parse().ok()?,
                is_up: matches!(operation, "1" | "2"),
                weight: weight.parse().ok()?,
                is_throttled: throttle.parse().is_ok_and(|percent: u8| percent < 100),
                is_backup: backup == "1",
                is_named: host_name != "-",
                in_flight: sessions.parse::<u64>().ok()? + queued.parse::<u64>().ok()?,
                status: status.to_owned(),
            })
        });
        let servers: Option<Vec<_>> = servers.collect();
        let algorithm = stat.get("BACKEND").map_or("", |row| row[6]).to_owned();
        Some(Self { servers: servers?, algorithm, states: states.to_owned() })
    }

    fn check(&self, members: &Members) -> Result<()> {
        let hint = "see \"The backend\" in docs/haproxy.md";
        let refused = |what: String| Err(Error::config(what).with_hint(hint));
        if let Some(missing) = members.listed().find(|name| !self.servers.iter().any(|server| server.name == **name)) {
            return refused(format!("the backend has no server {missing}"));
        }
        if let Some(slot) = Slot::BOTH.into_iter().find(|slot| self.of(*slot).next().is_none()) {
            return refused(format!("the backend has no server for {slot}: its servers are {}", self.names()));
        }
        if let Some(server) = self.servers.iter().find(|server| server.slot.is_some() && server.is_backup) {
            return refused(format!("{} is a backup, which gets requests whatever the weights are", server.name));
        }
        let others = |server: &&Server| server.slot.is_none() && server.is_routed() && !server.is_backup;
        if let Some(server) = self.servers.iter().find(others) {
            return refused(format!("the server {} belongs to neither slot, and has traffic", server.name));
        }
        match WITHOUT_WEIGHTS.contains(&self.algorithm.as_str()) {
            true => refused(format!("`balance {}` does not divide requests by weights", self.algorithm)),
            false => Ok(()),
        }
    }

    /// The servers of a slot, in HAProxy's order.
    pub(crate) fn of(&self, slot: Slot) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(move |server| server.slot == Some(slot))
    }

    /// Those of them that the slot uses.
    pub(crate) fn attached(&self, slot: Slot) -> impl Iterator<Item = &Server> {
        self.of(slot).filter(|server| server.is_attached())
    }

    /// What HAProxy was told, as far as it still knows it: how it divides requests among servers that are up.
    pub(crate) fn split(&self) -> Option<Split> {
        split_of(PerSlot::from_fn(|slot| {
            self.of(slot).filter(|server| server.is_routed()).map(|server| u64::from(server.weight)).sum()
        }))
    }

    /// Whether a slot has servers with traffic, and HAProxy's own check lets none of them have any.
    pub(crate) fn is_down(&self, slot: Slot) -> bool {
        let mut routed = self.of(slot).filter(|server| server.is_routed()).peekable();
        routed.peek().is_some() && !routed.any(|server| server.is_up)
    }

    /// The servers of a slot that HAProxy's own check holds down.
    pub(crate) fn down(&self, slot: Slot) -> String {
        let state = |server: &&Server| server.state() != crate::command::State::Maintenance && !server.is_up;
        let down: Vec<_> = self.attached(slot).filter(state).map(ToString::to_string).collect();
        down.join(", ")
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.servers.iter().map(|server| server.name.as_str()).collect();
        names.join(", ")
    }
}

fn unreadable(what: &str) -> Error {
    let what = format!("HAProxy answered {what}, which is no list of servers");
    Error::new(ErrorKind::Unexpected, what).with_hint("is this the runtime socket of HAProxy, 2.6 or later?")
}
