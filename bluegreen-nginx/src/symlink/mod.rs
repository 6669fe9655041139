//! [`NginxSymlinkRouter`]: switches between two sites by a link and a reload.

mod attach;
mod observe;
mod shift;

use std::fmt;

use async_trait::async_trait;
use bluegreen_core::{Granularity, Host, Instance, Preview, Result, Router, ServiceName, Slot, Split};

use crate::config::NginxConfig;
use crate::in_flight::in_flight;
use crate::server::Server;

/// Directs all traffic to one slot by the classic layout: a site per slot in `sites-available`, and a link in
/// `sites-enabled` that is switched by rename, followed by `nginx -t` and a reload. For servers that must keep it;
/// [`NginxRouter`](crate::NginxRouter) is better in every other case.
///
/// # What a reload may drop
///
/// The workers of the old configuration close their idle keep-alive connections while a client may be writing its next
/// request to one: that request fails, and browsers repeat it only if it is safe. See the [crate's page](crate) for
/// figures. Clients with a connection per request lose nothing. From nginx 1.27.4 on, the generated sites contain
/// `keepalive_min_timeout 5s`, with which such a connection lives long enough to be told to close.
///
/// A long request ends on the old slot. A WebSocket stays on it for as long as both sides like, and an old worker stays
/// with it; `worker_shutdown_timeout` in your `nginx.conf` bounds that, by cutting them off.
///
/// # When a switch is over
///
/// Between a reload and the end of the old workers, old and new answers alternate. [`shift`](Router::shift) returns when
/// the workers of before are gone or shutting down, several answers in a row over fresh connections are new, and the
/// error log has nothing against it. If nginx refuses the configuration, in the test or later (a port that is busy), the
/// link is put back and nginx's own words are in the error.
#[derive(Debug)]
pub struct NginxSymlinkRouter {
    server: Server,
}

impl NginxSymlinkRouter {
    /// The router of a pair of sites on a host. Nothing is touched yet.
    ///
    /// # Errors
    /// `Config` with the value that is refused.
    pub fn new(host: impl Host, config: NginxConfig) -> Result<Self> {
        Ok(Self { server: Server::new(host, config)? })
    }
}

impl fmt::Display for NginxSymlinkRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nginx sites {} on {}", self.server.config.service, self.server.host)
    }
}

#[async_trait]
impl Router for NginxSymlinkRouter {
    fn granularity(&self) -> Granularity {
        Granularity::AllOrNothing
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.server.ownership.bind(service)
    }

    async fn current(&self) -> Result<Option<Split>> {
        let current = observe::await_consistent(&self.server).await.and_then(|seen| seen.agreed(&self.server));
        current
            .map(|slot| slot.map(Split::all))
            .map_err(|error| error.with_operation("ask nginx for the live slot").with("router", self))
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        let attached = self.server.owned(attach::attach(&self.server, slot, instance)).await;
        attached.map_err(|error| error.with_operation("attach a slot").with("router", self).with("slot", slot))
    }

    async fn preview(&self, _slot: Slot) -> Result<Preview> {
        self.server
            .owned(attach::preview(&self.server))
            .await
            .map_err(|error| error.with_operation("look at the sites").with("router", self))
    }

    async fn detach(&self, slot: Slot) -> Result<()> {
        let detached = self.server.owned(attach::detach(&self.server, slot)).await;
        detached.map_err(|error| error.with_operation("put the site back").with("router", self).with("slot", slot))
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let shifted = shift::shift(&self.server, from, to).await;
        shifted.map_err(|error| error.with_operation("shift traffic").with("router", self).with("to", to))
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let counted = in_flight(&self.server, &self.server.config.slot_file_path(slot), slot).await;
        counted.map_err(|error| error.with("router", self).with("slot", slot))
    }
}
