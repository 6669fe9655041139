//! What all parts of one proxy share, and the operations that change its routes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Ownership, Result, Slot, Split, Version};
use hyper::header::HeaderName;
use tokio::sync::Semaphore;

use super::address::Address;
use super::routes::Routes;
use super::routing::Routing;
use super::state_file;
use super::sticky::StickyCookie;
use super::trusted_peers::TrustedPeers;

/// How long each part of an exchange with a slot may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

/// How requests are treated.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) answer_timeout: Duration,
    pub(super) client_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) send_timeout: Duration,
    pub(super) half_close_timeout: Duration,
    pub(super) header_limit: usize,
    pub(super) most_connections: usize,
    pub(super) shutdown_grace: Duration,
    pub(super) sticky: Option<StickyCookie>,
    pub(super) slot_header: Option<HeaderName>,
    pub(super) release_headers: bool,
    /// The headers of answers that the proxy writes itself.
    pub(super) own_headers: Vec<HeaderName>,
    pub(super) trusted_peers: TrustedPeers,
}

/// One proxy.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) settings: Settings,
    pub(super) routing: Routing,
    /// Requests of HTTP/2 clients beyond the first of each connection.
    pub(super) streams: Arc<Semaphore>,
    /// Connections to the slots: one for each client, and one for each of those requests.
    pub(super) slot_connections: Arc<Semaphore>,
    /// Told apart from an earlier run, whose counters began at zero too.
    pub(crate) run: String,
    state_file: Option<PathBuf>,
    /// The routes as they are stored; whoever changes them holds this.
    stored: Mutex<Routes>,
}

impl Core {
    pub(super) fn new(settings: Settings, state_file: Option<PathBuf>) -> Result<Self> {
        let routes = match &state_file {
            Some(path) => state_file::load(path)?.unwrap_or_default(),
            None => Routes::default(),
        };
        let routing = Routing::default();
        routing.apply(&routes, None);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let run = format!("{}-{}", std::process::id(), now.as_nanos());
        let streams = Arc::new(Semaphore::new(settings.most_connections));
        let slot_connections = Arc::new(Semaphore::new(settings.most_connections * 2));
        Ok(Self { settings, routing, streams, slot_connections, run, state_file, stored: Mutex::new(routes) })
    }

    pub(crate) fn split(&self) -> Option<Split> {
        self.routing.split()
    }

    pub(crate) fn in_flight(&self, slot: Slot) -> u64 {
        self.routing.counts(slot).in_flight()
    }

    /// Requests answered on a slot, and those of them that failed.
    pub(crate) fn counts(&self, slot: Slot) -> (u64, u64) {
        let counts = self.routing.counts(slot);
        (counts.answered(), counts.failed())
    }

    /// Refuses whoever asks for another service.
    pub(crate) fn verify(&self, asking: &Ownership) -> Result<()> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).verify(asking)
    }

    pub(crate) async fn attach(
        self: &Arc<Self>,
        asking: &Ownership,
        slot: Slot,
        address: Address,
        version: Option<Version>,
    ) -> Result<()> {
        let asking = asking.clone();
        let attached = move |routes: &Routes| Ok(Some(routes.claimed(&asking)?.attached(slot, address, version)));
        self.change(Some(slot), attached).await
    }

    pub(crate) async fn shift(self: &Arc<Self>, asking: &Ownership, from: Option<Split>, to: Split) -> Result<()> {
        let asking = asking.clone();
        self.change(None, move |routes| routes.claimed(&asking)?.shifted(from, to)).await
    }

    /// Changes the routes: stored first, then applied. It runs to its end also when the call is cut off, so that what
    /// is stored and what applies stay the same.
    async fn change(
        self: &Arc<Self>,
        renewed: Option<Slot>,
        change: impl FnOnce(&Routes) -> Result<Option<Routes>> + Send + 'static,
    ) -> Result<()> {
        let core = self.clone();
        let changing = tokio::task::spawn_blocking(move || {
            let mut stored = core.stored.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(next) = change(&stored)? else { return Ok(()) };
            if let Some(path) = core.state_file.as_ref().filter(|_| next != *stored) {
                state_file::store(path, &next)?;
            }
            core.routing.apply(&next, renewed);
            *stored = next;
            Ok(())
        });
        match changing.await {
            Ok(result) => result,
            Err(error) => Err(Error::new(ErrorKind::Unexpected, "the change was cut off").with_source(error)),
        }
    }
}
