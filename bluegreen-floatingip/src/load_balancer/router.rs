use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{
    Error, ErrorKind, Granularity, Instance, Ownership, Preview, Result, Router, ServiceName, Slot, Split,
};
use tokio::time::Instant;

use super::balancer::{Balancer, Seen};
use super::change::Change;
use super::pools::Pools;
use super::ports::Ports;
use super::switch::BalancerSession;
use super::waves::Rollout;
use super::{retarget, servers};
use crate::pending::Pending;
use crate::polling::{LOOK_TIMEOUT, Polling, polling_setters};
use crate::probe::{Confirmation, PublicProbe};

/// Switches a cloud's load balancer: from [`DigitalOceanBalancer`](crate::DigitalOceanBalancer) or
/// [`HetznerBalancer`](crate::HetznerBalancer).
///
/// **By servers**, each slot has servers of its own. The new slot's are added; when the balancer calls them healthy (or,
/// where it does not say, after the time that its health check needs) and the [probe](Self::confirm_by) has met one, the
/// old slot's are removed. In between both slots get requests, and [`current`](Router::current) says so: after a death at
/// that moment it is a divided split. With several servers per slot they can be exchanged [a few at a
/// time](Self::at_a_time).
///
/// **By ports**, both slots run on the same servers. Every rule to a port of the old slot, and the health check with it,
/// is changed to the new slot's port: in one write at DigitalOcean, in one for each service at Hetzner. All other settings
/// are written back as they were read, those that are not known here included.
///
/// A change by somebody else to what a switch writes is refused with a `Conflict` that names it: by servers, the servers; by
/// ports at Hetzner, ports and health checks of the services; by ports at DigitalOcean, every documented setting. Anything
/// else may change meanwhile. The clouds offer no compare-and-set, so a change that falls between the last look and the
/// write is seen only afterwards; let one deployer at a time work.
#[derive(Debug, Clone)]
pub struct LoadBalancerRouter {
    balancer: Arc<dyn Balancer>,
    mode: Mode,
    polling: Polling,
    confirmation: Confirmation,
    pending: Pending,
    ownership: Ownership,
}

#[derive(Debug, Clone)]
enum Mode {
    Servers(Pools, Rollout),
    Ports(Ports),
}

impl LoadBalancerRouter {
    pub(crate) fn by_servers(balancer: impl Balancer, pools: Pools) -> Self {
        let rollout = Rollout { at_a_time: None, pause: Duration::ZERO, health_deadline: None };
        Self::new(balancer, Mode::Servers(pools, rollout))
    }

    pub(crate) fn by_ports(balancer: impl Balancer, ports: Ports) -> Self {
        Self::new(balancer, Mode::Ports(ports))
    }

    fn new(balancer: impl Balancer, mode: Mode) -> Self {
        Self {
            balancer: Arc::new(balancer),
            mode,
            polling: Polling::default(),
            confirmation: Confirmation::default(),
            pending: Pending::default(),
            ownership: Ownership::new(),
        }
    }

    polling_setters!();

    /// Has a shift return only when so many fresh connections in a row were answered by the new slot. The clouds say
    /// "done" before all of their balancer's machines are, so this is well worth having. By servers, one answer of the new
    /// slot is needed before the old servers go. Such an answer comes from any one of the new servers: that each of them is
    /// well only the balancer's health check knows, and at DigitalOcean only the time that it needs.
    #[must_use]
    pub fn confirm_by(mut self, probe: impl PublicProbe, answers_in_a_row: u32) -> Self {
        self.confirmation = Confirmation::by(probe, answers_in_a_row);
        self
    }

    /// Exchanges so many servers at a time, with a pause in between, instead of all at once. No effect by ports.
    ///
    /// This happens within one shift: nobody looks at gates in between, and a pipeline's strategy with steps (a canary) is
    /// refused for this router, which is all or nothing.
    ///
    /// The whole of it has to end within the [deadline](Self::deadline). Where the balancer does not say which servers are
    /// healthy (DigitalOcean), each turn takes what its [health check needs](Self::health_deadline), 65 s with the defaults of
    /// the control panel: three servers one at a time need a deadline of about four minutes. A shift that cannot end in time
    /// is refused before anything is changed, with the deadline that it would need. Up to 90 s more may pass after the
    /// deadline until the old servers are back, so give the pipeline a `shift_timeout` above both: its five minutes are enough
    /// for a deadline of 210 s.
    #[must_use]
    pub fn at_a_time(mut self, servers: usize, pause: Duration) -> Self {
        if let Mode::Servers(_, rollout) = &mut self.mode {
            (rollout.at_a_time, rollout.pause) = (Some(servers), pause);
        }
        self
    }

    /// How long a new server is given before the old ones go, where the balancer does not say that it is healthy. Unless
    /// set, what its health check needs: the healthy threshold and one more, times the interval, and the time for one
    /// answer. No effect by ports.
    #[must_use]
    pub fn health_deadline(mut self, time: Duration) -> Self {
        if let Mode::Servers(_, rollout) = &mut self.mode {
            rollout.health_deadline = Some(time);
        }
        self
    }

    /// What a switch to this slot would change in the balancer's settings, for a plan or a log.
    ///
    /// # Errors
    /// When the balancer cannot be read, and when a switch would be refused because of how the balancer is set up.
    pub async fn plan(&self, to: Slot) -> Result<Change> {
        let seen = self.session(LOOK_TIMEOUT).read().await.map_err(self.naming("plan a switch"))?;
        let plan = match &self.mode {
            Mode::Ports(ports) => retarget::plan(&*self.balancer, ports, &seen, to),
            Mode::Servers(pools, rollout) => servers::plan(&*self.balancer, pools, rollout, &seen, to),
        };
        plan.map_err(self.naming("plan a switch"))
    }

    fn split(&self, seen: &Seen) -> Result<Option<Split>> {
        match &self.mode {
            Mode::Servers(pools, _) => pools.split(&seen.members),
            Mode::Ports(ports) => ports.split(&self.balancer.target_ports(&seen.settings)).map(Some),
        }
    }

    fn session(&self, limit: Duration) -> BalancerSession<'_> {
        let limit = limit.min(self.polling.deadline);
        BalancerSession {
            balancer: &*self.balancer,
            polling: &self.polling,
            pending: &self.pending,
            deadline: Instant::now() + limit,
        }
    }

    /// Refuses a balancer of another service.
    async fn verify(&self) -> Result<()> {
        let verified = self.session(LOOK_TIMEOUT).in_time(self.balancer.verify()).await;
        verified.map_err(Error::not_applied).map_err(self.naming("see whose the load balancer is"))
    }

    fn naming(&self, what: impl Into<String>) -> impl FnOnce(Error) -> Error {
        let (what, router) = (what.into(), self.to_string());
        move |error| error.with_operation(what).with("router", router)
    }
}

impl fmt::Display for LoadBalancerRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "load balancer {}", self.balancer)
    }
}

#[async_trait]
impl Router for LoadBalancerRouter {
    fn granularity(&self) -> Granularity {
        Granularity::AllOrNothing
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)?;
        self.balancer.bind_service(service)
    }

    async fn preview(&self, _slot: Slot) -> Result<Preview> {
        self.verify().await?;
        Ok(Preview::default())
    }

    async fn current(&self) -> Result<Option<Split>> {
        let look = async {
            let led_to = |seen: &Seen, slot| self.split(seen).is_ok_and(|split| split == Some(Split::all(slot)));
            self.split(&self.session(LOOK_TIMEOUT).settled(led_to).await?)
        };
        look.await.map_err(self.naming("ask the load balancer"))
    }

    /// Servers and ports are fixed: nothing to do.
    async fn attach(&self, _slot: Slot, _instance: &Instance) -> Result<()> {
        self.verify().await
    }

    async fn detach(&self, _slot: Slot) -> Result<()> {
        self.verify().await
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let about = |error| self.naming(format!("switch the load balancer to {to}"))(error);
        let Some(slot) = to.sole() else {
            let message = "a cloud's load balancer has no weights; it switches from one slot to the other";
            return Err(about(Error::new(ErrorKind::Unsupported, message)));
        };
        let session = self.session(self.polling.deadline);
        match &self.mode {
            Mode::Servers(pools, rollout) => {
                servers::switch(session, pools, rollout, &self.confirmation, from, slot).await
            }
            Mode::Ports(ports) => retarget::switch(session, ports, from, slot).await,
        }
        .map_err(about)?;
        self.confirmation.of(slot, &self.polling).await.map_err(about)
    }

    /// The clouds do not say.
    async fn in_flight(&self, _slot: Slot) -> Result<Option<u64>> {
        self.verify().await?;
        Ok(None)
    }
}
