//! That moving traffic, and ending what it was moved from, costs no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::*;
use bluegreen_core::{Router, Slot};
use bluegreen_local::{Proxy, ProxyBuilder};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// What a client sends, in turn: most requests are small, some have a body, take a while, or are answered in pieces.
async fn one_request(client: &mut Client, count: u64) -> Result<(), String> {
    let described = |error: hyper::Error| format!("request {count}: {error:?}");
    let (reply, expected) = match count % 8 {
        1 => {
            let body = Bytes::from(vec![b'x'; 10_000]);
            (client.ask(request("POST", "/echo").body(TestBody::text(body.clone())).unwrap()).await, Some(body))
        }
        3 => (client.get("/sleep/3").await, None),
        5 => (client.get("/drip/3/1").await, Some(Bytes::from("0\n1\n2\n"))),
        _ => (client.get("/").await, None),
    };
    let reply = reply.map_err(described)?;
    if reply.status != 200 || expected.is_some_and(|expected| expected != reply.body) {
        return Err(format!("request {count}: {reply:?}"));
    }
    Ok(())
}

struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<tokio::task::JoinHandle<Result<(), String>>>,
}

impl Load {
    /// `kept` clients on one connection each, `fresh` ones that open a connection per request, and four that share one
    /// HTTP/2 connection.
    async fn start(address: std::net::SocketAddr, kept: usize, fresh: usize) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let shared = http2(address).await;
        let sharing = (0..4).map(|_| {
            let (stop, answered, mut sender) = (stop.clone(), answered.clone(), shared.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let request = hyper::Request::post(format!("http://{address}/echo"));
                    let request = request.body(TestBody::text("shared")).unwrap();
                    let response = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
                    let reply = read(response).await.map_err(|error| format!("{error:?}"))?;
                    if reply.text() != "shared" {
                        return Err(format!("{reply:?}"));
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                Ok(())
            })
        });
        let clients = (0..kept + fresh)
            .map(|index| {
                let (stop, answered) = (stop.clone(), answered.clone());
                tokio::spawn(async move {
                    let mut client = Client::connect(address).await;
                    let mut count = index as u64;
                    while !stop.load(Ordering::SeqCst) {
                        if index >= kept {
                            client = Client::connect(address).await;
                        }
                        one_request(&mut client, count).await?;
                        count += 1;
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(())
                })
            })
            .chain(sharing.collect::<Vec<_>>())
            .collect();
        Self { stop, answered, clients }
    }

    /// Ends it. Returns how many requests were answered, if all were.
    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            within(30, client).await.unwrap().unwrap();
        }
        self.answered.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploys_under_load_fail_no_request_though_the_old_slot_is_killed_as_soon_as_it_is_drained() {
    deploys_under_load(Proxy::builder()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploys_under_load_fail_no_request_on_threads_of_the_proxy_either() {
    deploys_under_load(Proxy::builder().threads(2)).await;
}

async fn deploys_under_load(builder: ProxyBuilder) {
    let front = Front::start(builder).await;
    let mut live = Service::start("service").await;
    let mut slot = Slot::Blue;
    front.router.attach(slot, &live.instance()).await.unwrap();
    front.router.shift(None, bluegreen_core::Split::all(slot)).await.unwrap();
    let load = Load::start(front.address, 32, 8).await;
    for _ in 0..50 {
        let (old, old_slot) = (live, slot);
        slot = slot.other();
        live = Service::start("service").await;
        front.router.attach(slot, &live.instance()).await.unwrap();
        for percent in [10, 100] {
            let from = front.router.current().await.unwrap();
            let to = bluegreen_core::Split::toward(slot, percent).unwrap();
            front.router.shift(from, to).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        eventually("the drain", async || front.in_flight(old_slot).await == 0).await;
        old.kill().await;
    }
    let answered = load.end().await;
    assert!(answered > 1_000, "only {answered} requests: this load shows nothing");
    assert_eq!((front.in_flight(Slot::Blue).await, front.in_flight(Slot::Green).await), (0, 0));
    println!("{answered} requests, 0 failed");
}

#[tokio::test]
async fn a_request_in_flight_stays_where_it_is_and_counts_until_its_response_has_ended() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    let (feed, body) = TestBody::fed();
    let mut client = Client::connect(front.address).await;
    let response = client.send(request("POST", "/echo").body(body).unwrap()).await.unwrap();
    front.shift_to(100).await;
    assert_eq!(fetch(front.address, "/").await.text(), "green");
    assert_eq!((front.in_flight(Slot::Blue).await, front.in_flight(Slot::Green).await), (1, 0));
    feed.send(Frame::data(Bytes::from("after the shift"))).unwrap();
    drop(feed);
    assert_eq!(read(response).await.unwrap().text(), "after the shift");
    assert_eq!(front.in_flight(Slot::Blue).await, 0);
    assert_eq!(client.get("/").await.unwrap().text(), "green", "the next request of the same connection");
}

#[tokio::test]
async fn a_websocket_stays_open_across_a_shift_and_counts_as_in_flight() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    let open = async || {
        let stream = TcpStream::connect(front.address).await.unwrap();
        tokio_tungstenite::client_async("ws://shop.example/ws", stream).await.unwrap().0
    };
    let mut old = open().await;
    send_message(&mut old, Message::text("hello")).await.unwrap();
    assert_eq!(next_message(&mut old).await.unwrap().unwrap(), Message::text("blue: hello"));

    front.shift_to(100).await;
    let mut new = open().await;
    for round in 0..100 {
        for (socket, name) in [(&mut old, "blue"), (&mut new, "green")] {
            send_message(socket, Message::text(round.to_string())).await.unwrap();
            let answer = within(10, next_message(socket)).await.unwrap().unwrap();
            assert_eq!(answer, Message::text(format!("{name}: {round}")));
        }
    }
    assert_eq!((front.in_flight(Slot::Blue).await, front.in_flight(Slot::Green).await), (1, 1));
    old.close(None).await.unwrap();
    while next_message(&mut old).await.is_some() {}
    drop(old);
    eventually("the end of the WebSocket", async || front.in_flight(Slot::Blue).await == 0).await;
    assert_eq!(front.in_flight(Slot::Green).await, 1);
}

#[tokio::test]
async fn any_protocol_can_be_switched_to_and_bytes_pass_both_ways() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    // The first bytes of the new protocol come with the request.
    stream
        .write_all(
            b"GET /switch HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo/1\r\n\r\nearly",
        )
        .await
        .unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"early") {
        let mut chunk = [0; 1024];
        let count = within(10, stream.read(&mut chunk)).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&chunk[..count]);
    }
    let head = String::from_utf8_lossy(&seen).to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: echo/1"), "{head}");
    stream.write_all(b"more").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    within(10, stream.read_to_string(&mut rest)).await.unwrap();
    assert_eq!(rest, "more", "the other direction stays open until it is done too");
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_502() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    let reply = fetch(front.address, "/switch").await;
    assert_eq!(reply.header("proxy-status"), Some("bluegreen-proxy; error=http_upgrade_failed"));
    assert_eq!(front.in_flight(Slot::Blue).await, 0);
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    let mut client = Client::connect(front.address).await;
    for count in 0..200 {
        one_request(&mut client, count).await.unwrap();
    }
    let connections = blue.connections.load(Ordering::SeqCst);
    assert!(connections <= 10, "{connections} connections for 200 requests in a row");
}

#[tokio::test]
async fn a_drained_slot_keeps_no_connection_of_ours() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let counted = Arc::new(AtomicU64::new(0));
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let relay = listener.local_addr().unwrap();
    let (open, target) = (counted.clone(), blue.address);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let open = open.clone();
            tokio::spawn(async move {
                open.fetch_add(1, Ordering::SeqCst);
                let mut service = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let front = Front::before(&blue, &green, 0).await;
    front.router.attach(Slot::Blue, &instance_at(relay)).await.unwrap();
    let slow = tokio::spawn({
        let address = front.address;
        async move { fetch(address, "/sleep/300").await }
    });
    fetch(front.address, "/").await;
    assert!(counted.load(Ordering::SeqCst) >= 1);
    front.shift_to(100).await;
    assert_eq!(slow.await.unwrap().text(), "blue");
    eventually("the end of all connections", async || counted.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_closes_idle_connections_fails_no_request() {
    // Clients that pause for about as long as the service waits, so that closing and sending meet.
    let keep_alive = Duration::from_millis(40);
    let blue = Service::start_with("blue", keep_alive).await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    let clients = (0..16_u64).map(|index| {
        let address = front.address;
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            for count in 0..60 {
                let reply = client.get("/").await.unwrap();
                assert_eq!(reply.status, 200, "{reply:?}");
                tokio::time::sleep(Duration::from_micros(39_000 + (index * 61 + count * 17) % 2_000)).await;
            }
        })
    });
    for client in futures::future::join_all(clients).await {
        client.unwrap();
    }
    assert!(blue.connections.load(Ordering::SeqCst) > 16, "the service closed connections");
}

/// A service that answers the first request of each connection, and at the second one closes it without an answer:
/// what a proxy sees when closing and sending meet. Returns its address and the requests it has seen.
async fn closes_at_the_second_request() -> (std::net::SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let requests = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let requests = requests.clone();
            tokio::spawn(async move {
                for answers in [true, false] {
                    let mut head = [0; 4096];
                    let count = stream.read(&mut head).await.unwrap_or(0);
                    if count == 0 {
                        return;
                    }
                    let line = String::from_utf8_lossy(&head[..count]).lines().next().unwrap().to_owned();
                    requests.lock().unwrap().push(line);
                    if answers {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    }
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_request_that_may_be_repeated_is_sent_again_when_a_kept_connection_breaks() {
    let (address, seen) = closes_at_the_second_request().await;
    let front = Front::start(Proxy::builder()).await;
    front.router.attach(Slot::Blue, &instance_at(address)).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    let mut client = Client::connect(front.address).await;
    for (index, method) in ["GET", "GET", "DELETE", "PUT", "OPTIONS", "GET"].into_iter().enumerate() {
        let reply = client.ask(request(method, &format!("/{index}")).body(TestBody::text("")).unwrap()).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.text()), (200, "ok"), "request {index}");
    }
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 6, "some had to be sent again: {seen:?}");
    assert!((0..6).all(|index| seen.iter().filter(|line| line.contains(&format!("/{index} "))).count() <= 2));
}

#[tokio::test]
async fn a_request_that_may_not_be_repeated_is_never_sent_twice() {
    let (address, seen) = closes_at_the_second_request().await;
    let front = Front::start(Proxy::builder()).await;
    front.router.attach(Slot::Blue, &instance_at(address)).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    let mut client = Client::connect(front.address).await;
    for index in 0..20 {
        let body = if index % 2 == 0 { TestBody::text("order") } else { TestBody::text("") };
        let method = if index % 4 < 3 { "POST" } else { "PATCH" };
        let reply = client.ask(request(method, &format!("/{index}")).body(body).unwrap()).await.unwrap();
        assert!(matches!(reply.status.as_u16(), 200 | 502), "{reply:?}");
    }
    let seen = seen.lock().unwrap();
    for index in 0..20 {
        let times = seen.iter().filter(|line| line.contains(&format!("/{index} "))).count();
        assert!(times <= 1, "request {index} was sent {times} times");
    }
}

#[tokio::test]
async fn a_request_that_may_not_be_repeated_takes_no_connection_that_was_idle_for_long() {
    let (address, seen) = closes_at_the_second_request().await;
    let front = Front::start(Proxy::builder()).await;
    front.router.attach(Slot::Blue, &instance_at(address)).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    let mut client = Client::connect(front.address).await;
    for index in 0..3 {
        let reply = client.ask(request("POST", "/").body(TestBody::text("order")).unwrap()).await.unwrap();
        assert_eq!(reply.status, 200, "request {index} got a connection of its own");
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    assert_eq!(seen.lock().unwrap().len(), 3);
}
