//! The suite of the trait, on each provider.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, RouterFixture};
use bluegreen_core::{Endpoint, Instance, Secret, Slot, Split};
use bluegreen_floatingip::{DigitalOceanIp, FloatingIpRouter, HetznerIp, Servers};

use crate::fakes::{DigitalOcean, FakeServer, Front, Hetzner, TOKEN};

fn servers() -> Servers {
    Servers::new(11, 22).unwrap()
}

/// Where an address leads, apart from what any API says.
type Network = Arc<Mutex<Option<u64>>>;

async fn front(network: &Network) -> Front {
    let network = Arc::clone(network);
    Front::start(move || servers().slot_of((*network.lock().unwrap())?)).await
}

fn fixed(slot: Slot) -> Instance {
    let address = match slot {
        Slot::Blue => "10.0.0.11:80",
        Slot::Green => "10.0.0.22:80",
    };
    Instance::Running { version: None, endpoints: vec![Endpoint::http(address)] }
}

fn quick(router: FloatingIpRouter) -> FloatingIpRouter {
    router
        .poll_every(Duration::from_millis(2), Duration::from_millis(6))
        .deadline(Duration::from_secs(20))
        .lost_reply(Duration::from_millis(100))
}

struct OnDigitalOcean {
    cloud: Arc<DigitalOcean>,
    server: FakeServer,
    front: Front,
    address: &'static str,
}

impl OnDigitalOcean {
    async fn start(address: &'static str) -> Self {
        let (cloud, network) = (DigitalOcean::new(), Network::default());
        cloud.reserve(address);
        cloud.actions_take(Duration::from_millis(15));
        let front = front(&network).await;
        cloud.on_assign(move |moved| *network.lock().unwrap() = Some(moved.to));
        Self { server: FakeServer::start(Arc::clone(&cloud)).await, cloud, front, address }
    }
}

#[async_trait]
impl RouterFixture for OnDigitalOcean {
    type Router = FloatingIpRouter;

    async fn open(&self) -> FloatingIpRouter {
        let address = self.address.parse().unwrap();
        let provider = DigitalOceanIp::at(&self.server.url(), Secret::new(TOKEN), address, servers()).unwrap();
        quick(FloatingIpRouter::new(provider))
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.front.request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        self.cloud.move_by_hand(self.address, Some(servers().of(split.sole().unwrap())));
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_ipv4_keeps_the_contract() {
    conformance::router(&OnDigitalOcean::start("203.0.113.7").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_ipv6_keeps_the_contract() {
    conformance::router(&OnDigitalOcean::start("2001:db8::7").await).await;
}

struct OnHetzner {
    cloud: Arc<Hetzner>,
    server: FakeServer,
    front: Front,
}

#[async_trait]
impl RouterFixture for OnHetzner {
    type Router = FloatingIpRouter;

    async fn open(&self) -> FloatingIpRouter {
        let provider = HetznerIp::at(&self.server.url(), Secret::new(TOKEN), 7, servers()).unwrap();
        quick(FloatingIpRouter::new(provider))
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.front.request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        self.cloud.move_by_hand(7, Some(servers().of(split.sole().unwrap())));
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floating_ip_at_hetzner_keeps_the_contract() {
    let (cloud, network) = (Hetzner::new(), Network::default());
    cloud.create(7);
    cloud.actions_take(Duration::from_millis(15));
    let front = front(&network).await;
    cloud.on_assign(move |moved| *network.lock().unwrap() = Some(moved.to));
    let server = FakeServer::start(Arc::clone(&cloud)).await;
    conformance::router(&OnHetzner { cloud, server, front }).await;
}
