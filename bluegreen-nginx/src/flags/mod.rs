//! [`NginxRouter`]: switches by a directory of flags, without a reload.

mod attach;
mod observe;
mod setup;
mod switch;

use std::fmt;
use std::future::ready;

use async_trait::async_trait;
use bluegreen_core::{
    Error, ErrorKind, Granularity, Host, Instance, Preview, Result, Router, ServiceName, Slot, Split, split_changed,
};
use futures::future::BoxFuture;

use crate::before;
use crate::config::NginxConfig;
use crate::in_flight::in_flight;
use crate::server::Server;

use observe::Seen;

/// Directs traffic by flag files that nginx looks for on each request: any percentage, at once, without a reload.
///
/// The generated site holds both slots. A request falls into one of 100 buckets ([`BucketBy`](crate::BucketBy)); it goes
/// to green if its bucket has a file in the directory behind the link `live`, and to blue if not. A switch replaces that
/// link by rename. A request gets an answer from the slot it began on, and no connection is closed: see the
/// [crate's page](crate) for what was measured.
///
/// - [`current`](Router::current) asks nginx: which directory it sees behind the link, and who gets the two buckets on
///   either side of the border. It must be what the link says on the host; if not, that is a `Conflict` with both.
/// - Nothing is routed while there is no link: nginx answers 503. That is also what happens when the directory is lost;
///   a request is never sent to a slot by accident. A [`shift`](Router::shift) from `None` makes it anew.
/// - [`attach`](Router::attach) writes the site, tests it and reloads nginx, but only if the addresses, or anything else
///   in the site, are not what nginx has loaded already.
/// - Two processes that shift at once are told apart by a lock on the host: one succeeds, the other gets a `Conflict`.
///
/// The host needs `sh`, `flock`, `setsid`, `timeout` and `sha256sum`, which every Debian, Red Hat and Alpine has.
#[derive(Debug)]
pub struct NginxRouter {
    server: Server,
}

impl NginxRouter {
    /// The router of a site on a host. Nothing is touched yet.
    ///
    /// # Errors
    /// `Config` with the value that is refused.
    pub fn new(host: impl Host, config: NginxConfig) -> Result<Self> {
        Ok(Self { server: Server::new(host, config)? })
    }

    /// Refuses to send traffic to a slot that nginx knows no address of.
    async fn has_addresses(&self, split: Split) -> Result<()> {
        let config = &self.server.config;
        if config.own_files {
            return Ok(());
        }
        let path = config.site_file_path();
        let Some(text) = self.server.site(&path).await? else {
            return Err(Error::new(ErrorKind::NotFound, "there is no site yet").not_applied().with("site", path));
        };
        let known = self.server.known(Some(&text));
        match Slot::BOTH.into_iter().find(|slot| split.routes_to(*slot) && known.of(*slot).is_empty()) {
            Some(slot) => Err(Error::new(ErrorKind::NotFound, format!("nothing is attached to {slot}")).not_applied()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for NginxRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nginx site {} on {}", self.server.config.service, self.server.host)
    }
}

#[async_trait]
impl Router for NginxRouter {
    fn granularity(&self) -> Granularity {
        Granularity::Percent
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.server.ownership.bind(service)
    }

    async fn current(&self) -> Result<Option<Split>> {
        let current = observe::await_consistent(&self.server).await.and_then(Seen::agreed);
        current.map_err(|error| error.with_operation("ask nginx for the split").with("router", self))
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        self.attach_after(slot, instance, Box::pin(ready(Ok(())))).await
    }

    async fn attach_after(&self, slot: Slot, instance: &Instance, begun: BoxFuture<'_, Result<()>>) -> Result<()> {
        let attached = self.server.owned(attach::attach(&self.server, slot, instance, begun)).await;
        attached.map_err(|error| error.with_operation("attach a slot").with("router", self).with("slot", slot))
    }

    async fn preview(&self, _slot: Slot) -> Result<Preview> {
        self.server
            .owned_look(attach::preview(&self.server))
            .await
            .map_err(|error| error.with_operation("look at the site").with("router", self))
    }

    async fn detach(&self, slot: Slot) -> Result<()> {
        let path = self.server.config.site_file_path();
        let put_back = self.server.owned(async {
            let in_use = self.current().await?.is_some();
            before::put_back(&self.server, &path, slot, "", in_use).await
        });
        let put_back = put_back.await;
        put_back.map_err(|error| error.with_operation("put the site back").with("router", self).with("slot", slot))
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        self.shift_after(from, to, Box::pin(ready(Ok(())))).await
    }

    async fn shift_after(&self, from: Option<Split>, to: Split, begun: BoxFuture<'_, Result<()>>) -> Result<()> {
        let about = |error: Error| error.with_operation("shift traffic").with("router", self).with("to", to);
        // Where the slots listen is looked at beside, and only matters if there is a switch.
        let (seen, has_addresses, begun) =
            tokio::join!(observe::await_consistent(&self.server), self.has_addresses(to), begun);
        begun?;
        let now = match seen.map_err(about)? {
            Seen::Agreed(now) if now == Some(to) => return Ok(()),
            Seen::Agreed(now) => now,
            // What the link says was confirmed once; going on repairs the flags.
            Seen::Damaged(split, _) => Some(split),
            Seen::Drifted(error) | Seen::Unreachable(error) => return Err(about(error)),
        };
        if now != from {
            return Err(about(split_changed(from, now)));
        }
        has_addresses.map_err(about)?;
        if !switch::switch(&self.server, from, Some(to)).await.map_err(about)? {
            // Someone else was first; if they want the same, all is well.
            let now = observe::await_consistent(&self.server).await.and_then(Seen::agreed).map_err(about)?;
            return if now == Some(to) { Ok(()) } else { Err(about(split_changed(from, now))) };
        }
        match switch::confirm(&self.server, to).await {
            Ok(()) => Ok(()),
            Err(error) => Err(about(switch::take_back(&self.server, from, to, error).await)),
        }
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let counted = in_flight(&self.server, &self.server.config.site_file_path(), slot).await;
        counted.map_err(|error| error.with("router", self).with("slot", slot))
    }
}
