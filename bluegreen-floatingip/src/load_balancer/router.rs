use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Granularity, Instance, Result, Router, Slot, Split};
use tokio::time::Instant;

use super::balancer::{Balancer, Seen};
use super::change::Change;
use super::ports::Ports;
use super::servers::{Manner, Pools};
use super::switch::Desk;
use super::{retarget, servers};
use crate::outstanding::Outstanding;
use crate::patience::{LOOK_LIMIT, Patience};
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
/// A change by somebody else in between is refused with a `Conflict` that names it. The clouds offer no compare-and-set,
/// so one that falls between the last look and the write is seen only afterwards; let one deployer at a time work.
#[derive(Debug, Clone)]
pub struct LoadBalancerRouter {
    balancer: Arc<dyn Balancer>,
    mode: Mode,
    patience: Patience,
    confirmation: Confirmation,
    outstanding: Outstanding,
}

#[derive(Debug, Clone)]
enum Mode {
    Servers(Pools, Manner),
    Ports(Ports),
}

impl LoadBalancerRouter {
    pub(crate) fn by_servers(balancer: impl Balancer, pools: Pools) -> Self {
        let manner = Manner { at_a_time: None, pause: Duration::ZERO, healthy_within: None };
        Self::new(balancer, Mode::Servers(pools, manner))
    }

    pub(crate) fn by_ports(balancer: impl Balancer, ports: Ports) -> Self {
        Self::new(balancer, Mode::Ports(ports))
    }

    fn new(balancer: impl Balancer, mode: Mode) -> Self {
        let (patience, confirmation) = (Patience::default(), Confirmation::default());
        Self { balancer: Arc::new(balancer), mode, patience, confirmation, outstanding: Outstanding::default() }
    }

    /// How long a shift may take before its outcome counts as unknown; [`DEADLINE`](crate::DEADLINE) unless set. Keep it
    /// below the pipeline's limit for a shift.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.patience.deadline = deadline;
        self
    }

    /// How long to wait between two looks, drawn at random from this span; [`POLL_EVERY`](crate::POLL_EVERY) unless set.
    #[must_use]
    pub fn poll_every(mut self, least: Duration, most: Duration) -> Self {
        self.patience.poll_every = (least, most);
        self
    }

    /// How long a change that was cut off is given to show up, before what is seen counts;
    /// [`LOST_REPLY`](crate::LOST_REPLY) unless set.
    #[must_use]
    pub fn lost_reply(mut self, wait: Duration) -> Self {
        self.patience.lost_reply = wait;
        self
    }

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
    /// healthy (DigitalOcean), each turn takes what its [health check needs](Self::healthy_within), 65 s with the defaults of
    /// the control panel: three servers one at a time need a deadline of about four minutes. A shift that cannot end in time
    /// is refused before anything is changed, with the deadline that it would need. Up to 90 s more may pass after the
    /// deadline until the old servers are back, so give the pipeline a `shift_limit` above both: its five minutes are enough
    /// for a deadline of 210 s.
    #[must_use]
    pub fn at_a_time(mut self, servers: usize, pause: Duration) -> Self {
        if let Mode::Servers(_, manner) = &mut self.mode {
            (manner.at_a_time, manner.pause) = (Some(servers), pause);
        }
        self
    }

    /// How long a new server is given before the old ones go, where the balancer does not say that it is healthy. Unless
    /// set, what its health check needs: the healthy threshold and one more, times the interval, and the time for one
    /// answer. No effect by ports.
    #[must_use]
    pub fn healthy_within(mut self, time: Duration) -> Self {
        if let Mode::Servers(_, manner) = &mut self.mode {
            manner.healthy_within = Some(time);
        }
        self
    }

    /// What a switch to this slot would change in the balancer's settings, for a plan or a log.
    ///
    /// # Errors
    /// When the balancer cannot be read.
    pub async fn plan(&self, to: Slot) -> Result<Change> {
        let seen = self.desk(LOOK_LIMIT).read().await.map_err(self.naming("plan a switch"))?;
        match &self.mode {
            Mode::Ports(ports) => Ok(retarget::change(&*self.balancer, ports, &seen, to)),
            Mode::Servers(pools, _) => pools.change(&*self.balancer, &seen, to).map_err(self.naming("plan a switch")),
        }
    }

    fn split(&self, seen: &Seen) -> Result<Option<Split>> {
        match &self.mode {
            Mode::Servers(pools, _) => pools.split(&seen.members),
            Mode::Ports(ports) => ports.split(&self.balancer.target_ports(&seen.settings)).map(Some),
        }
    }

    fn desk(&self, limit: Duration) -> Desk<'_> {
        let limit = limit.min(self.patience.deadline);
        Desk {
            balancer: &*self.balancer,
            patience: &self.patience,
            outstanding: &self.outstanding,
            deadline: Instant::now() + limit,
        }
    }

    fn naming(&self, what: impl Into<String>) -> impl FnOnce(Error) -> Error {
        let (what, router) = (what.into(), self.to_string());
        move |error| error.trying(what).with("router", router)
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

    async fn current(&self) -> Result<Option<Split>> {
        let look = async {
            let led_to = |seen: &Seen, slot| self.split(seen).is_ok_and(|split| split == Some(Split::all(slot)));
            self.split(&self.desk(LOOK_LIMIT).settled(led_to).await?)
        };
        look.await.map_err(self.naming("ask the load balancer"))
    }

    /// Servers and ports are fixed: nothing to do.
    async fn attach(&self, _slot: Slot, _instance: &Instance) -> Result<()> {
        Ok(())
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let about = |error| self.naming(format!("switch the load balancer to {to}"))(error);
        let Some(slot) = to.sole() else {
            let message = "a cloud's load balancer has no weights; it switches from one slot to the other";
            return Err(about(Error::new(ErrorKind::Unsupported, message)));
        };
        let desk = self.desk(self.patience.deadline);
        match &self.mode {
            Mode::Servers(pools, manner) => servers::switch(desk, pools, manner, &self.confirmation, from, slot).await,
            Mode::Ports(ports) => retarget::switch(desk, ports, from, slot).await,
        }
        .map_err(about)?;
        self.confirmation.of(slot, &self.patience).await.map_err(about)
    }

    /// The clouds do not say.
    async fn in_flight(&self, _slot: Slot) -> Result<Option<u64>> {
        Ok(None)
    }
}
