//! Steering the proxy from another process, and what survives its restart.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::support::*;
use bluegreen_core::testing::test_process;
use bluegreen_core::{
    Effect, ErrorKind, Instance, MetricSource, OperationId, Release, Router, Sample, ServiceName, Slot, Target,
};
use bluegreen_local::{Proxy, ProxyRouter};
use bluegreen_testkit::process::Killed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};

struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("proxy.sock")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("proxy.json")
    }

    async fn front(&self) -> Front {
        let front = Front::start(Proxy::builder().control_socket(self.socket()).state_file(self.state())).await;
        eventually("the control socket", async || UnixStream::connect(self.socket()).await.is_ok()).await;
        front
    }
}

#[tokio::test]
async fn the_socket_steers_the_proxy_like_the_router_in_its_process() {
    let site = Site::new();
    let front = site.front().await;
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let router = ProxyRouter::new(site.socket());
    assert_eq!(router.current().await.unwrap(), None);
    let error = router.shift(None, toward_green(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied));
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.attach(Slot::Green, &green.instance()).await.unwrap();
    router.shift(None, toward_green(0)).await.unwrap();
    assert_eq!(fetch(front.address, "/").await.text(), "blue");
    let error = router.shift(None, toward_green(100)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains("100 % blue"), "{error}");
    router.shift(Some(toward_green(0)), toward_green(100)).await.unwrap();
    router.shift(Some(toward_green(50)), toward_green(100)).await.unwrap();
    assert_eq!(fetch(front.address, "/").await.text(), "green");
    assert_eq!(router.current().await.unwrap(), Some(toward_green(100)));

    let address = front.address;
    let slow = tokio::spawn(async move { fetch(address, "/sleep/500").await });
    eventually("the count", async || router.in_flight(Slot::Green).await.unwrap() == Some(1)).await;
    slow.await.unwrap();
    assert_eq!(router.in_flight(Slot::Green).await.unwrap(), Some(0));

    let service = ServiceName::new("shop").unwrap();
    let target = Target::new(service, Slot::Green, Release::new("1").unwrap(), OperationId::new("op").unwrap());
    let samples = [
        router.sample(&target, &Instance::Absent).await.unwrap(),
        front.router.sample(&target, &Instance::Absent).await.unwrap(),
    ];
    assert_eq!(samples[0], samples[1]);
    assert!(matches!(&samples[0], Sample::Data(series) if series.values().all(|have| have.requests == 2)));
}

#[tokio::test]
async fn split_and_addresses_survive_a_restart_of_the_proxy() {
    let site = Site::new();
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let mut front = site.front().await;
    front.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    front.router.attach(Slot::Green, &green.instance()).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    front.router.shift(Some(toward_green(0)), toward_green(25)).await.unwrap();
    front.shut_down();
    within(10, &mut front.task).await.unwrap().unwrap();

    let front = site.front().await;
    assert_eq!(front.router.current().await.unwrap(), Some(toward_green(25)));
    let mut client = Client::connect(front.address).await;
    let mut greens = 0;
    for _ in 0..100 {
        greens += usize::from(client.get("/").await.unwrap().text() == "green");
    }
    assert_eq!(greens, 25);
}

#[tokio::test]
async fn a_broken_state_file_is_refused_by_name_and_nothing_is_served_by_guess() {
    let site = Site::new();
    std::fs::write(site.state(), "{\"format\":1,\"split\"").unwrap();
    let error = Proxy::builder().state_file(site.state()).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("proxy.json"), "{error}");
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_is_not_made() {
    let site = Site::new();
    let front = site.front().await;
    let blue = Service::start("blue").await;
    front.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    // The directory is gone, as a full or broken disk would be.
    let moved = site.directory.path().with_extension("moved");
    std::fs::rename(site.directory.path(), &moved).unwrap();
    let error = front.router.shift(None, toward_green(0)).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert_eq!(fetch(front.address, "/").await.status, 503);
    std::fs::rename(&moved, site.directory.path()).unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    assert_eq!(fetch(front.address, "/").await.text(), "blue");
}

#[tokio::test]
async fn a_call_that_is_cut_off_leaves_the_stored_and_the_applied_split_the_same() {
    let site = Site::new();
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = site.front().await;
    front.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    front.router.attach(Slot::Green, &green.instance()).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    for round in 0..100_u64 {
        let from = front.router.current().await.unwrap();
        let to = toward_green(if round % 2 == 0 { 100 } else { 0 });
        let _ = tokio::time::timeout(Duration::from_micros(round * 10), front.router.shift(from, to)).await;
        // A second call after the cut-off converges.
        let now = front.router.current().await.unwrap();
        front.router.shift(now, to).await.unwrap();
        assert_eq!(front.router.current().await.unwrap(), Some(to));
        let stored: serde_json::Value = serde_json::from_slice(&std::fs::read(site.state()).unwrap()).unwrap();
        assert_eq!(stored["split"]["green"], to.share(Slot::Green));
    }
}

#[tokio::test]
async fn the_socket_and_the_state_are_for_the_owner_alone_from_their_first_moment() {
    let site = Site::new();
    let watched = site.socket();
    let (seen, stop) = (
        std::sync::Arc::<std::sync::Mutex<Vec<u32>>>::default(),
        std::sync::Arc::<std::sync::atomic::AtomicBool>::default(),
    );
    let watcher = std::thread::spawn({
        let (seen, stop) = (seen.clone(), stop.clone());
        move || {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                if let Ok(found) = std::fs::symlink_metadata(&watched) {
                    seen.lock().unwrap().push(found.permissions().mode() & 0o777);
                }
            }
        }
    });
    for _ in 0..20 {
        let mut front = site.front().await;
        front.router.attach(Slot::Blue, &instance_at("127.0.0.1:1")).await.unwrap();
        assert_eq!(std::fs::metadata(site.state()).unwrap().permissions().mode() & 0o777, 0o600);
        front.shut_down();
        within(10, &mut front.task).await.unwrap().unwrap();
        assert!(!site.socket().exists(), "it goes with the proxy");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    watcher.join().unwrap();
    let seen = seen.lock().unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|mode| *mode == 0o600), "{seen:?}");
    let left: Vec<_> =
        std::fs::read_dir(site.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the state and the lock are left: {left:?}");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let site = Site::new();
    // What a proxy leaves behind that was killed.
    drop(std::os::unix::net::UnixListener::bind(site.socket()).unwrap());
    let front = site.front().await;
    assert_eq!(ProxyRouter::new(site.socket()).current().await.unwrap(), None);

    let second = Proxy::builder().control_socket(site.socket()).build().unwrap();
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let error = second.serve(listener, std::future::pending()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(ProxyRouter::new(site.socket()).current().await.unwrap(), None, "the first one still has it");
    drop(front);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_never_replaced_and_a_path_that_is_too_long_is_named() {
    let site = Site::new();
    std::fs::write(site.socket(), "precious").unwrap();
    let serve = async |path: &Path| {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        Proxy::builder()
            .control_socket(path)
            .build()
            .unwrap()
            .serve(listener, std::future::pending())
            .await
            .unwrap_err()
    };
    assert_eq!(serve(&site.socket()).await.kind(), ErrorKind::Conflict);
    assert_eq!(std::fs::read_to_string(site.socket()).unwrap(), "precious");
    assert!(!std::fs::symlink_metadata(site.socket()).unwrap().file_type().is_socket());
    let error = serve(&site.directory.path().join("x".repeat(100))).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn no_proxy_at_the_socket_is_unreachable_and_changed_nothing() {
    let site = Site::new();
    let router = ProxyRouter::new(site.socket());
    let error = router.shift(None, toward_green(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied));
    assert!(error.to_string().contains("proxy.sock"), "{error}");
}

#[tokio::test]
async fn hostile_peers_on_the_socket_are_refused_and_the_proxy_goes_on() {
    let site = Site::new();
    let front = site.front().await;
    let blue = Service::start("blue").await;
    let router = ProxyRouter::new(site.socket());
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.shift(None, toward_green(0)).await.unwrap();
    let questions: [&[u8]; 9] = [
        b"\n",
        b"{}\n",
        b"not json\n",
        b"\xff\xfe\n",
        b"{\"ask\":\"shutdown\"}\n",
        b"{\"ask\":\"attach\",\"slot\":\"blue\",\"address\":\"evil host:1\"}\n",
        b"{\"ask\":\"attach\",\"slot\":\"red\",\"address\":\"127.0.0.1:1\"}\n",
        b"{\"ask\":\"shift\",\"from\":null,\"to\":{\"blue\":90,\"green\":90}}\n",
        &[b'x'; 1 << 20],
    ];
    for question in questions {
        let mut stream = UnixStream::connect(site.socket()).await.unwrap();
        let _ = stream.write_all(question).await;
        let mut answer = String::new();
        let _ = within(10, stream.read_to_string(&mut answer)).await;
        assert!(answer.is_empty() || answer.contains("\"answer\":\"refused\""), "{answer}");
    }
    // Peers that say nothing take no place for long, and do not keep others out.
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(UnixStream::connect(site.socket()).await.unwrap());
    }
    assert_eq!(within(20, router.current()).await.unwrap(), Some(toward_green(0)));
    assert_eq!(fetch(front.address, "/").await.text(), "blue");
}

/// Not a test of its own: the next one runs it as a proxy in a process of its own.
#[tokio::test]
#[ignore = "a helper process of another test"]
async fn proxy_process() {
    let Some(directory) = std::env::var_os("TEST_SITE") else { return };
    let directory = PathBuf::from(directory);
    let address = std::fs::read_to_string(directory.join("listen")).unwrap().parse().unwrap();
    Proxy::builder()
        .listen(address)
        .control_socket(directory.join("proxy.sock"))
        .state_file(directory.join("proxy.json"))
        .build()
        .unwrap()
        // Ends by itself if nobody kills it.
        .run(tokio::time::sleep(Duration::from_secs(60)))
        .await
        .unwrap();
}

fn proxy_of(site: &Site) -> Killed {
    let mut command = test_process(concat!(module_path!(), "::proxy_process"));
    Killed::spawn(command.env("TEST_SITE", site.directory.path()).stdout(Stdio::null()).stderr(Stdio::null()))
}

#[tokio::test]
async fn a_proxy_process_that_is_killed_begins_again_where_it_was() {
    let site = Site::new();
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    // A port that was free a moment ago.
    let address = TcpListener::bind(LOOPBACK).await.unwrap().local_addr().unwrap();
    std::fs::write(site.directory.path().join("listen"), address.to_string()).unwrap();
    let router = ProxyRouter::new(site.socket());
    let mut process = proxy_of(&site);
    eventually("the first start", async || router.current().await.is_ok()).await;
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.attach(Slot::Green, &green.instance()).await.unwrap();
    router.shift(None, toward_green(0)).await.unwrap();
    for percent in [100, 0, 100] {
        let from = router.current().await.unwrap();
        router.shift(from, toward_green(percent)).await.unwrap();
        // Right after the shift was confirmed.
        drop(process);
        assert_eq!(router.current().await.unwrap_err().kind(), ErrorKind::Unreachable);
        process = proxy_of(&site);
        eventually("the next start", async || router.current().await.is_ok()).await;
        assert_eq!(router.current().await.unwrap(), Some(toward_green(percent)));
        assert_eq!(fetch(address, "/").await.text(), if percent == 100 { "green" } else { "blue" });
    }
}
