//! The suite of the trait, on each provider.

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, RouterFixture};
use bluegreen_core::{Instance, ServiceName, Slot, Split};
use bluegreen_floatingip::FloatingIpRouter;

use super::setup::{NUMBER, OnDigitalOcean, OnHetzner, SERVERS, V4, V6, fixed};

#[async_trait]
impl RouterFixture for OnDigitalOcean {
    type Router = FloatingIpRouter;

    async fn open(&self) -> FloatingIpRouter {
        self.router()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.front.request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        self.cloud.move_by_hand(self.address, Some(SERVERS[split.sole().unwrap()]));
        true
    }
}

#[async_trait]
impl RouterFixture for OnHetzner {
    type Router = FloatingIpRouter;

    async fn open(&self) -> FloatingIpRouter {
        self.router()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.front.request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        self.cloud.move_by_hand(NUMBER, Some(SERVERS[split.sole().unwrap()]));
        true
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_ipv4_keeps_the_contract() {
    conformance::router(&OnDigitalOcean::start(V4).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_ipv6_keeps_the_contract() {
    conformance::router(&OnDigitalOcean::start(V6).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_floating_ip_at_hetzner_keeps_the_contract() {
    conformance::router(&OnHetzner::start().await).await;
}
