//! What is still in flight on a slot, by both routers.

use std::time::{Duration, Instant};

use bluegreen_core::{LocalHost, Router, Slot};
use bluegreen_nginx::{NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{Client, get, open_web_socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::setup::{BLUE, GREEN, flags, links};
use crate::sites::Sites;

async fn reaches(router: &dyn Router, slot: Slot, count: u64) -> bool {
    let start = Instant::now();
    while router.in_flight(slot).await.unwrap() != Some(count) {
        if start.elapsed() > Duration::from_secs(5) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_the_old_slot_is_counted_and_falls_to_zero() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), Some(0));
    let socket = open_web_socket(&s.nginx.address(), "shop.test").await;
    let hold = || {
        let address = s.nginx.address();
        tokio::spawn(async move { get(&address, "shop.test", "/hold").await })
    };
    let held = [hold(), hold()];
    assert!(reaches(&s.router, Slot::Blue, 3).await);
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.router.in_flight(Slot::Green).await.unwrap(), Some(0));
    assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), Some(3));
    s.blue.release();
    for request in held {
        assert_eq!(request.await.unwrap().unwrap().body, "blue");
    }
    assert!(reaches(&s.router, Slot::Blue, 1).await, "the WebSocket is left");
    drop(socket);
    assert!(reaches(&s.router, Slot::Blue, 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_keep_alive_client_is_not_in_flight() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let mut client = Client::connect(&s.nginx.address(), "shop.test").await.unwrap();
    assert_eq!(client.get("/").await.unwrap().body, "blue");
    assert!(reaches(&s.router, Slot::Blue, 0).await);
    assert_eq!(client.get("/").await.unwrap().body, "blue", "its connection is still good");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_who_are_connected_to_the_app_are_not_counted() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let health_check = TcpStream::connect(s.blue.address()).await.unwrap();
    assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), Some(0));

    // Where nginx's own sockets cannot be told from others, too many are counted rather than too few.
    let nowhere =
        s.nginx.config("shop").layout(s.nginx.layout("shop").pid_file(s.nginx.path("no.pid").display().to_string()));
    let blind = NginxRouter::new(LocalHost::new(), nowhere).unwrap();
    assert_eq!(blind.in_flight(Slot::Blue).await.unwrap(), Some(1));
    drop(health_check);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_sent_upload_is_counted_when_uploads_are_streamed() {
    let Some(s) = flags(TestNginx::start(), |config| config.stream_uploads(true)).await else { return };
    s.first().await;
    let mut upload = TcpStream::connect(s.nginx.address()).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhello";
    upload.write_all(head.as_bytes()).await.unwrap();
    assert!(reaches(&s.router, Slot::Blue, 1).await);
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    upload.write_all(b"world").await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("blue:helloworld"), "{answer}");
    assert!(reaches(&s.router, Slot::Blue, 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reload_what_hangs_on_an_old_worker_is_counted() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let socket = open_web_socket(&s.nginx.address(), "shop.test").await;
    assert!(reaches(&s.router, Slot::Blue, 1).await);
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), Some(1));
    assert_eq!(s.router.in_flight(Slot::Green).await.unwrap(), Some(0));
    drop(socket);
    assert!(reaches(&s.router, Slot::Blue, 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_by_name_cannot_be_counted_and_an_empty_slot_has_nothing() {
    let Some(nginx) = TestNginx::start() else { return };
    let config = nginx.config("shop").slots((vec!["app.internal:4000"], vec![]));
    let router = NginxRouter::new(LocalHost::new(), config).unwrap();
    assert_eq!(router.in_flight(Slot::Blue).await.unwrap(), None);
    assert_eq!(router.in_flight(Slot::Green).await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_says_where_a_slot_listens_what_is_in_flight_is_not_known() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let socket = open_web_socket(&s.nginx.address(), "shop.test").await;
    // A site of the user's own, as nginx has loaded it, without the line that holds the addresses.
    let site = s.nginx.read("conf.d/shop.conf");
    let lines: Vec<_> = site.lines().filter(|line| !line.starts_with("# slots: ")).collect();
    std::fs::write(s.nginx.path("conf.d/shop.conf"), lines.join("\n")).unwrap();
    let own = s.nginx.config("shop").own_files(true);
    let routers: [Box<dyn Router>; 2] = [
        Box::new(NginxRouter::new(LocalHost::new(), own.clone()).unwrap()),
        Box::new(NginxSymlinkRouter::new(LocalHost::new(), own.clone()).unwrap()),
    ];
    for router in routers {
        assert_eq!(router.in_flight(Slot::Blue).await.unwrap(), None, "{router}");
    }
    assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), None, "a generated site that was damaged");
    let told = NginxRouter::new(LocalHost::new(), own.slots((vec![s.blue.address()], vec![]))).unwrap();
    assert_eq!(told.in_flight(Slot::Blue).await.unwrap(), Some(1));
    drop(socket);
}
