//! What counts as a failure of the slot, and what its clients cause.

use std::time::Duration;

use bluegreen_local::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn a_5xx_that_any_client_can_have_at_will_is_no_failure_of_the_slot() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    let mut client = Client::connect(front.address).await;
    let (mut answered, mut failed) = (0, 0);
    for (method, status, fails) in [
        ("BREW", 501, false),
        ("POST", 501, false),
        ("HEAD", 501, false),
        ("GET", 501, true),
        ("GET", 510, false),
        ("BREW", 505, true),
        ("GET", 505, true),
        ("BREW", 500, true),
        ("POST", 503, true),
    ] {
        let reply = client.ask(request(method, &format!("/status/{status}")).body(TestBody::text("")).unwrap()).await;
        assert_eq!(reply.unwrap().status.as_u16(), status);
        (answered, failed) = (answered + 1, failed + u64::from(fails));
        assert_eq!(counted(&front.router).await, (answered, failed), "{method} {status}");
    }
    // Why 505 is the slot's: whatever the client speaks, the slot sees this.
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let request = format!("GET /head {version}\r\nHost: a\r\nConnection: close\r\n\r\n");
        let seen = raw(front.address, request.as_bytes()).await;
        assert!(seen.contains("GET /head HTTP/1.1"), "{seen}");
    }
}

#[tokio::test]
async fn a_slot_that_stops_in_the_middle_of_its_answer_is_to_blame_and_the_client_sees_that_it_is_not_complete() {
    const STOPS: [&str; 5] = [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nsome",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
        "HTTP/1.1 200 OK\r\n\r\nsome",
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 10\r\n\r\nsome",
    ];
    let limit = Duration::from_millis(200);
    for stops in STOPS {
        let address = raw_service(move |mut stream: TcpStream| async move {
            read_head(&mut stream).await;
            stream.write_all(stops.as_bytes()).await.unwrap();
            std::future::pending().await
        })
        .await;
        let front = before(Proxy::builder().answer_timeout(limit), address).await;
        for (index, request) in
            ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"]
                .into_iter()
                .enumerate()
        {
            let answer = raw(front.address, request.as_bytes()).await;
            assert!(!is_complete(&answer), "{answer}");
            nothing_is_in_flight(&front).await;
            let count = index as u64 + 1;
            assert_eq!(counted(&front.router).await, (count, count), "{stops:?} {request:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_or_sending_is_to_blame_however_little_time_the_slot_has() {
    let blue = Service::start("blue").await;
    let builder = Proxy::builder()
        .answer_timeout(Duration::from_secs(1))
        .body_timeout(Duration::from_secs(2))
        .send_timeout(Duration::from_secs(2));
    let front = Front::with(builder, &blue, &blue, 0).await;
    let mut stuck = TcpStream::connect(front.address).await.unwrap();
    stuck.write_all(b"GET /zeros/50000000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("its end", async || counted(&front.router).await.0 == 1).await;
    nothing_is_in_flight(&front).await;

    // The answer has begun, and waits for the rest of the request.
    let mut stops = TcpStream::connect(front.address).await.unwrap();
    let begin = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n";
    stops.write_all(begin.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = within(10, stops.read_to_string(&mut answer)).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("4\r\nsome\r\n"), "{answer}");
    nothing_is_in_flight(&front).await;
    assert_eq!(counted(&front.router).await, (2, 0));
}

#[tokio::test]
async fn a_slot_may_take_any_time_for_an_answer_that_goes_on() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder().answer_timeout(Duration::from_secs(5)), &blue, &blue, 0).await;
    let answer = raw(front.address, b"GET /drip/30/200 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("29\n\r\n0\r\n\r\n"), "{answer}");
    assert_eq!(counted(&front.router).await, (1, 0));
}
