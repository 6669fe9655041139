//! Slots that answer before they have all of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bluegreen_local::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

const INNOCENT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\ninnocent";

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A service that answers `/next`, and everything else early: it closes its connection then.
async fn early(answer: &'static str) -> std::net::SocketAddr {
    raw_service(move |mut stream: TcpStream| async move {
        let next = read_head(&mut stream).await.contains("/next");
        let _ = stream.write_all(if next { INNOCENT } else { answer }.as_bytes()).await;
    })
    .await
}

const EARLY: [&str; 3] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend",
    "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nend\r\n0\r\n\r\n",
    "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nend",
];

fn is_closing(answer: &str) -> bool {
    answer.to_ascii_lowercase().contains("connection: close")
}

#[tokio::test]
async fn the_rest_of_a_request_that_its_slot_does_not_take_is_discarded_and_the_connection_is_kept() {
    for answer in EARLY {
        let address = early(answer).await;
        let front = before(Proxy::builder(), address).await;
        let end = if answer.contains("chunked") { "0\r\n\r\n" } else { "end" };
        for at_first in [0, 1, 100_000] {
            let mut stream = TcpStream::connect(front.address).await.unwrap();
            stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n").await.unwrap();
            stream.write_all(&vec![b'x'; at_first]).await.unwrap();
            let early = read_until(&mut stream, end).await;
            assert!(!is_closing(&early), "{early}");
            stream.write_all(&vec![b'x'; 200_000 - at_first]).await.unwrap();
            stream.write_all(NEXT.as_bytes()).await.unwrap();
            let mut next = String::new();
            // The silence of a client is five seconds.
            within(4, stream.read_to_string(&mut next)).await.unwrap();
            assert!(next.starts_with("HTTP/1.1 200") && next.ends_with("innocent"), "{at_first}: {next}");
        }
        // Of chunks nobody knows how many will come. What is said of the connection holds.
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        let begin = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n";
        stream.write_all(begin.as_bytes()).await.unwrap();
        let early = read_until(&mut stream, end).await;
        stream.write_all(format!("4\r\nmore\r\n0\r\nx: y\r\n\r\n{NEXT}").as_bytes()).await.unwrap();
        let mut next = String::new();
        within(20, stream.read_to_string(&mut next)).await.unwrap();
        assert_eq!(next.ends_with("innocent"), !is_closing(&early), "{early} {next}");
        nothing_is_in_flight(&front).await;
        assert_eq!(counted(&front.router).await.1, 0);
    }
}

#[tokio::test]
async fn a_client_with_much_more_to_send_gets_its_answer_and_an_orderly_end() {
    let holds = raw_service(async |mut stream: TcpStream| {
        read_head(&mut stream).await;
        let _ = stream.write_all(EARLY[0].as_bytes()).await;
        std::future::pending().await
    })
    .await;
    let lengths = ["Content-Length: 30000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1c9c380\r\n"];
    for (address, may_keep, lengths) in [
        (early(EARLY[0]).await, true, &lengths[..]),
        (early(EARLY[1]).await, true, &lengths[..]),
        (early(EARLY[2]).await, false, &lengths[..]),
        (holds, true, &lengths[..1]),
    ] {
        let front = before(Proxy::builder(), address).await;
        for &length in lengths {
            let (mut reader, mut writer) = TcpStream::connect(front.address).await.unwrap().into_split();
            let sending = tokio::spawn(async move {
                writer.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\n{length}").as_bytes()).await.unwrap();
                for _ in 0..1_000 {
                    writer.write_all(&[b'x'; 10_000]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                // Neither side is in a hurry to close.
                writer
            });
            let mut answer = String::new();
            within(20, reader.read_to_string(&mut answer)).await.expect("it is closed, and not reset");
            assert!(answer.contains("end"), "{answer}");
            assert!(may_keep || is_closing(&answer), "a client that is turned away is told to stop: {answer}");
            drop(within(20, sending).await.expect("what it still sends is read"));
        }
        nothing_is_in_flight(&front).await;
        assert_eq!(counted(&front.router).await, (lengths.len() as u64, 0));
    }
}

#[tokio::test]
async fn an_answer_that_streams_while_the_request_does_is_cut_on_neither_side() {
    for line in ["", "connection: close\r\n"] {
        let address = raw_service(move |mut stream: TcpStream| async move {
            stream.set_nodelay(true).unwrap();
            if read_head(&mut stream).await.contains("/next") {
                let _ = stream.write_all(INNOCENT.as_bytes()).await;
                return;
            }
            let head = format!("HTTP/1.1 200 OK\r\n{line}transfer-encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            // Chunks are sent back as they come, the last one included.
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"0\r\n\r\n") {
                bytes.clear();
                if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                    return;
                }
                stream.write_all(&bytes).await.unwrap();
            }
        })
        .await;
        let front = before(Proxy::builder(), address).await;
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(!is_closing(&head), "{head}");
        for round in 0..100 {
            let piece = format!("4\r\n{round:04}\r\n");
            stream.write_all(piece.as_bytes()).await.unwrap();
            assert_eq!(read_until(&mut stream, &piece).await, piece);
        }
        stream.write_all(format!("0\r\n\r\n{NEXT}").as_bytes()).await.unwrap();
        let mut rest = String::new();
        within(20, stream.read_to_string(&mut rest)).await.unwrap();
        assert!(rest.starts_with("0\r\n\r\nHTTP/1.1 200") && rest.ends_with("innocent"), "{rest}");
        nothing_is_in_flight(&front).await;
        assert_eq!(counted(&front.router).await, (2, 0));
    }
}

#[tokio::test]
async fn a_slot_that_reads_on_after_its_answer_gets_all_of_the_request_and_keeps_its_connection() {
    const LENGTH: usize = 3_000_000;
    let connections = Arc::<AtomicU64>::default();
    let opened = connections.clone();
    let address = raw_service(move |mut stream: TcpStream| {
        opened.fetch_add(1, Ordering::SeqCst);
        async move {
            let head = read_head(&mut stream).await;
            let mut have = head.split_once("\r\n\r\n").unwrap().1.len();
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nend").await.unwrap();
            let mut piece = vec![0; 150_000];
            while have < LENGTH {
                tokio::time::sleep(Duration::from_millis(60)).await;
                let most = piece.len().min(LENGTH - have);
                have += stream.read_exact(&mut piece[..most]).await.unwrap();
            }
            assert!(read_head(&mut stream).await.contains("/next"), "nothing is left out, nothing comes twice");
            stream.write_all(INNOCENT.as_bytes()).await.unwrap();
        }
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let (mut reader, mut writer) = TcpStream::connect(front.address).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        writer.write_all(&vec![b'x'; LENGTH]).await.unwrap();
        writer.write_all(NEXT.as_bytes()).await.unwrap();
        writer
    });
    let mut answers = String::new();
    within(30, reader.read_to_string(&mut answers)).await.unwrap();
    assert!(answers.starts_with("HTTP/1.1 202") && answers.ends_with("innocent"), "{answers}");
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection to the slot is used again");
    drop(sending.await.unwrap());
}
