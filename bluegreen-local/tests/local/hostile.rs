//! Peers that break the rules of HTTP, on both sides of the proxy: nothing is read in two ways, nobody gets what is
//! another's, and the slot is blamed for its own faults only.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::*;
use bluegreen_core::Slot;
use bluegreen_local::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const INNOCENT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\ninnocent";

#[tokio::test]
async fn a_request_that_could_be_read_in_two_ways_does_not_reach_the_slot_and_ends_the_connection() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    let lines = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding:",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "X: a\r\n Transfer-Encoding: chunked",
        "X: a\rTransfer-Encoding: chunked",
        " Content-Length: 4",
        "Content-Length : 4",
        "Content-Length: -1",
        "Content-Length: +4",
        "Content-Length: 0x4",
        "Content-Length: 4 4",
        "Content-Length: 4, 4",
        "Content-Length: \u{664}",
        "Content-Length: 4\0",
        "Content-Length:",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 18446744073709551616",
        "X: a\0b",
        "X\0: a",
        ": nameless",
        "no colon",
        "Host: a",
        "Host: b",
    ];
    let mut bad: Vec<String> = Vec::new();
    bad.extend(lines.map(|line| format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n0\r\n\r\n")));
    bad.extend(["", "a b", "a/b", "a@b", "a\\b", "a?b", "a#b", "\u{e4}"].map(|host| {
        let line = if host.is_empty() { String::new() } else { format!("Host: {host}\r\n") };
        format!("GET / HTTP/1.1\r\n{line}\r\n")
    }));
    let first = [
        "GET  / HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /",
        "G(T / HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http://user@/ HTTP/1.1",
        "GET http:///a HTTP/1.1",
    ];
    bad.extend(first.map(|line| format!("{line}\r\nHost: a\r\n\r\n")));
    bad.push("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned());
    let bodies = [
        "4\r\nsome0\r\n\r\n",
        "4\r\nsome\n0\r\n\r\n",
        "4\nsome\r\n0\r\n\r\n",
        "4;a\nb\r\nsome\r\n0\r\n\r\n",
        "4;a\rb\r\nsome\r\n0\r\n\r\n",
        "-4\r\nsome\r\n0\r\n\r\n",
        "+4\r\nsome\r\n0\r\n\r\n",
        " 4\r\nsome\r\n0\r\n\r\n",
        "0x4\r\nsome\r\n0\r\n\r\n",
        "4 4\r\nsome\r\n0\r\n\r\n",
        ";a\r\nsome\r\n0\r\n\r\n",
        "10000000000000004\r\nsome\r\n0\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nX : a\r\n\r\n",
        "0\r\nX: a\r\n folded\r\n\r\n",
    ];
    bad.extend(bodies.map(|body| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")));
    for bad in &bad {
        let answer = raw(front.address, format!("{bad}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{bad:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{bad:?}: {answer}");
        assert_eq!(blue.requests(), 0, "{bad:?}");
    }
    nothing_is_in_flight(&front).await;
    assert_eq!(counted(&front.router).await, (0, 0));
}

#[tokio::test]
async fn what_may_be_written_in_several_ways_reaches_the_slot_in_one() {
    let seen = Arc::<Mutex<String>>::default();
    let record = seen.clone();
    let address = raw_service(move |mut stream: TcpStream| {
        let record = record.clone();
        async move {
            let mut bytes = Vec::new();
            loop {
                match stream.read_buf(&mut bytes).await {
                    Ok(count) if count > 0 => {}
                    _ => return,
                }
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let is_chunked = text.contains("transfer-encoding");
                if text.ends_with(if is_chunked { "\r\n\r\n" } else { "END" })
                    && (!is_chunked || text.contains("0\r\n"))
                {
                    *record.lock().unwrap() = text;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    bytes.clear();
                }
            }
        }
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let length = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n\r\nEND");
    let chunks = |lines: &str, body: &str| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTRANSFER-ENCODING:\tCHUNKED \r\n";
        format!("{head}{lines}\r\n{body}")
    };
    let counted_as_one = [
        length("Content-Length: 3"),
        length("Content-Length: 3").replace("\r\n", "\n"),
        format!("\r\n\r\n{}", length("Content-Length: 0003")),
        length("Content-Length: 3\r\ncontent-length: 3"),
        length("Connection: content-length, host\r\nContent-Length: 3"),
        length("Transfer_Encoding: chunked\r\nContent-Length: 3\r\nContent_Length: 4"),
    ];
    for request in counted_as_one {
        assert!(raw(front.address, request.as_bytes()).await.starts_with("HTTP/1.1 200"), "{request:?}");
        let sent = seen.lock().unwrap().to_ascii_lowercase();
        assert_eq!(sent.matches("content-length: 3\r\n").count(), 1, "{request:?}: {sent}");
        assert_eq!(sent.matches("host: a\r\n").count(), 2, "{request:?}: {sent}");
        assert!(!sent.contains("encoding") && !sent.contains("content_length"), "{request:?}: {sent}");
    }
    let after = "Content-Length: 9\r\nTransfer-Encoding: gzip\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\nx-ok: 1\r\n";
    let in_chunks = [
        chunks("", &format!("3;a=\"b;c\"\r\nEND\r\n000\r\n{after}\r\n")),
        chunks("Connection: transfer-encoding\r\n", "0003 ;a\r\nEND\r\n0;b\r\nx-ok: 1\r\n\r\n"),
    ];
    for request in in_chunks {
        assert!(raw(front.address, request.as_bytes()).await.starts_with("HTTP/1.1 200"), "{request:?}");
        let sent = seen.lock().unwrap().clone();
        assert!(sent.contains("transfer-encoding: chunked\r\n") && !sent.contains("ontent-"), "{sent}");
        assert!(sent.ends_with("\r\n\r\n3\r\nEND\r\n0\r\nx-ok: 1\r\n\r\n"), "{sent}");
    }
    let large = chunks("", "A\r\n0123456789\r\n0\r\n\r\n");
    raw(front.address, large.as_bytes()).await;
    assert!(seen.lock().unwrap().ends_with("\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"));

    let forged = "X_Forwarded_For: 6.6.6.6\r\nx-forwarded_host: evil\r\nX_REAL_IP: 6.6.6.6\r\nX_Forwarded-Proto: https";
    for trusted in [None, Some("127.0.0.0/8")] {
        let front = before(Proxy::builder().trust_forwarded_headers_of(trusted), address).await;
        raw(front.address, length(&format!("{forged}\r\nX_Other: kept\r\nContent-Length: 3")).as_bytes()).await;
        let sent = seen.lock().unwrap().to_ascii_lowercase();
        assert!(!sent.contains("6.6.6.6") && !sent.contains("evil") && !sent.contains("https"), "{sent}");
        assert!(sent.contains("x_other: kept"), "{sent}");
    }
    let front = before(Proxy::builder().trust_forwarded_headers_of(["127.0.0.1"]), address).await;
    let said = "Connection: x-forwarded-proto, x-forwarded-host\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b";
    raw(front.address, length(&format!("{said}\r\nContent-Length: 3")).as_bytes()).await;
    let sent = seen.lock().unwrap().clone();
    assert!(sent.contains("Proto: https\r\n") && sent.contains("Host: b\r\n"), "{sent}");
    raw(front.address, length("Content-Length: 3").replace(" / ", " http://u@real:81/x?y ").as_bytes()).await;
    let sent = seen.lock().unwrap().clone();
    assert!(sent.starts_with("POST /x?y HTTP/1.1\r\nhost: real:81\r\n"), "{sent}");
}

#[tokio::test]
async fn whatever_a_slot_answers_the_next_client_gets_its_own_and_the_slots_faults_count() {
    let hostile = Arc::new(Mutex::new((String::new(), String::new())));
    let said = hostile.clone();
    let address = raw_service(move |mut stream: TcpStream| {
        let said = said.clone();
        async move {
            // Else what comes later would wait for the next request.
            stream.set_nodelay(true).unwrap();
            loop {
                let head = read_head(&mut stream).await;
                if head.is_empty() {
                    return;
                }
                let (first, later) = said.lock().unwrap().clone();
                if head.contains("/innocent") {
                    let _ = stream.write_all(INNOCENT.as_bytes()).await;
                } else {
                    let _ = stream.write_all(first.as_bytes()).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let _ = stream.write_all(later.as_bytes()).await;
                }
            }
        }
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let with = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n{evil}");
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let old = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let large = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(70_000));
    let good = [
        ("GET", ok.to_owned(), ""),
        ("GET", format!("{ok}{evil}"), ""),
        ("GET", ok.to_owned(), evil),
        ("GET", format!("{ok}HTTP/1.1 100 Continue\r\n\r\n"), ""),
        ("GET", format!("{}{ok}", "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n".repeat(5_000)), ""),
        ("GET", format!("HTTP/1.1 199 X\r\ncontent-length: 5\r\n\r\n{ok}"), ""),
        ("GET", both.to_owned(), evil),
        ("GET", old.to_owned(), evil),
        ("HEAD", format!("{ok}{evil}"), ""),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), evil),
        ("GET", format!("HTTP/1.1 204 None\r\ncontent-length: {}\r\n\r\n{evil}", evil.len()), ""),
        ("GET", format!("HTTP/1.1 304 Same\r\ncontent-length: {}\r\n\r\n", evil.len()), evil),
    ];
    let bad = [
        with("content-length: 1\r\ncontent-length: 2"),
        with("content-length: -1"),
        with("content-length: +1"),
        with("content-length: 1, 1"),
        with("content-length: 18446744073709551616"),
        with("transfer-encoding: gzip"),
        with("transfer-encoding: chunked, gzip"),
        with("transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        with("content-length : 1"),
        with("x: a\rset-cookie: evil"),
        with("x: a\0b"),
        with("x: a\r\n folded"),
        evil.replace("200 OK", "101 Switching Protocols"),
        evil.replace("200 OK", "099 OK"),
        evil.replace("200 OK", "20 OK"),
        evil.replace("HTTP/1.1", "HTTP/2.0"),
        evil.replace("HTTP/1.1", "ICY"),
        format!("extra{evil}"),
        large,
    ];
    let mut expected = (0, 0);
    let good = good.into_iter().map(|(method, first, later)| (method, first, later, false));
    for (method, first, later, fails) in good.chain(bad.into_iter().map(|first| ("GET", first, "", true))) {
        let shown: String = first.chars().take(300).collect();
        *hostile.lock().unwrap() = (first, later.to_owned());
        // Over HTTP/1.1 and HTTP/1.0, which see different heads of the same answer.
        for version in ["1.1", "1.0"] {
            let request = format!("{method} / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = raw(front.address, request.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
            assert!(!answer.contains("evil"), "{shown:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{shown:?}: {answer}");
            assert_eq!(answer.contains(" 502 "), fails, "{shown:?}: {answer}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let is_empty = method == "HEAD" || head.contains(" 204 ") || head.contains(" 304 ");
            assert!(fails || body.is_empty() == is_empty, "{shown:?}: {answer}");
            assert!(!head.contains(" 204 ") || !head.contains("content-length"), "{answer}");
            for _ in 0..2 {
                assert_eq!(
                    fetch(front.address, "/innocent").await.text(),
                    "innocent",
                    "{version} {method} {shown:?} {later:?}"
                );
            }
            expected = (expected.0 + 3, expected.1 + u64::from(fails));
            assert_eq!(counted(&front.router).await, expected, "{shown:?}");
        }
    }
    nothing_is_in_flight(&front).await;
}

#[tokio::test]
async fn a_slot_that_never_comes_to_its_answer_or_breaks_its_chunks_is_to_blame() {
    let address = raw_service(async |mut stream: TcpStream| {
        let head = read_head(&mut stream).await;
        if head.contains("/chunks") {
            stream.set_nodelay(true).unwrap();
            let begin = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
            let rest = "HTTP/1.1 200 OK\r\n\r\n";
            if head.contains("/later") {
                let _ = stream.write_all(begin.as_bytes()).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                let _ = stream.write_all(rest.as_bytes()).await;
            } else {
                let _ = stream.write_all(format!("{begin}{rest}").as_bytes()).await;
            }
            return;
        }
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let front = before(Proxy::builder().response_timeout(Duration::from_millis(300)), address).await;
    let answer = within(20, raw(front.address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert_eq!(counted(&front.router).await, (1, 1));
    let answer = raw(front.address, b"GET /chunks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "nothing of it was passed on: {answer}");
    assert_eq!(counted(&front.router).await, (2, 2));
    let answer = raw(front.address, b"GET /chunks/later HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("2\r\nok\r\n"), "it is seen as broken: {answer}");
    assert_eq!(counted(&front.router).await, (3, 3));
    nothing_is_in_flight(&front).await;
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order_however_they_come_in_pieces() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    let mixed = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst\
                 GET /status/404 HTTP/1.1\r\nHost: a\r\n\r\n\
                 HEAD / HTTP/1.1\r\nHost: a\r\n\r\n\
                 POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsec\r\n3\r\nond\r\n0\r\n\r\n\r\n\
                 POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nGET / H\
                 GET /drip/2/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
                 GET /after-close HTTP/1.1\r\nHost: a\r\n\r\n";
    for step in [1, 7, 10_000] {
        let before = blue.requests();
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in mixed.as_bytes().chunks(step) {
            if stream.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut answers = Vec::new();
        let _ = within(10, stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8(answers).unwrap();
        let statuses: Vec<_> = answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "404", "200", "200", "200", "200"], "{step}: {answers}");
        assert!(step < 10_000 || answers.contains("5\r\nfirst\r\n0\r\n\r\n"), "{answers}");
        assert!(answers.ends_with("0\n\r\n2\r\n1\n\r\n0\r\n\r\n"), "{answers}");
        assert_eq!(blue.requests() - before, 6, "nothing is read after a close");
    }
    let many = format!(
        "{}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(999)
    );
    assert_eq!(raw(front.address, many.as_bytes()).await.matches("HTTP/1.1 200 OK").count(), 1_000);
    nothing_is_in_flight(&front).await;
}

#[tokio::test]
async fn a_body_that_does_not_go_on_or_never_ends_is_the_clients_fault() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder().body_timeout(Duration::from_millis(200)), &blue, &blue, 0).await;
    let head = "POST /sleep/60000 HTTP/1.1\r\nHost: a\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for stops in
        ["", "4", "4;a", "4\r", "4\r\nso", "4\r\nsome", "4\r\nsome\r\n0", "0\r\n", "0\r\nx: a", "0\r\nx: a\r\n"]
    {
        let answer = raw(front.address, format!("{chunked}{stops}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{stops:?}: {answer}");
    }
    let many = "x: a\r\n".repeat(65);
    for endless in
        [format!("4;{}", "a".repeat(9_000)), format!("0\r\nx: {}", "a".repeat(40_000)), format!("0\r\n{many}\r\n")]
    {
        let answer = raw(front.address, format!("{chunked}{endless}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{}: {answer}", endless.len());
    }
    nothing_is_in_flight(&front).await;
    assert_eq!(counted(&front.router).await, (0, 0));
}

#[tokio::test]
async fn a_head_that_costs_more_to_read_than_to_send_is_refused() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    let request = |name: &str| {
        let list = "a,".repeat(13_000);
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{name}: {list}\r\n{}\r\n", "b:\r\n".repeat(900))
    };
    let takes = async |name: &str, status: &str| {
        let began = Instant::now();
        for _ in 0..20 {
            let answer = raw(front.address, request(name).as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        began.elapsed()
    };
    let (harmless, costly) = (takes("x", "").await, takes("connection", "400").await);
    assert!(costly < harmless * 10, "{costly:?} instead of {harmless:?}");
}

#[tokio::test]
async fn a_client_that_is_to_send_its_body_is_told_so_once_and_only_when_it_waits() {
    let address = raw_service(async |mut stream: TcpStream| {
        let mut head = read_head(&mut stream).await;
        assert!(!head.to_ascii_lowercase().contains("expect"), "it is answered by the proxy: {head}");
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        while !head.ends_with("body") {
            let mut more = [0; 100];
            let count = stream.read(&mut more).await.unwrap();
            head.push_str(std::str::from_utf8(&more[..count]).unwrap());
        }
        let _ = stream.write_all(INNOCENT.as_bytes()).await;
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\ninnocent"), "{answer}");

    let at_once = raw(front.address, format!("{head}body").as_bytes()).await;
    assert!(at_once.starts_with("HTTP/1.1 200"), "it does not wait: {at_once}");
    let old = raw(front.address, format!("{head}body").replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await;
    assert!(old.starts_with("HTTP/1.0 200"), "HTTP/1.0 knows no 100: {old}");
    nothing_is_in_flight(&front).await;
}

#[tokio::test]
async fn what_comes_with_an_upgrade_goes_to_the_other_end_and_its_connection_to_nobody_else() {
    let address = raw_service(async |mut stream: TcpStream| {
        let head = read_head(&mut stream).await;
        if head.contains("/refuse") || !head.contains("upgrade: x\r\n") {
            let _ = stream.write_all(INNOCENT.as_bytes()).await;
            read_head(&mut stream).await;
            let _ = stream.write_all(INNOCENT.as_bytes()).await;
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello ").await;
        let mut bytes = head.split_once("\r\n\r\n").unwrap().1.as_bytes().to_vec();
        while bytes.len() < 9 {
            stream.read_buf(&mut bytes).await.unwrap();
        }
        let _ = stream.write_all(&bytes).await;
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let ask = |path: &str, protocol: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n")
    };
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(format!("{}GET /", ask("/", "x")).as_bytes()).await.unwrap();
    let begin = read_until(&mut stream, "hello ").await;
    assert!(begin.starts_with("HTTP/1.1 101 X\r\n") && begin.contains("upgrade: x\r\n"), "{begin}");
    assert_eq!(front.in_flight(Slot::Blue).await, 1);
    stream.write_all(b" raw").await.unwrap();
    assert!(read_until(&mut stream, "GET / raw").await.ends_with("GET / raw"));
    drop(stream);
    nothing_is_in_flight(&front).await;

    // A switch that is refused, or not passed on, leaves HTTP behind: what follows is a request of its own.
    for request in [ask("/refuse", "x"), ask("/", "h2c"), ask("/", "x, h2c")] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(format!("{request}GET /refuse HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        read_until(&mut stream, "innocent").await;
        nothing_is_in_flight(&front).await;
    }
    assert_eq!(counted(&front.router).await.1, 0);
}

#[tokio::test]
async fn a_client_that_leaves_with_requests_ahead_never_leaves_its_answers_to_another() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    for round in 0..50 {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        let requests = "GET /status/418 HTTP/1.1\r\nHost: a\r\n\r\nPOST /status/419 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET";
        stream.write_all(requests.as_bytes()).await.unwrap();
        if round % 2 == 0 {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        assert_eq!(fetch(front.address, "/").await.status, 200);
    }
    nothing_is_in_flight(&front).await;
    assert_eq!(counted(&front.router).await.1, 0);
}

#[tokio::test]
async fn silent_http_2_clients_hold_no_place_for_longer_than_others() {
    let blue = Service::start("blue").await;
    let builder = Proxy::builder().client_timeout(Duration::from_millis(200)).max_connections(3);
    let front = Front::with(builder, &blue, &blue, 0).await;
    let mut silent = Vec::new();
    for begin in ["PRI ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert_eq!(within(20, fetch(front.address, "/")).await.text(), "blue");

    // Nor do those that have asked, and answer whatever is asked of them since.
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut sender = http2(front.address).await;
        let request = hyper::Request::get(format!("http://{}/sleep/500", front.address));
        let answer = within(20, sender.send_request(request.body(TestBody::text("")).unwrap())).await.unwrap();
        assert_eq!(read(answer).await.unwrap().text(), "blue", "who waits for an answer is not idle");
        idle.push(sender);
    }
    assert_eq!(within(20, fetch(front.address, "/")).await.text(), "blue");
}

#[tokio::test]
async fn http_2_requests_that_were_accepted_are_answered_when_the_proxy_ends() {
    let blue = Service::start("blue").await;
    let mut front = Front::with(Proxy::builder().max_connections(1), &blue, &blue, 0).await;
    let sender = http2(front.address).await;
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (mut sender, address) = (sender.clone(), front.address);
            tokio::spawn(async move {
                let request = hyper::Request::get(format!("http://{address}/sleep/200"));
                let response = sender.send_request(request.body(TestBody::text("")).unwrap()).await.unwrap();
                read(response).await.unwrap().status
            })
        })
        .collect();
    eventually("the requests", async || front.in_flight(Slot::Blue).await >= 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    front.shut_down();
    for status in futures::future::join_all(asking).await {
        assert_eq!(status.unwrap(), 200);
    }
    drop(sender);
    within(20, &mut front.task).await.unwrap().unwrap();
}

/// The frames that are sent, by their number.
type Flood<'f> = &'f dyn Fn(u32) -> Vec<u8>;

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn floods_of_http_2_frames_reach_neither_the_slot_nor_other_clients() {
    const REQUEST: &[u8] = b"\x82\x86\x84\x41\x01a";
    // The same, without a place in the table.
    const NOT_KEPT: &[u8] = b"\x82\x86\x84\x01\x01a";
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
    let odd = |index: u32| index * 2 + 1;
    let resets = |index| [frame(1, 5, odd(index), REQUEST), frame(3, 0, odd(index), &[0, 0, 0, 8])].concat();
    let endless = |index| if index == 0 { frame(1, 0, 1, REQUEST) } else { frame(9, 0, 1, &[b'\0'; 1_000]) };
    // Literal fields, so that each frame is valid.
    let fields = |index: u32| match index {
        0 => frame(1, 0, 1, REQUEST),
        _ => frame(9, 0, 1, &b"\0\x01a\x01b".repeat(200)),
    };
    let settings = |_| frame(4, 0, 0, &[]);
    let pings = |_| frame(6, 0, 0, &[0; 8]);
    let empty = |index| if index == 0 { frame(1, 4, 1, REQUEST) } else { frame(0, 0, 1, &[]) };
    // Requests that the server itself is made to reset: CVE-2025-8671.
    let made = |index| [frame(1, 5, odd(index), REQUEST), frame(8, 0, odd(index), &[0; 4])].concat();
    let overflows = |index| {
        let overflow = frame(8, 0, odd(index), &[0x7f, 0xff, 0xff, 0xff]);
        [frame(1, 5, odd(index), REQUEST), overflow.clone(), overflow].concat()
    };
    let priorities = |index| frame(2, 0, odd(index), &[0, 0, 0, 0, 1]);
    let unknown = |_| frame(0xfa, 0, 0, &[0; 1_000]);
    let updates = |_| frame(8, 0, 0, &[0, 0, 0, 1]);
    // A field of 4,000 bytes in the table, and then one byte for each time that it is there again.
    let bomb = |index| match index {
        0 => frame(1, 5, 1, &[NOT_KEPT, b"\x40\x01a\x7f\xa1\x1e", &[b'a'; 4_000]].concat()),
        _ => frame(1, 5, odd(index), &[NOT_KEPT, &[0xbe; 16_000]].concat()),
    };
    let floods: [(&str, Flood<'_>); 12] = [
        ("made resets", &made),
        ("overflows", &overflows),
        ("priorities", &priorities),
        ("unknown frames", &unknown),
        ("window updates", &updates),
        ("bombs", &bomb),
        ("resets", &resets),
        ("continuations", &endless),
        ("fields", &fields),
        ("settings", &settings),
        ("pings", &pings),
        ("empty data", &empty),
    ];
    for (name, flood) in floods {
        let before = blue.requests();
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(&begin).await.unwrap();
        let sending = async {
            for index in 0..10_000 {
                if stream.write_all(&flood(index)).await.is_err() {
                    break;
                }
            }
        };
        // One that is not read from any more has been stopped, too.
        let _ = tokio::time::timeout(Duration::from_secs(1), sending).await;
        assert_eq!(within(20, fetch(front.address, "/")).await.text(), "blue", "{name}");
        drop(stream);
        nothing_is_in_flight(&front).await;
        assert!(blue.requests() - before < 200, "{name}: {} requests", blue.requests() - before);
        assert_eq!(counted(&front.router).await.1, 0, "{name}");
    }
}

#[tokio::test]
async fn nobody_else_can_hold_the_lock_of_the_control_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("proxy.sock");
    let _front = Front::start(Proxy::builder().control_socket(&socket)).await;
    let lock = directory.path().join("proxy.sock.lock");
    eventually("the control socket", async || socket.exists()).await;
    assert_eq!(std::fs::metadata(lock).unwrap().permissions().mode() & 0o077, 0);
}

/// A field as it is written without compression.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        field.push(u8::try_from(text.len()).unwrap());
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// Waits for what becomes of the first request: an answer, a reset, or the end of the connection.
async fn fate(stream: &mut TcpStream) -> &'static str {
    let mut seen = Vec::new();
    loop {
        while let Some(length) = seen.first_chunk::<3>() {
            let length = usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
            let Some(frame) = seen.get(..9 + length) else { break };
            match frame[3] {
                1 => return "answered",
                3 => return "reset",
                7 => return "ended",
                _ => drop(seen.drain(..9 + length)),
            }
        }
        if within(20, stream.read_buf(&mut seen)).await.unwrap_or(0) == 0 {
            return "ended";
        }
    }
}

#[tokio::test]
async fn what_http_1_would_read_in_another_way_does_not_come_over_http_2() {
    let seen = Arc::<Mutex<String>>::default();
    let record = seen.clone();
    let address = raw_service(move |mut stream: TcpStream| {
        let record = record.clone();
        async move {
            let head = read_head(&mut stream).await;
            record.lock().unwrap().push_str(&head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
    let usual = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    let ask = async |fields: &[(&str, &str)], data: Option<&str>| {
        let pseudo =
            usual.map(|(name, value)| fields.iter().find(|field| field.0 == name).copied().unwrap_or((name, value)));
        let others =
            fields.iter().filter(|field| !field.0.starts_with(':') || usual.iter().all(|other| other.0 != field.0));
        let block: Vec<u8> = pseudo.iter().chain(others).flat_map(|(name, value)| field(name, value)).collect();
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        let headers = frame(1, if data.is_some() { 4 } else { 5 }, 1, &block);
        let data = data.map(|data| frame(0, 1, 1, data.as_bytes())).unwrap_or_default();
        stream.write_all(&[begin.clone(), headers, data].concat()).await.unwrap();
        let fate = fate(&mut stream).await;
        nothing_is_in_flight(&front).await;
        (fate, std::mem::take(&mut *seen.lock().unwrap()))
    };
    let (fate, head) = ask(&[("x-fine", "1")], Some("body")).await;
    assert!(fate == "answered" && head.contains("x-fine: 1\r\n"), "{fate} {head}");
    for fields in [
        [("x", "a\r\nevil: 1")],
        [("x", "a\nevil: 1")],
        [("x", "a\0evil")],
        [("x: evil\r\ny", "1")],
        [("evil name", "1")],
        [("evil:", "1")],
        [("Evil", "1")],
        [("", "evil")],
        [(":method", "GET /evil HTTP/1.1\r\nHost: a\r\n\r\nGET")],
        [(":method", "evil method")],
        [(":path", "/evil HTTP/1.1\r\nHost: a\r\n\r\n")],
        [(":path", "/evil HTTP/1.1")],
        [(":path", "evil")],
        [(":path", "")],
        [(":authority", "a\r\nevil: 1")],
        [(":authority", "evil evil")],
        [(":scheme", "http://evil/?")],
        [(":evil", "1")],
        [("transfer-encoding", "chunked")],
        [("transfer-encoding", "evil")],
        [("connection", "evil")],
        [("keep-alive", "evil")],
        [("proxy-connection", "evil")],
        [("upgrade", "evil")],
        [("te", "evil")],
        [("content-length", "5")],
        [("content-length", "3")],
        [("content-length", "-4")],
        [("content-length", "4evil")],
        [("content-length", "4, 4")],
    ] {
        for data in [None, Some("evil")] {
            let (fate, head) = ask(&fields, data).await;
            let (head, body) = head.split_once("\r\n\r\n").unwrap_or((&head, ""));
            assert!(!head.contains("evil"), "{fields:?}: {fate} {head}");
            assert!(!body.contains("HTTP/"), "{fields:?}: {fate} {body}");
            // What is left of it is one request, with a length that is right.
            let lengths =
                head.lines().filter(|line| line.starts_with("content-length") || line.starts_with("transfer-encoding"));
            assert!(lengths.count() <= 1, "{fields:?}: {fate} {head}");
        }
    }
    let (fate, head) = ask(&[("host", "evil"), (":authority", "user@b:81")], None).await;
    assert!(fate != "answered" || head.matches("host: b:81\r\n").count() == 2, "{fate} {head}");
    assert!(!head.contains("evil") && !head.contains("user"), "{fate} {head}");
    assert_eq!(counted(&front.router).await.1, 0);
}
