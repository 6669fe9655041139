//! A slot that dies, ends its side, or trickles, in each phase of an exchange.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::{Router, Slot};
use bluegreen_local::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

const BODY: usize = 100_000;

/// How a slot ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
    /// It ends its side, and reads on.
    HalfClose,
}

/// How far a slot comes: what it reads of the request, and what it says then.
#[derive(Debug, Clone, Copy)]
struct Phase {
    reads: usize,
    says: &'static str,
    /// What the client gets: a status, and whether the answer is complete.
    status: &'static str,
    complete: bool,
}

const PHASES: [Phase; 12] = [
    Phase { reads: 0, says: "", status: "502", complete: true },
    Phase { reads: 10, says: "", status: "502", complete: true },
    Phase { reads: 1_000, says: "", status: "502", complete: true },
    Phase { reads: BODY, says: "", status: "502", complete: true },
    Phase { reads: BODY, says: "HTTP/1.1 100 Continue\r\n\r\n", status: "502", complete: true },
    Phase { reads: BODY, says: "HTTP/1.1 200 O", status: "502", complete: true },
    Phase { reads: BODY, says: "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n", status: "502", complete: true },
    Phase { reads: BODY, says: "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", status: "200", complete: false },
    Phase { reads: BODY, says: "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome", status: "200", complete: false },
    Phase {
        reads: BODY,
        says: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n",
        status: "200",
        complete: false,
    },
    Phase {
        reads: BODY,
        says: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n",
        status: "200",
        complete: false,
    },
    Phase { reads: BODY, says: "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsome", status: "200", complete: true },
];

#[tokio::test]
async fn a_slot_that_dies_in_any_phase_is_to_blame_once_and_nobody_waits_for_it() {
    for end in [End::Close, End::Reset, End::HalfClose] {
        for phase in PHASES {
            // A reset takes away what was said before it.
            if end == End::Reset && !phase.says.is_empty() {
                continue;
            }
            let address = raw_service(move |mut stream: TcpStream| async move {
                let mut left = phase.reads;
                if left == BODY {
                    left -= read_head(&mut stream).await.split_once("\r\n\r\n").unwrap().1.len();
                }
                stream.read_exact(&mut vec![0; left]).await.unwrap();
                let _ = stream.write_all(phase.says.as_bytes()).await;
                match end {
                    End::Close => {}
                    End::Reset => stream.set_zero_linger().unwrap(),
                    End::HalfClose => {
                        let _ = stream.shutdown().await;
                        while stream.read(&mut [0; 4_096]).await.is_ok_and(|count| count > 0) {}
                    }
                }
            })
            .await;
            let front = before(Proxy::builder(), address).await;
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {BODY}\r\n\r\n");
            let (mut reader, mut writer) = TcpStream::connect(front.address).await.unwrap().into_split();
            let sending = tokio::spawn(async move {
                let _ = writer.write_all(head.as_bytes()).await;
                let _ = writer.write_all(&[b'x'; BODY]).await;
                writer
            });
            let mut answer = String::new();
            within(20, reader.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {}", phase.status)), "{end:?} {phase:?}: {answer}");
            assert_eq!(is_complete(&answer), phase.complete, "{end:?} {phase:?}: {answer}");
            drop(sending.await.unwrap());
            nothing_is_in_flight(&front).await;
            let failed = u64::from(phase.status == "502" || !phase.complete);
            assert_eq!(counted(&front.router).await, (1, failed), "{end:?} {phase:?}");

            let blue = Service::start("blue").await;
            front.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
            assert_eq!(fetch(front.address, "/").await.text(), "blue", "{end:?} {phase:?}");
        }
    }
}

#[tokio::test]
async fn what_trickles_passes_and_a_head_that_trickles_ends_at_its_limit() {
    let address = raw_service(async |mut stream: TcpStream| {
        let head = read_head(&mut stream).await;
        stream.set_nodelay(true).unwrap();
        if head.contains("/endless") {
            while stream.write_all(b"H").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            return;
        }
        let mut seen = head.split_once("\r\n\r\n").unwrap().1.to_owned();
        while !seen.ends_with("0\r\n\r\n") {
            let mut more = [0; 100];
            let count = stream.read(&mut more).await.unwrap();
            seen.push_str(std::str::from_utf8(&more[..count]).unwrap());
        }
        let answer =
            "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;z=1\r\nde\r\n0\r\n\r\n";
        for byte in answer.bytes() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    })
    .await;
    let front = before(Proxy::builder().response_timeout(Duration::from_secs(5)), address).await;
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    for byte in request.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    within(20, stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nx: y\r\n") && answer.ends_with("0\r\n\r\n"), "{answer}");
    let data: String =
        answer.split_once("\r\n\r\n").unwrap().1.chars().filter(|char| ('a'..='e').contains(char)).collect();
    assert_eq!(data, "abcde");

    let answer = raw(front.address, b"GET /endless HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 50"), "{answer}");
    assert_eq!(counted(&front.router).await, (2, 1));
}

#[tokio::test]
async fn whatever_the_order_of_an_expectation_and_its_answer_nobody_waits_for_the_other() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let record = seen.clone();
    let address = raw_service(move |mut stream: TcpStream| {
        let record = record.clone();
        async move {
            let head = read_head(&mut stream).await;
            record.lock().unwrap().push(head.clone());
            let refusal = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
            if head.contains("/refuse") {
                let _ = stream.write_all(refusal.as_bytes()).await;
                return;
            }
            if head.contains("/many") {
                let _ = stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(3)).await;
            }
            let mut have = head;
            while !have.ends_with("body") {
                let mut more = [0; 100];
                match stream.read(&mut more).await {
                    Ok(count) if count > 0 => have.push_str(std::str::from_utf8(&more[..count]).unwrap()),
                    _ => return,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let front = before(Proxy::builder().body_timeout(Duration::from_secs(2)), address).await;
    let head = |path: &str, line: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nExpect: {line}\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
    };
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    for (path, status) in [("/", "200"), ("/many", "200"), ("/refuse", "417")] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(head(path, "100-continue").as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, go_on, "it waits for that");
        stream.write_all(b"body").await.unwrap();
        let mut answer = String::new();
        within(20, stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "told once: {answer}");
    }
    // One that gets an answer, and sends no body; one that never sends it; one that expects what nobody knows.
    let answer = raw(front.address, head("/refuse", "100-continue").as_bytes()).await;
    assert!(answer.starts_with(go_on) && answer.contains("417"), "{answer}");
    let answer = raw(front.address, head("/", "100-continue").as_bytes()).await;
    assert!(answer.starts_with(go_on) && answer.contains("HTTP/1.1 408"), "{answer}");
    let answer = raw(front.address, format!("{}body", head("/", "a-miracle")).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let nothing = head("/refuse", "100-continue").replace("Length: 4", "Length: 0");
    let answer = raw(front.address, nothing.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 417"), "there is no body to wait for: {answer}");
    assert!(seen.lock().unwrap().iter().all(|head| !head.to_ascii_lowercase().contains("expect")));
    nothing_is_in_flight(&front).await;
    assert_eq!(counted(&front.router).await.1, 0);
}

#[tokio::test]
async fn a_request_with_a_body_switches_no_protocol() {
    // Else what is left of the body would be taken for the other protocol.
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    for body in ["Content-Length: 9\r\n\r\nsome", "Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"] {
        let head = "POST /head HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n";
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let seen = read_until(&mut stream, "http").await;
        assert!(seen.starts_with("HTTP/1.1 200") && !seen.contains("upgrade"), "{seen}");
    }
}
