//! The suite of the trait, on servers in namespaces.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, RouterFixture};
use bluegreen_core::{Endpoint, Instance, ServiceName, Slot, Split};
use bluegreen_floatingip::{FloatingIpRouter, Lingering};
use bluegreen_testkit::lab::{NamespaceHost, Network, Outcome, ask, serve};
use tempfile::TempDir;

use super::moves::{quick, vip_marked_in};

struct Namespaces {
    network: Network,
    address: IpAddr,
    marks: TempDir,
}

#[async_trait]
impl RouterFixture for Namespaces {
    type Router = FloatingIpRouter;

    async fn open(&self) -> FloatingIpRouter {
        let host = |slot| NamespaceHost::of(self.network.server(slot));
        quick(vip_marked_in(Some(self.marks.path()), self.address, Lingering::Reset, host))
    }

    async fn instance(&self, slot: Slot) -> Instance {
        let address = match slot {
            Slot::Blue => "10.77.0.11:80",
            Slot::Green => "10.77.0.22:80",
        };
        Instance::Running { version: None, endpoints: vec![Endpoint::http(address)] }
    }

    /// A connection that is open in the very moment of the move breaks, which no floating IP can help: a client asks
    /// again then. One that cannot connect at all is a failure.
    async fn request(&self) -> Option<Slot> {
        for _ in 0..3 {
            match self.network.client.run(ask(self.address)).await {
                Outcome::Answered(page) => return Some(page.parse().unwrap()),
                Outcome::Broken(_) => {}
                Outcome::Unconnected(why) => {
                    eprintln!("no connection: {why}");
                    return None;
                }
            }
        }
        None
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        let slot = split.sole().unwrap();
        let whole = if self.address.is_ipv6() { 128 } else { 32 };
        let address = format!("{}/{whole}", self.address);
        self.network.server(slot.other()).exec(&["ip", "address", "del", &address, "dev", "eth0"]);
        self.network.server(slot).exec(&["ip", "address", "add", &address, "dev", "eth0", "nodad"]);
        // A person who forgets to announce it: the client's kernel is told here, instead of after half a minute.
        self.network.client.exec(&["ip", "neighbour", "flush", "all"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
        true
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }
}

async fn keeps_the_contract(address: &str) {
    let Some(network) = Network::create() else { return };
    serve(&network).await;
    let fixture = Namespaces { address: Network::address(address), network, marks: TempDir::new().unwrap() };
    conformance::router(&fixture).await;
    fixture.network.sole_holder(address);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv4_address_between_two_servers_keeps_the_contract() {
    keeps_the_contract(Network::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_between_two_servers_keeps_the_contract() {
    keeps_the_contract(Network::V6).await;
}
