use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Ownership, PerSlot, Result};

use super::cloud_balancer::CloudBalancer;
use super::pools::Pools;
use super::ports::Ports;
use super::router::{LoadBalancerRouter, Mode};
use super::waves::Rollout;
use crate::pending::Pending;
use crate::polling::{Polling, polling_setters};
use crate::probe::{Confirmation, PublicProbe};

/// Makes a [`LoadBalancerRouter`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LoadBalancerRouterBuilder {
    balancer: CloudBalancer,
    servers: Option<PerSlot<Vec<u64>>>,
    ports: Vec<PerSlot<u16>>,
    rollout: Rollout,
    polling: Polling,
    confirmation: Confirmation,
    pending: Pending,
    ownership: Ownership,
}

impl LoadBalancerRouter {
    /// A router of one load balancer. Either [`servers`](LoadBalancerRouterBuilder::servers) or
    /// [`ports`](LoadBalancerRouterBuilder::ports) must follow. Nothing is asked yet.
    pub fn builder(balancer: impl Into<CloudBalancer>) -> LoadBalancerRouterBuilder {
        LoadBalancerRouterBuilder {
            balancer: balancer.into(),
            servers: None,
            ports: Vec::new(),
            rollout: Rollout { at_a_time: None, pause: Duration::ZERO, health_deadline: None },
            polling: Polling::default(),
            confirmation: Confirmation::default(),
            pending: Pending::default(),
            ownership: Ownership::new(),
        }
    }
}

impl LoadBalancerRouterBuilder {
    /// Exchanges servers: those of blue and those of green, by the cloud's numbers.
    ///
    /// ```
    /// use bluegreen_core::Secret;
    /// use bluegreen_floatingip::{HetznerBalancer, LoadBalancerRouter};
    ///
    /// let balancer = || HetznerBalancer::new(Secret::new("token"), 4711);
    /// assert!(LoadBalancerRouter::builder(balancer()?).servers((vec![11, 12], vec![21, 22])).build().is_ok());
    /// let twice = LoadBalancerRouter::builder(balancer()?).servers((vec![11], vec![11])).build();
    /// assert!(twice.is_err(), "a server belongs to one slot");
    /// # Ok::<(), bluegreen_core::Error>(())
    /// ```
    pub fn servers(mut self, servers: impl Into<PerSlot<Vec<u64>>>) -> Self {
        self.servers = Some(servers.into());
        self
    }

    /// Changes the destination ports of the balancer's rules or services: from the port of one slot to that of the other.
    /// Call it once for each port of the service.
    ///
    /// ```
    /// use bluegreen_core::Secret;
    /// use bluegreen_floatingip::{HetznerBalancer, LoadBalancerRouter};
    ///
    /// // A web server and an API, each with a port per slot.
    /// let balancer = HetznerBalancer::new(Secret::new("token"), 4711)?;
    /// let builder = LoadBalancerRouter::builder(balancer).ports((3000, 3001)).ports((4000, 4001));
    /// assert!(builder.clone().build().is_ok());
    /// assert!(builder.ports((3001, 5000)).build().is_err(), "3001 is green's already");
    /// # Ok::<(), bluegreen_core::Error>(())
    /// ```
    pub fn ports(mut self, ports: impl Into<PerSlot<u16>>) -> Self {
        self.ports.push(ports.into());
        self
    }

    polling_setters!();

    /// Has a shift return only when so many fresh connections in a row were answered by the new slot. Default: no probe.
    ///
    /// The clouds say
    /// "done" before all of their balancer's machines are, so this is well worth having. By servers, one answer of the new
    /// slot is needed before the old servers go. Such an answer comes from any one of the new servers: that each of them is
    /// well only the balancer's health check knows, and at DigitalOcean only the time that it needs.
    pub fn confirm_by(mut self, probe: impl PublicProbe, answers_in_a_row: u32) -> Self {
        self.confirmation = Confirmation::by(probe, answers_in_a_row);
        self
    }

    /// Exchanges so many servers at a time, with a pause in between. Default: all at once. No effect by ports.
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
    pub fn at_a_time(mut self, servers: usize, pause: Duration) -> Self {
        (self.rollout.at_a_time, self.rollout.pause) = (Some(servers), pause);
        self
    }

    /// How long a new server is given before the old ones go, where the balancer does not say that it is healthy. Default:
    /// what its health check needs: the healthy threshold and one more, times the interval, and the time for one
    /// answer. No effect by ports.
    pub fn health_deadline(mut self, time: Duration) -> Self {
        self.rollout.health_deadline = Some(time);
        self
    }

    /// Checks the settings and makes the router.
    ///
    /// # Errors
    /// `Config` unless either servers or ports are given; when a slot has no server, or a server is in both; when a port is 0
    /// or given twice.
    pub fn build(self) -> Result<LoadBalancerRouter> {
        let mode = match (self.servers, self.ports.as_slice()) {
            (Some(servers), []) => Mode::Servers(Pools::new(servers)?, self.rollout),
            (None, [_, ..]) => Mode::Ports(Ports::new(self.ports)?),
            _ => {
                return Err(Error::config("a load balancer is switched either by servers or by ports")
                    .with_hint("call one of `.servers(..)` and `.ports(..)`"));
            }
        };
        Ok(LoadBalancerRouter {
            balancer: Arc::clone(&self.balancer.0),
            mode,
            polling: self.polling,
            confirmation: self.confirmation,
            pending: self.pending,
            ownership: self.ownership,
        })
    }
}
