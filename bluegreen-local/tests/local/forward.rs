//! What passes through the proxy, and what it answers itself.

use std::time::{Duration, Instant};

use crate::support::*;
use bluegreen_core::{Router, Slot};
use bluegreen_local::Proxy;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn front() -> (Service, Service, Front) {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    (blue, green, front)
}

/// Sends bytes as they are, and reads until the connection is closed.
async fn raw(front: &Front, bytes: &str) -> String {
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(20, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_service_sees_the_request_the_host_and_who_asked() {
    let (_blue, _green, front) = front().await;
    let mut client = Client::connect(front.address).await;
    let request = request("PUT", "/head?a=b%20c&d")
        .header("x-forwarded-for", "6.6.6.6")
        .header("connection", "x-once")
        .header("x-once", "1")
        .header("cookie", "a=b")
        .body(TestBody::text("12345"))
        .unwrap();
    let reply = client.ask(request).await.unwrap();
    let lines: Vec<_> = reply.text().lines().collect();
    let expected = [
        "PUT /head?a=b%20c&d HTTP/1.1",
        "content-length: 5",
        "cookie: a=b",
        "host: shop.example",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: http",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn the_client_sees_status_headers_and_body_without_those_of_one_connection() {
    let (_blue, _green, front) = front().await;
    let reply = fetch(front.address, "/hop").await;
    assert_eq!((reply.header("set-cookie"), reply.header("x-service")), (Some("kept=1"), Some("blue")));
    for name in ["x-secret", "keep-alive", "connection"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("content-length"), Some("4"));
    for status in [204, 304, 404, 500] {
        assert_eq!(fetch(front.address, &format!("/status/{status}")).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn a_head_request_keeps_the_length_and_the_connection() {
    let (_blue, _green, front) = front().await;
    let mut client = Client::connect(front.address).await;
    for _ in 0..3 {
        let reply = client.ask(request("HEAD", "/").body(TestBody::text("")).unwrap()).await.unwrap();
        assert_eq!((reply.header("content-length"), reply.text()), (Some("4"), ""));
        assert_eq!(client.get("/").await.unwrap().text(), "blue");
    }
}

#[tokio::test]
async fn http_2_without_being_asked_works_with_many_requests_on_one_connection() {
    let (_blue, _green, front) = front().await;
    let sender = http2(front.address).await;
    let all = (0..50).map(|index| {
        let mut sender = sender.clone();
        let address = front.address;
        async move {
            let request = hyper::Request::builder()
                .uri(format!("http://{address}/head?{index}"))
                .header("cookie", "a=1")
                .header("cookie", "b=2")
                .body(TestBody::text(""))
                .unwrap();
            let reply = read(sender.send_request(request).await.unwrap()).await.unwrap();
            let text = reply.text().to_owned();
            assert!(text.contains(&format!("GET /head?{index} HTTP/1.1")), "{text}");
            assert!(text.contains(&format!("\nhost: {address}\n")), "{text}");
            assert!(text.contains("cookie: a=1; b=2"), "{text}");
        }
    });
    within(20, futures::future::join_all(all)).await;
    assert_eq!(front.in_flight(Slot::Blue).await, 0);
}

#[tokio::test]
async fn a_body_of_unknown_length_and_its_trailers_pass_from_http_2_and_http_1() {
    let (_blue, _green, front) = front().await;
    let frames = || {
        let (feed, body) = TestBody::fed();
        feed.send(Frame::data(Bytes::from("one "))).unwrap();
        feed.send(Frame::data(Bytes::from("two"))).unwrap();
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        feed.send(Frame::trailers(trailers)).unwrap();
        body
    };
    let first = hyper::Request::post(format!("http://{}/echo", front.address))
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(frames())
        .unwrap();
    let second = request("GET", "/echo")
        .header("te", "trailers")
        .header("transfer-encoding", "chunked")
        .header("trailer", "x-sum")
        .body(frames())
        .unwrap();
    let replies = [
        read(http2(front.address).await.send_request(first).await.unwrap()).await.unwrap(),
        Client::connect(front.address).await.ask(second).await.unwrap(),
    ];
    for reply in replies {
        assert_eq!(reply.text(), "one two");
        assert_eq!(reply.trailers.unwrap().get("x-sum").unwrap(), "7");
    }
}

#[tokio::test]
async fn bodies_stream_in_both_directions_before_they_are_complete() {
    let (_blue, _green, front) = front().await;
    let mut client = Client::connect(front.address).await;
    let (feed, body) = TestBody::fed();
    let response = within(10, client.send(request("POST", "/echo").body(body).unwrap())).await.unwrap();
    let mut incoming = response.into_body();
    for piece in ["first", "second", "third"] {
        feed.send(Frame::data(Bytes::from(piece))).unwrap();
        let frame = within(10, next_frame(&mut incoming)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
        assert_eq!(front.in_flight(Slot::Blue).await, 1, "in flight until the response has ended");
    }
    drop(feed);
    assert!(within(10, next_frame(&mut incoming)).await.is_none());
    assert_eq!(front.in_flight(Slot::Blue).await, 0);
}

#[tokio::test]
async fn a_large_body_passes_in_both_directions() {
    let (_blue, _green, front) = front().await;
    let mut client = Client::connect(front.address).await;
    let sent: Vec<u8> = (0..20_000_000_u32).map(|index| (index % 251) as u8).collect();
    let request = request("POST", "/echo").body(TestBody::text(sent.clone())).unwrap();
    let reply = within(60, client.ask(request)).await.unwrap();
    assert!(reply.body == sent);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_else_and_is_not_buffered_for() {
    let (_blue, _green, front) = front().await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(b"GET /zeros/50000000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stuck.push(stream);
    }
    // And some that never finish their request.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        stuck.push(stream);
    }
    eventually("the stuck requests", async || front.in_flight(Slot::Blue).await == 20).await;
    let mut client = Client::connect(front.address).await;
    for _ in 0..50 {
        assert_eq!(within(10, client.get("/")).await.unwrap().text(), "blue");
    }
    assert_eq!(front.in_flight(Slot::Blue).await, 20);
    drop(stuck);
    eventually("the end of those that left", async || front.in_flight(Slot::Blue).await == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request() {
    let blue = Service::start("blue").await;
    let builder = Proxy::builder().half_close_timeout(Duration::from_millis(300));
    let front = Front::with(builder, &blue, &blue, 0).await;
    let client = async {
        let mut client = Client::connect(front.address).await;
        client.get("/sleep/60000").await
    };
    let _ = tokio::time::timeout(Duration::from_millis(200), client).await;
    eventually("the end of the request", async || front.in_flight(Slot::Blue).await == 0).await;
}

#[tokio::test]
async fn a_slot_that_refuses_is_502_and_its_address_stays_private() {
    let (blue, _green, front) = front().await;
    let port = blue.address.port().to_string();
    blue.kill().await;
    let reply = fetch(front.address, "/").await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.header("proxy-status"), Some("bluegreen-proxy; error=connection_refused"));
    assert!(reply.text().contains("bluegreen-proxy") && reply.text().contains("blue"), "{}", reply.text());
    assert!(!reply.text().contains(&port), "{}", reply.text());
    assert_eq!(front.in_flight(Slot::Blue).await, 0);
}

#[tokio::test]
async fn a_slot_that_breaks_off_or_does_not_speak_http_is_502() {
    for (answer, error) in [
        ("", "connection_terminated"),
        ("what?\r\n\r\n", "http_protocol_error"),
        ("HTTP/1.1 200", "connection_terminated"),
    ] {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let front = Front::start(Proxy::builder()).await;
        front.router.attach(Slot::Blue, &instance_at(address)).await.unwrap();
        front.router.shift(None, toward_green(0)).await.unwrap();
        let reply = fetch(front.address, "/").await;
        assert_eq!(reply.status, 502, "{answer:?}");
        assert_eq!(
            reply.header("proxy-status"),
            Some(format!("bluegreen-proxy; error={error}").as_str()),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_in_the_middle_is_seen_as_broken_by_the_client() {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        }
    });
    let front = Front::start(Proxy::builder()).await;
    front.router.attach(Slot::Blue, &instance_at(address)).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    Client::connect(front.address).await.get("/").await.unwrap_err();
    eventually("the end of the request", async || front.in_flight(Slot::Blue).await == 0).await;
}

#[tokio::test]
async fn a_slot_that_does_not_answer_in_time_is_504_but_a_long_upload_and_a_long_answer_are_not() {
    let blue = Service::start("blue").await;
    let builder = Proxy::builder().response_timeout(Duration::from_millis(400));
    let front = Front::with(builder, &blue, &blue, 0).await;
    let mut client = Client::connect(front.address).await;
    let reply = client.get("/sleep/60000").await.unwrap();
    assert_eq!(reply.status, 504);
    assert_eq!(reply.header("proxy-status"), Some("bluegreen-proxy; error=http_response_timeout"));
    assert_eq!(front.in_flight(Slot::Blue).await, 0);

    let (feed, body) = TestBody::fed();
    let feeding = tokio::spawn(async move {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            feed.send(Frame::data(Bytes::from("x"))).unwrap();
        }
    });
    // The service answers only when it has all of it.
    let reply = client.ask(request("POST", "/sleep/0").body(body).unwrap()).await.unwrap();
    assert_eq!(reply.status, 200);
    feeding.abort();

    let reply = fetch(front.address, "/drip/20/50").await;
    assert_eq!(reply.text().lines().count(), 20);
}

#[tokio::test]
async fn a_slot_that_cannot_be_reached_in_time_is_504() {
    // A full accept queue: the system completes no further handshakes.
    let listener = std::net::TcpListener::bind(LOOPBACK).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
    }
    let front = Front::start(Proxy::builder().connect_timeout(Duration::from_millis(300))).await;
    front.router.attach(Slot::Blue, &instance_at(address)).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    let reply = within(10, fetch(front.address, "/")).await;
    assert_eq!(reply.status, 504);
    assert_eq!(reply.header("proxy-status"), Some("bluegreen-proxy; error=connection_timeout"));
}

#[tokio::test]
async fn hostile_requests_are_refused_and_the_proxy_goes_on() {
    let (blue, _green, front) = front().await;
    let long = "x".repeat(1 << 20);
    let refused = [
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n".to_owned(),
        "CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\nConnection: close\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        "\u{0}\u{1}\u{2}\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(),
    ];
    for bytes in refused {
        let head = bytes.chars().take(60).collect::<String>();
        let answer = raw(&front, &bytes.replace("\r\nHost: a", "\r\nHost: a\r\nConnection: close")).await;
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        assert!(answer.is_empty() || (400..600).contains(&status), "{head:?} got {answer:.200}");
    }
    assert_eq!(blue.requests(), 0, "none of them reached the service");
    assert_eq!(fetch(front.address, "/").await.text(), "blue");
    assert_eq!(front.in_flight(Slot::Blue).await, 0);
}

#[tokio::test]
async fn a_length_that_contradicts_the_chunks_smuggles_no_second_request() {
    let (blue, _green, front) = front().await;
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let bytes = format!(
        "POST /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let answer = raw(&front, &bytes).await;
    // Either it is refused, or what reaches the service has one way to tell its length: the chunks.
    assert!(blue.requests() <= 1, "{answer}");
    if answer.starts_with("HTTP/1.1 200") {
        let said_to_the_service = answer.split_once("\r\n\r\n").unwrap().1;
        assert!(!said_to_the_service.contains("content-length"), "{answer}");
    } else {
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[tokio::test]
async fn old_clients_are_served() {
    let (_blue, _green, front) = front().await;
    let answer = raw(&front, "GET /head HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.contains("GET /head HTTP/1.1"), "{answer}");
    let answer = raw(&front, "GET /drip/3/1 HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n0\n1\n2\n"), "{answer}");
}

#[tokio::test]
async fn first_bytes_that_come_one_by_one_are_understood() {
    let (_blue, _green, front) = front().await;
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"PRIVATE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut answer = String::new();
    within(10, stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn silent_clients_are_let_go() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder().client_timeout(Duration::from_millis(200)), &blue, &blue, 0).await;
    for bytes in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PR"] {
        let began = Instant::now();
        raw(&front, bytes).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{bytes:?}");
    }
}

#[tokio::test]
async fn clients_over_the_limit_wait_and_are_served_when_others_leave() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder().max_connections(2), &blue, &blue, 0).await;
    let mut first = Client::connect(front.address).await;
    let mut second = Client::connect(front.address).await;
    first.get("/").await.unwrap();
    second.get("/").await.unwrap();
    let mut third = Client::connect(front.address).await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), third.get("/")).await;
    assert!(waiting.is_err(), "the third is served only when another has left");
    drop(third);
    drop(first);
    assert_eq!(within(10, fetch(front.address, "/")).await.text(), "blue");
}

#[tokio::test]
async fn a_shutdown_lets_requests_end_and_accepts_no_new_ones() {
    for threads in [0, 2] {
        let blue = Service::start("blue").await;
        a_shutdown(Front::with(Proxy::builder().threads(threads), &blue, &blue, 0).await).await;
    }
}

async fn a_shutdown(mut front: Front) {
    let address = front.address;
    let slow = tokio::spawn(async move { fetch(address, "/sleep/500").await });
    let mut idle = Client::connect(address).await;
    idle.get("/").await.unwrap();
    eventually("the slow request", async || front.in_flight(Slot::Blue).await == 1).await;
    front.shut_down();
    eventually("the end of listening", async || TcpStream::connect(address).await.is_err()).await;
    assert_eq!(slow.await.unwrap().text(), "blue");
    within(10, &mut front.task).await.unwrap().unwrap();
    idle.get("/").await.unwrap_err();
}

#[tokio::test]
async fn a_proxy_that_is_dropped_ends_at_once_with_its_connections() {
    for threads in [0, 2] {
        let blue = Service::start("blue").await;
        let mut front = Front::with(Proxy::builder().threads(threads), &blue, &blue, 0).await;
        let mut client = Client::connect(front.address).await;
        client.get("/").await.unwrap();
        let mut waiting = Client::connect(front.address).await;
        let waiting = tokio::spawn(async move { waiting.get("/sleep/60000").await });
        eventually("a request in flight", async || front.in_flight(Slot::Blue).await == 1).await;
        front.task.abort();
        assert!((&mut front.task).await.unwrap_err().is_cancelled());
        within(10, waiting).await.unwrap().unwrap_err();
        within(10, client.get("/")).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_send_its_body_is_told() {
    let (_blue, _green, front) = front().await;
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
    let mut first = [0; 25];
    within(10, stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut answer = String::new();
    within(10, stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("body"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_cuts_what_does_not_end_within_the_grace() {
    for threads in [0, 2] {
        let blue = Service::start("blue").await;
        let builder = Proxy::builder().shutdown_grace(Duration::from_millis(200)).threads(threads);
        a_shutdown_that_cuts(Front::with(builder, &blue, &blue, 0).await).await;
    }
}

async fn a_shutdown_that_cuts(mut front: Front) {
    let address = front.address;
    let endless = tokio::spawn(async move { Client::connect(address).await.get("/sleep/60000").await });
    eventually("the endless request", async || front.in_flight(Slot::Blue).await == 1).await;
    front.shut_down();
    within(10, &mut front.task).await.unwrap().unwrap();
    endless.await.unwrap().unwrap_err();
    assert_eq!(front.in_flight(Slot::Blue).await, 0);
}
