//! The suite of the trait, by servers and by ports, on both clouds.

use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, CutOff, RouterFixture};
use bluegreen_core::{Endpoint, Instance, ServiceName, Slot, Split};
use bluegreen_floatingip::LoadBalancerRouter;
use bluegreen_testkit::fakes::Front;
use serde_json::json;

use super::setup::{OnDigitalOcean, OnHetzner};

/// A balancer whose traffic is moved by servers or by ports.
struct Fixture<C> {
    on: C,
    by_ports: bool,
}

/// What differs between the clouds.
trait Cloud: Send + Sync {
    fn router(&self, by_ports: bool) -> LoadBalancerRouter;

    fn front(&self) -> &Front;

    fn marked_as(&self) -> Option<ServiceName>;

    /// Puts these servers behind the balancer; false where nobody does that by hand.
    fn set_servers(&self, servers: [u64; 2]) -> bool;
}

impl Cloud for OnDigitalOcean {
    fn router(&self, by_ports: bool) -> LoadBalancerRouter {
        if by_ports { self.by_ports() } else { self.by_servers() }
    }

    fn front(&self) -> &Front {
        &self.front
    }

    fn marked_as(&self) -> Option<ServiceName> {
        None
    }

    fn set_servers(&self, servers: [u64; 2]) -> bool {
        self.lb.change_by_hand(|balancer| balancer["droplet_ids"] = json!(servers));
        true
    }
}

impl Cloud for OnHetzner {
    fn router(&self, by_ports: bool) -> LoadBalancerRouter {
        if by_ports { self.by_ports() } else { self.by_servers() }
    }

    fn front(&self) -> &Front {
        &self.front
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }

    fn set_servers(&self, _servers: [u64; 2]) -> bool {
        false
    }
}

#[async_trait]
impl<C: Cloud> RouterFixture for Fixture<C> {
    type Router = LoadBalancerRouter;

    async fn open(&self) -> LoadBalancerRouter {
        self.on.router(self.by_ports)
    }

    async fn instance(&self, slot: Slot) -> Instance {
        let address = match slot {
            Slot::Blue => "10.0.0.11:3000",
            Slot::Green => "10.0.0.22:3001",
        };
        Instance::Running { version: None, endpoints: vec![Endpoint::http(address)] }
    }

    async fn request(&self) -> Option<Slot> {
        self.on.front().request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        let servers = if split.sole() == Some(Slot::Blue) { [11, 12] } else { [22, 23] };
        if self.by_ports || !self.on.set_servers(servers) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        true
    }

    fn marked_as(&self) -> Option<ServiceName> {
        self.on.marked_as()
    }

    fn begins_unrouted(&self) -> bool {
        !self.by_ports
    }

    /// By servers in the first look: a switch that is cut off later leaves traffic divided, and says so. That is tested by
    /// itself, in `servers.rs`.
    fn cut_offs(&self) -> Vec<CutOff> {
        if self.by_ports { CutOff::usual() } else { vec![CutOff::Polls(1)] }
    }
}

// On one thread, so that what is polled once has looked once, however busy the machine is.
#[tokio::test]
async fn droplets_keep_the_contract() {
    let on = OnDigitalOcean::start(&[]).await;
    on.lb.busy_for(Duration::from_millis(10));
    on.lb.traffic(|traffic| traffic.healthy_after(Duration::from_millis(30)));
    conformance::router(&Fixture { on, by_ports: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn target_ports_at_digitalocean_keep_the_contract() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.busy_for(Duration::from_millis(10));
    conformance::router(&Fixture { on, by_ports: true }).await;
}

// On one thread, so that what is polled once has looked once, however busy the machine is.
#[tokio::test]
async fn servers_at_hetzner_keep_the_contract() {
    let on = OnHetzner::start(&[]).await;
    on.lb.traffic(|traffic| traffic.healthy_after(Duration::from_millis(30)));
    conformance::router(&Fixture { on, by_ports: false }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_ports_at_hetzner_keep_the_contract() {
    let on = OnHetzner::start(&[11, 12]).await;
    // One service: with several, one that is cut off between them leaves them divided.
    on.lb.change_by_hand(|balancer| {
        balancer["services"].as_array_mut().unwrap().truncate(1);
    });
    conformance::router(&Fixture { on, by_ports: true }).await;
}
