//! [`Server`]: one server of a backend, as HAProxy shows it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bluegreen_core::Slot;

use crate::command::State;
use crate::name::Name;

/// Bits of `srv_admin_state`: in maintenance by command, by a tracked server, or because the name has no address.
const MAINTENANCE: u32 = 0x01 | 0x02 | 0x20;
/// It is `disabled` in the configuration.
const DISABLED: u32 = 0x04;
/// Drained by command, or by a tracked server.
const DRAIN: u32 = 0x08 | 0x10;

#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: Name,
    /// `None` for a server of neither slot.
    pub(crate) slot: Option<Slot>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) admin_state: u32,
    /// Whether HAProxy's own check lets it have requests: it is up, or warming up, or not checked.
    pub(crate) is_up: bool,
    pub(crate) weight: u16,
    /// Whether `slowstart` still keeps part of its share from it.
    pub(crate) is_throttled: bool,
    pub(crate) is_backup: bool,
    /// Whether it has a name in the configuration: only then does HAProxy take its address from a state file.
    pub(crate) is_named: bool,
    pub(crate) in_flight: u64,
    pub(crate) status: String,
}

impl Server {
    pub(crate) fn state(&self) -> State {
        match self.admin_state {
            state if state & MAINTENANCE != 0 => State::Maintenance,
            state if state & DRAIN != 0 => State::Drain,
            _ => State::Ready,
        }
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.ip.map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Whether a reload without a state file leaves it without traffic.
    pub(crate) fn is_disabled_in_configuration(&self) -> bool {
        self.admin_state & DISABLED != 0
    }

    /// Whether it is one of the servers that its slot uses: a weight of 0 takes it out.
    pub(crate) fn is_attached(&self) -> bool {
        self.weight > 0
    }

    /// Whether requests are given to it, as far as it is up.
    pub(crate) fn is_routed(&self) -> bool {
        self.state() == State::Ready && self.weight > 0
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, status, weight, .. } = self;
        write!(f, "{name} ({status}, weight {weight})")
    }
}
