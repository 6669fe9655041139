//! The connections of the proxy: that the system watches them, and for how long they are kept.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bluegreen_core::{Router, Slot};
use bluegreen_local::{Proxy, TCP_KEEPALIVE};
use tokio::net::TcpListener;

use crate::support::*;

/// How long the system waits until it asks the peer of this connection whether it is still there: proc(5), tcp.
fn keepalive_timer(local: SocketAddr, remote: SocketAddr) -> Option<Duration> {
    let written = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&format!("{} {} ", written(local), written(remote))))?;
    let (kind, ticks) = line.split_whitespace().nth(5)?.split_once(':')?;
    let ticks = u64::from_str_radix(ticks, 16).unwrap();
    // 2 is the timer that waits for silence. It is told in hundredths of a second.
    (kind == "02").then(|| Duration::from_millis(ticks * 10))
}

#[tokio::test]
async fn the_system_asks_silent_clients_and_slots_whether_they_are_still_there() {
    let slot = TcpListener::bind(LOOPBACK).await.unwrap();
    let front = before(Proxy::builder(), slot.local_addr().unwrap()).await;
    let mut client = tokio::net::TcpStream::connect(front.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (_at_slot, from) = slot.accept().await.unwrap();
    for (local, remote) in [(front.address, client.local_addr().unwrap()), (from, slot.local_addr().unwrap())] {
        eventually("a keepalive timer", async || {
            keepalive_timer(local, remote).is_some_and(|timer| timer <= TCP_KEEPALIVE)
        })
        .await;
    }
}

#[tokio::test]
async fn a_slot_that_is_attached_again_at_its_address_gets_connections_of_its_own() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    for opened in 1..=3 {
        for _ in 0..2 {
            assert_eq!(fetch(front.address, "/").await.text(), "blue");
        }
        assert_eq!(blue.connections.load(Ordering::SeqCst), opened);
        front.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    }
}

#[tokio::test]
async fn a_proxy_that_was_cut_off_keeps_no_connections_and_serves_again_in_another_runtime() {
    let blue = Service::start("blue").await;
    let proxy = Proxy::builder().build().unwrap();
    proxy.router().attach(Slot::Blue, &blue.instance()).await.unwrap();
    proxy.router().shift(None, toward_green(0)).await.unwrap();
    for _ in 0..2 {
        let before = blue.connections.load(Ordering::SeqCst);
        let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, when_cut) = tokio::sync::oneshot::channel::<()>();
        let proxy = proxy.clone();
        let serving = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = proxy.serve(listener, std::future::pending()) => served.unwrap(),
                    _ = when_cut => {}
                }
            });
        });
        // Such a request is not sent again when its connection turns out to be dead.
        let request = || request("POST", "/").body(TestBody::text("body")).unwrap();
        for _ in 0..2 {
            assert_eq!(Client::connect(address).await.ask(request()).await.unwrap().text(), "blue");
        }
        assert!(blue.connections.load(Ordering::SeqCst) > before);
        cut.send(()).unwrap();
        serving.await.unwrap();
    }
}
