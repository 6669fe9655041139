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
use crate::polling::{LOOK_TIMEOUT, Polling};
use crate::probe::Confirmation;

/// Switches a cloud's load balancer: from [`DigitalOceanBalancer`](crate::DigitalOceanBalancer) or
/// [`HetznerBalancer`](crate::HetznerBalancer).
///
/// **By servers**, each slot has servers of its own. The new slot's are added; when the balancer calls them healthy (or,
/// where it does not say, after the time that its health check needs) and the [probe](super::LoadBalancerRouterBuilder::confirm_by) has met one, the
/// old slot's are removed. In between both slots get requests, and [`current`](Router::current) says so: after a death at
/// that moment it is a divided split. With several servers per slot they can be exchanged [a few at a
/// time](super::LoadBalancerRouterBuilder::at_a_time).
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
    pub(super) balancer: Arc<dyn Balancer>,
    pub(super) mode: Mode,
    pub(super) polling: Polling,
    pub(super) confirmation: Confirmation,
    pub(super) pending: Pending,
    pub(super) ownership: Ownership,
}

#[derive(Debug, Clone)]
pub(super) enum Mode {
    Servers(Pools, Rollout),
    Ports(Ports),
}

impl LoadBalancerRouter {
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
            self.split(&self.session(LOOK_TIMEOUT).await_consistent(led_to).await?)
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
