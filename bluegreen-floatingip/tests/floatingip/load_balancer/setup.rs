//! Each fake with a public address, and routers of it.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{PerSlot, Secret, Slot};
use bluegreen_floatingip::{
    CloudBalancer, DigitalOceanBalancer, HetznerBalancer, HttpProbe, LoadBalancerRouter, LoadBalancerRouterBuilder,
};
use bluegreen_testkit::fakes::{DigitalOceanLb, FakeServer, Front, HetznerLb, TOKEN};

/// The slot that a request went to, by server or by port.
pub(crate) fn slot_of((server, port): (u64, u64)) -> Slot {
    let green = port == 3001 || [22, 23].contains(&server);
    if green { Slot::Green } else { Slot::Blue }
}

/// The servers of blue and green.
pub(crate) fn pools() -> PerSlot<Vec<u64>> {
    PerSlot::new(vec![11, 12], vec![22, 23])
}

pub(crate) const PORTS: PerSlot<u16> = PerSlot::new(3000, 3001);

pub(crate) struct OnDigitalOcean {
    pub(crate) lb: Arc<DigitalOceanLb>,
    pub(crate) server: FakeServer,
    pub(crate) front: Front,
}

impl OnDigitalOcean {
    /// By servers the balancer begins with these; by ports they are the servers of both slots.
    pub(crate) async fn start(droplets: &[u64]) -> Self {
        let lb = DigitalOceanLb::new(droplets);
        let traffic = Arc::clone(&lb);
        let front = Front::start(move || traffic.traffic(|traffic| traffic.next_server()).map(slot_of)).await;
        Self { server: FakeServer::start(Arc::clone(&lb)).await, lb, front }
    }

    pub(crate) fn balancer(&self) -> DigitalOceanBalancer {
        DigitalOceanBalancer::new(Secret::new(TOKEN), DigitalOceanLb::ID).unwrap().api(&self.server.url()).unwrap()
    }

    pub(crate) fn servers_builder(&self) -> LoadBalancerRouterBuilder {
        self.checked_builder().health_deadline(Duration::from_millis(60))
    }

    /// New servers are given the time that the balancer's own health check needs.
    pub(crate) fn checked_builder(&self) -> LoadBalancerRouterBuilder {
        quick(self.balancer(), &self.front).servers(pools())
    }

    pub(crate) fn ports_builder(&self) -> LoadBalancerRouterBuilder {
        quick(self.balancer(), &self.front).ports(PORTS)
    }

    pub(crate) fn by_servers(&self) -> LoadBalancerRouter {
        self.servers_builder().build().unwrap()
    }

    pub(crate) fn by_ports(&self) -> LoadBalancerRouter {
        self.ports_builder().build().unwrap()
    }
}

pub(crate) struct OnHetzner {
    pub(crate) lb: Arc<HetznerLb>,
    pub(crate) server: FakeServer,
    pub(crate) front: Front,
}

impl OnHetzner {
    pub(crate) async fn start(servers: &[u64]) -> Self {
        let lb = HetznerLb::new(servers);
        let traffic = Arc::clone(&lb);
        let front = Front::start(move || traffic.traffic(|traffic| traffic.next_server()).map(slot_of)).await;
        Self { server: FakeServer::start(Arc::clone(&lb)).await, lb, front }
    }

    pub(crate) fn balancer(&self) -> HetznerBalancer {
        HetznerBalancer::new(Secret::new(TOKEN), HetznerLb::ID).unwrap().api(&self.server.url()).unwrap()
    }

    pub(crate) fn servers_builder(&self) -> LoadBalancerRouterBuilder {
        quick(self.balancer(), &self.front).servers(pools())
    }

    pub(crate) fn ports_builder(&self) -> LoadBalancerRouterBuilder {
        quick(self.balancer(), &self.front).ports(PORTS)
    }

    pub(crate) fn by_servers(&self) -> LoadBalancerRouter {
        self.servers_builder().build().unwrap()
    }

    pub(crate) fn by_ports(&self) -> LoadBalancerRouter {
        self.ports_builder().build().unwrap()
    }
}

pub(crate) fn quick(balancer: impl Into<CloudBalancer>, front: &Front) -> LoadBalancerRouterBuilder {
    LoadBalancerRouter::builder(balancer)
        .poll_every(Duration::from_millis(3), Duration::from_millis(9))
        .deadline(Duration::from_secs(20))
        .lost_reply(Duration::from_millis(50))
        .confirm_by(HttpProbe::new(&front.url(), "x-slot").unwrap(), 3)
}
