//! What hostile and careless peers can do to the proxy, and to the judgement over a slot.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::*;
use bluegreen_core::testing::test_process;
use bluegreen_core::{Router, Slot};
use bluegreen_local::{Proxy, ProxyRouter};
use bluegreen_testkit::process::Killed;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

#[tokio::test]
async fn connections_that_send_one_byte_of_an_http_2_preface_and_close_hold_no_place() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder().max_connections(50), &blue, &blue, 0).await;
    for _ in 0..2_000 {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(b"P").await.unwrap();
    }
    assert_eq!(within(20, fetch(front.address, "/")).await.text(), "blue");
}

#[tokio::test]
async fn silent_peers_on_the_control_socket_delay_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("proxy.sock");
    let front = Front::start(Proxy::builder().control_socket(&socket)).await;
    eventually("the control socket", async || UnixStream::connect(&socket).await.is_ok()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(UnixStream::connect(&socket).await.unwrap());
    }
    let router = ProxyRouter::new(&socket);
    assert_eq!(within(20, router.current()).await.unwrap(), None);
    assert_eq!(within(20, router.in_flight(Slot::Blue)).await.unwrap(), Some(0));
    drop((silent, front));
}

#[tokio::test]
async fn what_clients_cause_does_not_count_against_the_slot() {
    let blue = Service::start("blue").await;
    let builder = Proxy::builder().body_timeout(Duration::from_millis(300));
    let front = Front::with(builder, &blue, &blue, 0).await;
    let post = "POST /sleep/60000 HTTP/1.1\r\nHost: a\r\n";

    // Uploads that are broken off, by a close and by a reset, with a length and in chunks.
    for reset in [false, true] {
        for begin in ["Content-Length: 1000000\r\n\r\nsome", "Transfer-Encoding: chunked\r\n\r\n100\r\nsome"] {
            for _ in 0..10 {
                let mut stream = TcpStream::connect(front.address).await.unwrap();
                stream.write_all(format!("{post}{begin}").as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
                if reset {
                    stream.set_zero_linger().unwrap();
                }
            }
        }
    }
    // Bodies that are none, at once and after a while.
    for rest in ["zz\r\nsome\r\n0\r\n\r\n", "4\r\nsome0\r\n\r\n", "4\r\nsome\r\n-1\r\n", "\r\n"] {
        let at_once = format!("{post}Transfer-Encoding: chunked\r\n\r\n{rest}");
        let answer = raw(front.address, at_once.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{rest:?}: {answer}");

        let mut stream = TcpStream::connect(front.address).await.unwrap();
        let first = format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        stream.write_all(first.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(10, stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "later {rest:?}: {answer}");
    }
    // One that stops sending.
    let answer = raw(front.address, format!("{post}Content-Length: 10\r\n\r\nsome").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // Ones that leave while they wait, and a stream of HTTP/2 that is reset in the middle of its body.
    for _ in 0..10 {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(b"GET /sleep/60000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        stream.set_zero_linger().unwrap();
    }
    let (feed, body) = TestBody::fed();
    feed.send(Frame::data(Bytes::from("some"))).unwrap();
    let mut sender = http2(front.address).await;
    let upload = hyper::Request::post(format!("http://{}/sleep/60000", front.address)).body(body).unwrap();
    let broken_off = tokio::time::timeout(Duration::from_millis(100), sender.send_request(upload)).await;
    assert!(broken_off.is_err(), "there is no answer yet");
    drop((feed, sender));

    eventually("the end of all", async || front.in_flight(Slot::Blue).await == 0).await;
    assert_eq!(counted(&front.router).await, (0, 0));
    assert_eq!(fetch(front.address, "/status/500").await.status, 500);
    assert_eq!(counted(&front.router).await, (1, 1), "what the slot causes is counted");
}

#[tokio::test]
async fn an_answer_that_the_slot_breaks_off_counts_against_it() {
    let address = raw_service(async |mut stream: TcpStream| {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nsome").await;
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let answer = raw(front.address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nsome"), "{answer}");
    assert_eq!(counted(&front.router).await, (1, 1));
}

#[tokio::test]
async fn an_unfinished_head_ends_at_its_limits_of_bytes_lines_and_time() {
    let blue = Service::start("blue").await;
    let builder = Proxy::builder().client_timeout(Duration::from_millis(500)).header_limit(8 << 10);
    let front = Front::with(builder, &blue, &blue, 0).await;
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(1 << 20));
    let answer = raw(front.address, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a:b\r\n".repeat(1_001));
    let answer = raw(front.address, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431") && answer.contains("too many header lines"), "{answer}");

    // One line after the other, so that there is always some progress.
    let mut stream = TcpStream::connect(front.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let began = Instant::now();
    while stream.write_all(b"X: y\r\n").await.is_ok() && began.elapsed() < Duration::from_secs(40) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut first = [0; 12];
        if stream.try_read(&mut first).is_ok() {
            assert_eq!(&first, b"HTTP/1.1 408");
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(20), "there is a deadline for the whole head");
    assert_eq!(counted(&front.router).await, (0, 0));
}

#[tokio::test]
async fn an_http_2_connection_without_a_request_is_let_go_and_one_with_a_request_is_not() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder().client_timeout(Duration::from_millis(300)), &blue, &blue, 0).await;
    let ask =
        |path: &str| hyper::Request::get(format!("http://{}{path}", front.address)).body(TestBody::text("")).unwrap();
    let mut sender = http2(front.address).await;
    let slow = read(within(10, sender.send_request(ask("/sleep/1500"))).await.unwrap()).await.unwrap();
    assert_eq!(slow.text(), "blue");
    eventually("the end of the idle connection", async || sender.is_closed()).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_let_go() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder().send_timeout(Duration::from_millis(500)), &blue, &blue, 0).await;
    let mut stuck = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(b"GET /zeros/50000000 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        stuck.push(stream);
    }
    eventually("the requests", async || front.in_flight(Slot::Blue).await == 5).await;
    eventually("their end", async || front.in_flight(Slot::Blue).await == 0).await;
    assert_eq!(counted(&front.router).await, (5, 0));

    // One that takes a little now and then is not.
    let mut slow = TcpStream::connect(front.address).await.unwrap();
    slow.write_all(b"GET /drip/20/100 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(10, slow.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("19\n"), "{answer}");
}

#[tokio::test]
async fn as_many_header_lines_as_nginx_and_haproxy_take_pass_in_both_directions() {
    let address = raw_service(async |mut stream: TcpStream| {
        let head = read_head(&mut stream).await;
        let lines: String = (0..900).map(|index| format!("a{index}: 1\r\n")).collect();
        let body = head.lines().filter(|line| line.starts_with("x-")).count().to_string();
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let lines: String = (0..900).map(|index| format!("x-{index}: 1\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
    let answer = raw(front.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("a899: 1\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n903"), "900, and the three of X-Forwarded: {answer}");
}

#[tokio::test]
async fn an_early_answer_is_delivered_to_every_client_that_is_still_sending() {
    let address = raw_service(async |mut stream: TcpStream| {
        read_head(&mut stream).await;
        // It has read a part only, and what is left makes the system reset the connection.
        let _ = stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 6\r\n\r\nbig\r\n\n")
            .await;
    })
    .await;
    let front = before(Proxy::builder(), address).await;
    let clients = (0..60).map(|index| {
        let address = front.address;
        tokio::spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut reader, mut writer) = stream.into_split();
            let sending = tokio::spawn(async move {
                let head = if index % 2 == 0 {
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n".to_owned()
                } else {
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n989680\r\n".to_owned()
                };
                let _ = writer.write_all(head.as_bytes()).await;
                for _ in 0..1_000 {
                    if writer.write_all(&[b'x'; 10_000]).await.is_err() {
                        break;
                    }
                }
                writer
            });
            let mut answer = Vec::new();
            let _ = within(20, reader.read_to_end(&mut answer)).await;
            sending.abort();
            String::from_utf8_lossy(&answer).into_owned()
        })
    });
    for answer in futures::future::join_all(clients.collect::<Vec<_>>()).await {
        let answer = answer.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("big\r\n\n"), "{answer:?}");
    }
    assert_eq!(counted(&front.router).await, (60, 0));
}

#[tokio::test]
async fn a_client_that_ends_its_side_after_its_request_gets_its_answer() {
    let blue = Service::start("blue").await;
    let front = Front::with(Proxy::builder(), &blue, &blue, 0).await;
    for path in ["/", "/sleep/500", "/drip/5/100", "/zeros/3000000"] {
        let mut stream = TcpStream::connect(front.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        within(10, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
        assert!(!path.starts_with("/zeros") || answer.len() > 3_000_000, "{path}: {}", answer.len());
        assert!(!path.starts_with("/drip") || answer.ends_with(b"0\r\n\r\n"), "{path}: it is complete");
    }
    assert_eq!(counted(&front.router).await, (4, 0));
}

#[tokio::test]
async fn a_malformed_answer_on_a_kept_connection_is_no_reason_to_send_the_request_again() {
    for malformed in [
        "nonsense\r\n\r\n",
        "H",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ] {
        let seen = Arc::<AtomicU64>::default();
        let counter = seen.clone();
        let address = raw_service(move |mut stream: TcpStream| {
            let counter = counter.clone();
            async move {
                for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", malformed] {
                    if read_head(&mut stream).await.is_empty() {
                        return;
                    }
                    counter.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        })
        .await;
        let front = before(Proxy::builder(), address).await;
        let mut client = Client::connect(front.address).await;
        assert_eq!(client.get("/").await.unwrap().status, 200);
        assert_eq!(client.get("/").await.unwrap().status, 502);
        assert_eq!(seen.load(Ordering::SeqCst), 2, "{malformed:?}");
        assert_eq!(counted(&front.router).await, (2, 1), "the slot's fault");
    }
}

/// Not a test of its own: others run it as a proxy in a process of its own, with few descriptors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a helper process of other tests"]
async fn proxy_process() {
    let Some(directory) = std::env::var_os("TEST_SITE").map(PathBuf::from) else { return };
    let descriptors = std::env::var("TEST_DESCRIPTORS").unwrap().parse().unwrap();
    let limit = rustix::process::Rlimit { current: Some(descriptors), maximum: Some(descriptors) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::builder().control_socket(directory.join("proxy.sock")).threads(2).build().unwrap();
    std::fs::write(directory.join("address.new"), address.to_string()).unwrap();
    std::fs::rename(directory.join("address.new"), directory.join("address")).unwrap();
    // Ends by itself if nobody kills it.
    proxy.serve(listener, tokio::time::sleep(Duration::from_secs(60))).await.unwrap();
}

struct ProxyProcess {
    child: Killed,
    address: SocketAddr,
    router: ProxyRouter,
    _directory: tempfile::TempDir,
}

impl ProxyProcess {
    async fn before(service: SocketAddr, descriptors: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = test_process(concat!(module_path!(), "::proxy_process"));
        command.env("TEST_SITE", directory.path()).env("TEST_DESCRIPTORS", descriptors.to_string());
        let child = Killed::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let router = ProxyRouter::new(directory.path().join("proxy.sock"));
        let mut process = Self { child, address: LOOPBACK.parse().unwrap(), router, _directory: directory };
        eventually("the start of the proxy", async || process.router.current().await.is_ok()).await;
        process.address = address_in(process._directory.path());
        process.router.attach(Slot::Blue, &instance_at(service)).await.unwrap();
        process.router.shift(None, toward_green(0)).await.unwrap();
        process
    }

    /// The bytes that it has in memory.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

fn address_in(directory: &Path) -> SocketAddr {
    std::fs::read_to_string(directory.join("address")).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_take_nothing_keep_neither_clients_nor_the_control_socket_out() {
    let blue = Service::start("blue").await;
    let process = ProxyProcess::before(blue.address, 1_024).await;
    let mut open = Vec::new();
    for _ in 0..6 {
        let stream = TcpStream::connect(process.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(0)
            .initial_max_send_streams(200)
            .handshake::<_, TestBody>(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
        open.push(tokio::spawn(async move { drop(connection.await) }));
        for _ in 0..200 {
            let mut sender = sender.clone();
            let address = process.address;
            open.push(tokio::spawn(async move {
                let request = hyper::Request::get(format!("http://{address}/zeros/100000"));
                let response = sender.send_request(request.body(TestBody::text("")).unwrap()).await;
                std::future::pending::<()>().await;
                drop((response, sender));
            }));
        }
    }
    eventually("the streams", async || process.router.in_flight(Slot::Blue).await.unwrap().unwrap() >= 300).await;
    for _ in 0..20 {
        assert_eq!(within(20, fetch(process.address, "/")).await.text(), "blue");
        assert_eq!(within(20, process.router.current()).await.unwrap(), Some(toward_green(0)));
    }
    // An HTTP/2 client with one request at a time is served, too.
    let mut sender = http2(process.address).await;
    let request = hyper::Request::get(format!("http://{}/", process.address)).body(TestBody::text("")).unwrap();
    assert_eq!(within(20, sender.send_request(request)).await.unwrap().status(), 200);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", process.child.id())).unwrap().count();
    assert!(descriptors < 1_024 - 32, "{descriptors} descriptors are open");
    assert_eq!(counted(&process.router).await.1, 0, "nothing of it counts against the slot");
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_descriptors_clients_wait_for_a_place_and_the_control_socket_answers() {
    let blue = Service::start("blue").await;
    let process = ProxyProcess::before(blue.address, 256).await;
    let mut open = Vec::new();
    for _ in 0..150 {
        let mut stream = TcpStream::connect(process.address).await.unwrap();
        stream.write_all(b"GET /sleep/200 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        open.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(within(20, process.router.current()).await.unwrap(), Some(toward_green(0)));
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", process.child.id())).unwrap().count();
    assert!(descriptors < 256 - 32, "{descriptors} descriptors are open");
    eventually("the first answers", async || counted(&process.router).await.0 >= 30).await;
    drop(open);
    assert_eq!(within(20, fetch(process.address, "/")).await.text(), "blue");
    assert_eq!(counted(&process.router).await.1, 0, "nothing of it counts against the slot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_clients_that_do_not_read_or_do_not_finish_take_little_memory() {
    // Both ends of all connections are in this process, but for those of the proxy.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let address = raw_service(async |mut stream: TcpStream| {
        if read_head(&mut stream).await.contains("/small") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
        while stream.write_all(&[0; 16 << 10]).await.is_ok() {}
    })
    .await;
    let process = ProxyProcess::before(address, 4_096).await;
    fetch(process.address, "/small").await;
    let idle = process.resident();
    let hold = async |request: String| {
        let mut open = Vec::new();
        for _ in 0..500 {
            let mut stream = TcpStream::connect(process.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            open.push(stream);
        }
        let mut most = 0;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(process.resident().saturating_sub(idle));
        }
        (open, most)
    };
    let (open, most) = hold("GET /large HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()).await;
    assert_eq!(process.router.in_flight(Slot::Blue).await.unwrap(), Some(500));
    println!("500 clients that do not read: {} KiB", most >> 10);
    assert!(most < 40 << 20, "500 clients that do not read take {most} bytes");
    drop(open);
    eventually("their end", async || process.router.in_flight(Slot::Blue).await.unwrap() == Some(0)).await;

    let (_open, most) = hold(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(30_000))).await;
    println!("500 clients with 30 KB of an unfinished head: {} KiB", most >> 10);
    assert!(most < 40 << 20, "500 clients that do not finish their head take {most} bytes");
    assert_eq!(within(20, fetch(process.address, "/small")).await.status, 200);
}
