//! Servers that were touched by others, or are not what they should be.

use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router, Slot, Split};
use bluegreen_floatingip::Lingering;

use crate::lab::{Network, serve};
use crate::moves::router;

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

fn add(network: &Network, slot: Slot) {
    network.server(slot).exec(&["ip", "address", "add", "10.77.0.100/32", "dev", "eth0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_both_servers_were_given_by_hand_is_refused_and_named() {
    let Some(network) = Network::create() else { return };
    let router = router(&network, Network::address(Network::V4), Lingering::Leave);
    for slot in Slot::BOTH {
        add(&network, slot);
    }
    let error = router.current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("blue and green at once"), "{error}");
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_died_half_way_is_seen_at_the_new_server_and_completed_in_either_direction() {
    let Some(network) = Network::create() else { return };
    serve(&network).await;
    let router = router(&network, Network::address(Network::V4), Lingering::Leave);
    for to in [GREEN, BLUE] {
        let current = router.current().await.unwrap();
        router.shift(current, BLUE).await.unwrap();
        // What a deployer leaves that dies after it has given the address to the new server.
        network.green.exec(&[
            "ip",
            "address",
            "add",
            "10.77.0.100/32",
            "dev",
            "eth0",
            "valid_lft",
            "forever",
            "preferred_lft",
            "0",
        ]);
        assert_eq!(router.current().await.unwrap(), Some(GREEN), "the candidate is where the traffic may be");
        router.shift(Some(GREEN), to).await.unwrap();
        assert_eq!(network.sole_holder(Network::V4), to.sole().unwrap());
        let shown = network.server(to.sole().unwrap()).exec(&["ip", "-o", "address", "show", "to", "10.77.0.100"]);
        assert!(!shown.contains("deprecated"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_take_the_address_is_found_before_anything_moves() {
    let Some(network) = Network::create() else { return };
    let router = router(&network, Network::address(Network::V4), Lingering::Leave);
    router.shift(None, BLUE).await.unwrap();
    network.green.exec(&["ip", "link", "set", "eth0", "down"]);
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("eth0 is not there, or not up"), "{error}");
    assert_eq!(network.sole_holder(Network::V4), Slot::Blue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_keeps_the_address_from_moving() {
    let Some(network) = Network::create() else { return };
    let address = Network::address(Network::V4);
    router(&network, address, Lingering::Leave).shift(None, BLUE).await.unwrap();
    let Network { client, blue, green, third, .. } = &network;
    assert!([client, green, third].iter().all(|other| other.name() != blue.name()));
    let gone = bluegreen_floatingip::VipServer::new(Unreachable, "eth0").unwrap();
    let there = bluegreen_floatingip::VipServer::new(crate::lab::NamespaceHost::of(green), "eth0").unwrap();
    let vip = bluegreen_floatingip::HostVip::new(address, gone, there, Lingering::Leave).unwrap();
    let router = bluegreen_floatingip::FloatingIpRouter::new(vip).deadline(Duration::from_secs(1));
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied));
    assert!(!network.has(Slot::Green, Network::V4), "it would be on both");
}

/// A server that does not answer.
#[derive(Debug)]
struct Unreachable;

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a server that is gone")
    }
}

#[async_trait::async_trait]
impl bluegreen_core::Host for Unreachable {
    async fn run(&self, _command: &bluegreen_core::Command) -> bluegreen_core::Result<bluegreen_core::Output> {
        Err(bluegreen_core::Error::new(ErrorKind::Unreachable, "no route to host").retryable(false))
    }
    async fn read(&self, _path: &str) -> bluegreen_core::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    async fn write(&self, _path: &str, _contents: &[u8], _mode: u32) -> bluegreen_core::Result<()> {
        Ok(())
    }
    async fn upload(
        &self,
        _local: &std::path::Path,
        _remote: &str,
        _progress: &bluegreen_core::Progress,
    ) -> bluegreen_core::Result<()> {
        Ok(())
    }
    async fn download(
        &self,
        _remote: &str,
        _local: &std::path::Path,
        _progress: &bluegreen_core::Progress,
    ) -> bluegreen_core::Result<()> {
        Ok(())
    }
    async fn symlink(&self, _target: &str, _link: &str) -> bluegreen_core::Result<()> {
        Ok(())
    }
    async fn tunnel(&self, address: &str) -> bluegreen_core::Result<bluegreen_core::Tunnel> {
        Ok(bluegreen_core::Tunnel::direct(address))
    }
}
