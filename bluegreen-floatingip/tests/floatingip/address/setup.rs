//! Each fake with an address that moves, and routers of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::{Endpoint, Instance, PerSlot, Secret, Slot, Split};
use bluegreen_floatingip::{AddressProvider, DigitalOceanIp, FloatingIpRouter, FloatingIpRouterBuilder, HetznerIp};
use bluegreen_testkit::fakes::{DigitalOcean, FakeServer, Front, Hetzner, TOKEN};

pub(crate) const BLUE: Split = Split::all(Slot::Blue);
pub(crate) const GREEN: Split = Split::all(Slot::Green);

pub(crate) const V4: &str = "203.0.113.7";
pub(crate) const V6: &str = "2001:db8::7";

/// The number of the floating IP at Hetzner.
pub(crate) const NUMBER: u64 = 7;

pub(crate) const SERVERS: PerSlot<u64> = PerSlot::new(11, 22);

pub(crate) fn slot_of(server: u64) -> Option<Slot> {
    Slot::BOTH.into_iter().find(|slot| SERVERS[*slot] == server)
}

pub(crate) fn fixed(slot: Slot) -> Instance {
    let address = match slot {
        Slot::Blue => "10.0.0.11:80",
        Slot::Green => "10.0.0.22:80",
    };
    Instance::Running { version: None, endpoints: vec![Endpoint::http(address)] }
}

pub(crate) fn quick(provider: impl AddressProvider) -> FloatingIpRouterBuilder {
    FloatingIpRouter::builder(provider)
        .poll_every(Duration::from_millis(2), Duration::from_millis(6))
        .deadline(Duration::from_secs(20))
        .lost_reply(Duration::from_millis(100))
}

/// Where an address leads, apart from what any API says.
type Network = Arc<Mutex<Option<u64>>>;

async fn front(network: &Network) -> Front {
    let network = Arc::clone(network);
    Front::start(move || slot_of((*network.lock().unwrap())?)).await
}

pub(crate) struct OnDigitalOcean {
    pub(crate) cloud: Arc<DigitalOcean>,
    pub(crate) server: FakeServer,
    pub(crate) front: Front,
    pub(crate) address: &'static str,
}

impl OnDigitalOcean {
    /// The address is not assigned; an action takes 15 ms.
    pub(crate) async fn start(address: &'static str) -> Self {
        let (cloud, network) = (DigitalOcean::new(), Network::default());
        cloud.reserve(address);
        cloud.actions_take(Duration::from_millis(15));
        let front = front(&network).await;
        cloud.on_assign(move |moved| *network.lock().unwrap() = Some(moved.to));
        Self { server: FakeServer::start(Arc::clone(&cloud)).await, cloud, front, address }
    }

    /// The address is blue's.
    pub(crate) async fn at_blue(address: &'static str) -> Self {
        let on = Self::start(address).await;
        on.cloud.move_by_hand(address, Some(11));
        on
    }

    pub(crate) fn provider(&self) -> DigitalOceanIp {
        let address = self.address.parse().unwrap();
        DigitalOceanIp::new(Secret::new(TOKEN), address, SERVERS).unwrap().api(&self.server.url()).unwrap()
    }

    pub(crate) fn builder(&self) -> FloatingIpRouterBuilder {
        quick(self.provider())
    }

    pub(crate) fn router(&self) -> FloatingIpRouter {
        self.builder().build()
    }

    pub(crate) fn holder(&self) -> Option<u64> {
        self.cloud.holder(self.address)
    }

    /// How often a move was asked for.
    pub(crate) fn posts(&self) -> usize {
        self.server.count("POST", "/actions")
    }
}

pub(crate) struct OnHetzner {
    pub(crate) cloud: Arc<Hetzner>,
    pub(crate) server: FakeServer,
    pub(crate) front: Front,
}

impl OnHetzner {
    /// The address is not assigned; an action takes 15 ms.
    pub(crate) async fn start() -> Self {
        let (cloud, network) = (Hetzner::new(), Network::default());
        cloud.create(NUMBER);
        cloud.actions_take(Duration::from_millis(15));
        let front = front(&network).await;
        cloud.on_assign(move |moved| *network.lock().unwrap() = Some(moved.to));
        Self { server: FakeServer::start(Arc::clone(&cloud)).await, cloud, front }
    }

    /// The address is blue's.
    pub(crate) async fn at_blue() -> Self {
        let on = Self::start().await;
        on.cloud.move_by_hand(NUMBER, Some(11));
        on
    }

    pub(crate) fn builder(&self) -> FloatingIpRouterBuilder {
        quick(HetznerIp::new(Secret::new(TOKEN), NUMBER, SERVERS).unwrap().api(&self.server.url()).unwrap())
    }

    pub(crate) fn router(&self) -> FloatingIpRouter {
        self.builder().build()
    }

    pub(crate) fn holder(&self) -> Option<u64> {
        self.cloud.holder(NUMBER)
    }

    pub(crate) fn posts(&self) -> usize {
        self.server.count("POST", "/actions/assign")
    }
}
