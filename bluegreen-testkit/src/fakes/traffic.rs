//! Where a fake load balancer really sends requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Its machines: they follow the settings when they are told, and give a server requests when it was there for a while.
#[derive(Debug, Default)]
pub struct Traffic {
    servers: BTreeMap<u64, Instant>,
    port: u64,
    unhealthy: BTreeSet<u64>,
    healthy_after: Duration,
    turn: usize,
}

impl Traffic {
    pub fn healthy_after(&mut self, time: Duration) {
        self.healthy_after = time;
    }

    pub fn set_unhealthy(&mut self, server: u64) {
        self.unhealthy.insert(server);
    }

    /// The servers and the port as they are set now.
    pub fn follow(&mut self, servers: impl IntoIterator<Item = u64>, port: u64) {
        let now = Instant::now();
        let wanted: BTreeSet<u64> = servers.into_iter().collect();
        self.servers.retain(|server, _| wanted.contains(server));
        for server in wanted {
            self.servers.entry(server).or_insert(now);
        }
        self.port = port;
    }

    pub fn is_healthy(&self, server: u64) -> bool {
        let long_enough = |since: &Instant| since.elapsed() >= self.healthy_after;
        !self.unhealthy.contains(&server) && self.servers.get(&server).is_some_and(long_enough)
    }

    /// The server and the port that the next request goes to; `None` is a 503.
    pub fn next_server(&mut self) -> Option<(u64, u64)> {
        let healthy: Vec<u64> = self.servers.keys().copied().filter(|server| self.is_healthy(*server)).collect();
        self.turn += 1;
        let server = healthy.get(self.turn % healthy.len().max(1))?;
        Some((*server, self.port))
    }
}
