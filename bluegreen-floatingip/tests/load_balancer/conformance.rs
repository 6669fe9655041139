//! The suite of the trait, by servers and by ports, on both clouds.

use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, CutOff, RouterFixture};
use bluegreen_core::{Endpoint, Instance, ServiceName, Slot, Split};
use bluegreen_floatingip::LoadBalancerRouter;
use serde_json::json;

use crate::setup::{OnDigitalOcean, OnHetzner};

fn fixed(slot: Slot) -> Instance {
    let address = match slot {
        Slot::Blue => "10.0.0.11:3000",
        Slot::Green => "10.0.0.22:3001",
    };
    Instance::Running { version: None, endpoints: vec![Endpoint::http(address)] }
}

/// In the first look: a switch by servers that is cut off later leaves traffic divided, and says so. That is tested by
/// itself, in `servers.rs`.
fn in_the_first_look() -> Vec<CutOff> {
    vec![CutOff::Polls(1)]
}

struct DigitalOceanServers(OnDigitalOcean);

#[async_trait]
impl RouterFixture for DigitalOceanServers {
    type Router = LoadBalancerRouter;

    async fn open(&self) -> LoadBalancerRouter {
        self.0.by_servers()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.0.front.request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        let servers = if split.sole() == Some(Slot::Blue) { [11, 12] } else { [22, 23] };
        self.0.lb.change_by_hand(|balancer| balancer["droplet_ids"] = json!(servers));
        tokio::time::sleep(Duration::from_millis(60)).await;
        true
    }

    fn cut_offs(&self) -> Vec<CutOff> {
        in_the_first_look()
    }
}

struct DigitalOceanPorts(OnDigitalOcean);

#[async_trait]
impl RouterFixture for DigitalOceanPorts {
    type Router = LoadBalancerRouter;

    async fn open(&self) -> LoadBalancerRouter {
        self.0.by_ports()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.0.front.request().await
    }

    fn begins_unrouted(&self) -> bool {
        false
    }
}

struct HetznerServers(OnHetzner);

#[async_trait]
impl RouterFixture for HetznerServers {
    type Router = LoadBalancerRouter;

    async fn open(&self) -> LoadBalancerRouter {
        self.0.by_servers()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.0.front.request().await
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }

    fn cut_offs(&self) -> Vec<CutOff> {
        in_the_first_look()
    }
}

struct HetznerPorts(OnHetzner);

#[async_trait]
impl RouterFixture for HetznerPorts {
    type Router = LoadBalancerRouter;

    async fn open(&self) -> LoadBalancerRouter {
        self.0.by_ports()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        fixed(slot)
    }

    async fn request(&self) -> Option<Slot> {
        self.0.front.request().await
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }

    fn begins_unrouted(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn droplets_keep_the_contract() {
    let on = OnDigitalOcean::start(&[]).await;
    on.lb.busy_for(Duration::from_millis(10));
    on.lb.traffic(|traffic| traffic.healthy_after(Duration::from_millis(30)));
    conformance::router(&DigitalOceanServers(on)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn target_ports_at_digitalocean_keep_the_contract() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.busy_for(Duration::from_millis(10));
    conformance::router(&DigitalOceanPorts(on)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_at_hetzner_keep_the_contract() {
    let on = OnHetzner::start(&[]).await;
    on.lb.traffic(|traffic| traffic.healthy_after(Duration::from_millis(30)));
    conformance::router(&HetznerServers(on)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_ports_at_hetzner_keep_the_contract() {
    let on = OnHetzner::start(&[11, 12]).await;
    // One service: with several, one that is cut off between them leaves them divided.
    on.lb.change_by_hand(|balancer| {
        balancer["services"].as_array_mut().unwrap().truncate(1);
    });
    conformance::router(&HetznerPorts(on)).await;
}
