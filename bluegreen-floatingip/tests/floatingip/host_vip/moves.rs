//! What a client sees of a move.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bluegreen_core::{PerSlot, Router, Slot, Split};
use bluegreen_floatingip::{FloatingIpRouter, FloatingIpRouterBuilder, HostVip, Lingering, VipServer};
use bluegreen_testkit::lab::{NamespaceHost, Network, Outage, serve, watch};

pub(crate) fn router(network: &Network, address: IpAddr, lingering: Lingering) -> FloatingIpRouter {
    builder_with(network, address, lingering, &Outage::of(0..0, false)).build()
}

/// Over hosts that cannot be reached at times.
pub(crate) fn builder_with(
    network: &Network,
    address: IpAddr,
    lingering: Lingering,
    outage: &Outage,
) -> FloatingIpRouterBuilder {
    let host = |slot| NamespaceHost::of(network.server(slot)).with(outage);
    quick_builder(vip(address, lingering, host))
}

/// Between the hosts of the slots.
pub(crate) fn vip(address: IpAddr, lingering: Lingering, host: impl Fn(Slot) -> NamespaceHost) -> HostVip {
    vip_marked_in(None, address, lingering, host)
}

/// The same, with the marks of each server in a directory of its own below this one.
pub(crate) fn vip_marked_in(
    marks: Option<&Path>,
    address: IpAddr,
    lingering: Lingering,
    host: impl Fn(Slot) -> NamespaceHost,
) -> HostVip {
    let server = |slot: Slot| {
        let server = VipServer::new(host(slot), "eth0").unwrap();
        match marks {
            Some(directory) => server.marks_in(directory.join(slot.to_string()).to_str().unwrap()).unwrap(),
            None => server,
        }
    };
    HostVip::new(address, PerSlot::from_fn(server), lingering).unwrap()
}

pub(crate) fn quick(vip: HostVip) -> FloatingIpRouter {
    quick_builder(vip).build()
}

fn quick_builder(vip: HostVip) -> FloatingIpRouterBuilder {
    let builder = FloatingIpRouter::builder(vip).lost_reply(Duration::from_millis(50));
    builder.poll_every(Duration::from_millis(5), Duration::from_millis(20))
}

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

/// Moves under a client that opens a new connection every 5 ms.
async fn new_connections_see_one_change(text: &str) {
    let Some(network) = Network::create() else { return };
    serve(&network).await;
    let address = Network::address(text);
    let router = router(&network, address, Lingering::Reset);
    router.shift(None, BLUE).await.unwrap();
    let mut from = Slot::Blue;
    for _ in 0..4 {
        let to = from.other();
        let watch = watch(&network.client, address);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = std::time::Instant::now();
        router.shift(Some(Split::all(from)), Split::all(to)).await.unwrap();
        let took = began.elapsed();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let seen = watch.stop().await;
        println!("{text}: shift {took:?}; {seen}");
        seen.is_one_move(from.as_str(), to.as_str());
        assert_eq!(network.sole_holder(text), to);
        from = to;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_to_an_ipv4_address_see_the_old_server_then_the_new_one() {
    new_connections_see_one_change(Network::V4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_to_an_ipv6_address_see_the_old_server_then_the_new_one() {
    new_connections_see_one_change(Network::V6).await;
}

/// Where a connection comes from that a slot's server opens to a neighbour.
async fn source(network: &Network, slot: Slot, neighbour: IpAddr) -> IpAddr {
    let listener = network.third.run(async move { tokio::net::TcpListener::bind((neighbour, 0)).await.unwrap() }).await;
    let to = listener.local_addr().unwrap();
    let opened = network.server(slot).run(async move { tokio::net::TcpStream::connect(to).await.unwrap() }).await;
    opened.local_addr().unwrap().ip()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_live_server_opens_itself_do_not_come_from_the_address_that_moves() {
    let Some(network) = Network::create() else { return };
    for (text, neighbour) in [(Network::V4, "10.77.0.33"), (Network::V6, "fd77::33")] {
        let (address, neighbour) = (Network::address(text), Network::address(neighbour));
        // By hand, or by a version that kept every address as a preferred one.
        let whole = if address.is_ipv6() { 128 } else { 32 };
        network.blue.exec(&["ip", "address", "add", &format!("{text}/{whole}"), "dev", "eth0", "nodad"]);
        let router = router(&network, address, Lingering::Leave);
        assert_eq!(router.current().await.unwrap(), Some(BLUE));
        for (from, to) in [(BLUE, GREEN), (GREEN, BLUE)] {
            router.shift(Some(from), to).await.unwrap();
            let slot = to.sole().unwrap();
            assert_eq!(network.sole_holder(text), slot);
            assert_ne!(source(&network, slot, neighbour).await, address, "{slot}");
        }
    }
}

/// What a download sees after the address has moved away.
async fn download(lingering: Lingering) -> Option<&'static str> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let network = Network::create()?;
    serve(&network).await;
    let address = Network::address(Network::V4);
    let router = router(&network, address, lingering);
    router.shift(None, BLUE).await.unwrap();
    let begun = network.client.run(async move {
        let mut server = tokio::net::TcpStream::connect((address, 80)).await.unwrap();
        server.write_all(b"GET /drip HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        let mut part = [0; 64];
        assert!(server.read(&mut part).await.unwrap() > 0);
        server
    });
    let mut server = begun.await;
    router.shift(Some(BLUE), GREEN).await.unwrap();
    let rest = network.client.run(async move {
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(4), server.read_to_end(&mut rest)).await
    });
    Some(match rest.await {
        Err(_) => "hangs",
        Ok(Err(_)) => "reset",
        Ok(Ok(_)) => "ended",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_reset_where_lingering_connections_are_reset() {
    let Some(seen) = download(Lingering::Reset).await else { return };
    assert_eq!(seen, "reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_hangs_where_lingering_connections_are_left() {
    let Some(seen) = download(Lingering::Leave).await else { return };
    assert_eq!(seen, "hangs");
}
