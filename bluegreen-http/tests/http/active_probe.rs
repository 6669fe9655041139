//! `ActiveProbe` against servers on loopback: what it counts, and that it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bluegreen_core::{Counters, Endpoint, ErrorKind, Instance, MetricSource, Sample};
use bluegreen_http::{ActiveProbe, ActiveProbeBuilder, HttpCheck};
use bluegreen_testkit::http::{Server, answer, read_request, refusing, running, target};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

fn probe(per_second: u32) -> ActiveProbeBuilder {
    ActiveProbe::builder(HttpCheck::builder("/").timeout(Duration::from_secs(1)).build().unwrap(), per_second)
}

async fn total(probe: &ActiveProbe, instance: &Instance) -> Counters {
    let Sample::Data(series) = probe.sample(&target(), instance).await.unwrap() else { panic!("no data") };
    Counters { requests: series.values().map(|one| one.requests).sum(), bad: series.values().map(|one| one.bad).sum() }
}

/// Samples until so many requests are counted.
async fn until(probe: &ActiveProbe, instance: &Instance, requests: u64) -> Counters {
    for _ in 0..500 {
        let counters = total(probe, instance).await;
        if counters.requests >= requests {
            return counters;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("less than {requests} requests in 10 s");
}

#[tokio::test]
async fn nothing_is_sent_before_the_first_sample_and_then_at_the_rate() {
    let server = Server::answering(|_| answer("200 OK", &[], "")).await;
    let probe = probe(50).build().unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.connections(), 0);
    assert_eq!(total(&probe, &server.instance()).await, Counters::default());
    let began = std::time::Instant::now();
    let counters = until(&probe, &server.instance(), 40).await;
    let (rate, bad) = (counters.requests as f64 / began.elapsed().as_secs_f64(), counters.bad);
    assert!(rate < 60.0, "{rate} a second instead of 50");
    assert_eq!(bad, 0);
}

#[tokio::test]
async fn failed_and_slow_requests_are_bad_and_each_is_counted_once() {
    let turn = Arc::new(AtomicUsize::new(0));
    let turns = Arc::clone(&turn);
    let server = Server::raw(move |mut stream| {
        let turn = turns.fetch_add(1, Ordering::SeqCst);
        async move {
            read_request(&mut stream).await;
            match turn % 4 {
                0 => drop(stream.write_all(&answer("200 OK", &[], "")).await),
                1 => drop(stream.write_all(&answer("500 Internal Server Error", &[], "")).await),
                2 => drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await),
                _ => {
                    sleep(Duration::from_millis(400)).await;
                    let _ = stream.write_all(&answer("200 OK", &[], "")).await;
                }
            }
        }
    })
    .await;
    let probe = probe(40).slower_than(Duration::from_millis(200)).build().unwrap();
    until(&probe, &server.instance(), 40).await;
    // Let what is under way arrive, so that whole rounds of four can be compared.
    let counters = total(&probe, &server.instance()).await;
    let share = counters.bad as f64 / counters.requests as f64;
    assert!((0.6..0.8).contains(&share), "3 of 4 are bad, and counted were {counters:?}");
    let sent = turn.load(Ordering::SeqCst) as u64;
    assert!(counters.requests <= sent && sent <= counters.requests + 40, "{sent} sent, {counters:?}");
}

#[tokio::test]
async fn a_refusing_instance_is_all_bad() {
    let refusing = refusing();
    let probe = probe(100).build().unwrap();
    let counters = until(&probe, &running([Endpoint::http(&refusing.address)]), 20).await;
    assert_eq!(counters.bad, counters.requests);
}

#[tokio::test]
async fn endpoints_take_turns_and_have_counters_of_their_own() {
    let good = Server::answering(|_| answer("200 OK", &[], "")).await;
    let ill = Server::answering(|_| answer("500 Internal Server Error", &[], "")).await;
    let instance = running([&good, &ill].map(|server| Endpoint::http(&server.address)));
    let probe = probe(50).build().unwrap();
    until(&probe, &instance, 20).await;
    let Sample::Data(series) = probe.sample(&target(), &instance).await.unwrap() else { panic!() };
    let of = |server: &Server| series[&format!("probes of http at {}", server.address)];
    assert_eq!(of(&good).bad, 0);
    assert_eq!(of(&ill).bad, of(&ill).requests);
    assert!(of(&good).requests.abs_diff(of(&ill).requests) <= 2, "{series:?}");
}

#[tokio::test]
async fn two_instances_are_probed_and_counted_apart() {
    let good = Server::answering(|_| answer("200 OK", &[], "")).await;
    let ill = Server::answering(|_| answer("500 Internal Server Error", &[], "")).await;
    let probe = probe(50).build().unwrap();
    total(&probe, &good.instance()).await;
    until(&probe, &ill.instance(), 10).await;
    assert_eq!(until(&probe, &good.instance(), 10).await.bad, 0);
}

#[tokio::test]
async fn it_stops_when_nobody_samples_and_goes_on_counting_when_someone_does_again() {
    let server = Server::answering(|_| answer("200 OK", &[], "")).await;
    let probe = probe(50).idle_after(Duration::from_millis(200)).build().unwrap();
    let before = until(&probe, &server.instance(), 5).await;
    sleep(Duration::from_millis(500)).await;
    let stopped = server.connections();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.connections(), stopped, "it went on without being sampled");
    assert!(total(&probe, &server.instance()).await.requests >= before.requests);
    until(&probe, &server.instance(), before.requests + 20).await;
    assert!(server.connections() > stopped);
}

#[tokio::test]
async fn dropping_it_ends_every_request_under_way() {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let server = Server::raw(move |mut stream| {
        let open = Arc::clone(&counted);
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            read_request(&mut stream).await;
            // Never answers; ends when the client closes.
            read_request(&mut stream).await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let check = HttpCheck::builder("/").timeout(Duration::from_secs(10)).build().unwrap();
    let probe = ActiveProbe::builder(check, 50).build().unwrap();
    total(&probe, &server.instance()).await;
    while open.load(Ordering::SeqCst) < 5 {
        sleep(Duration::from_millis(10)).await;
    }
    drop(probe);
    for _ in 0..100 {
        if open.load(Ordering::SeqCst) == 0 {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(open.load(Ordering::SeqCst), 0, "connections are left open");
    let connections = server.connections();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(server.connections(), connections, "it went on after it was dropped");
}

#[tokio::test]
async fn a_hanging_instance_never_has_more_requests_than_rate_times_timeout() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, highest) = (Arc::clone(&open), Arc::clone(&most));
    let server = Server::raw(move |mut stream| {
        let (open, most) = (Arc::clone(&counted), Arc::clone(&highest));
        async move {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while read_request(&mut stream).await.is_some() {}
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let check = HttpCheck::builder("/").timeout(Duration::from_millis(200)).build().unwrap();
    let probe = ActiveProbe::builder(check, 50).build().unwrap();
    let counters = until(&probe, &server.instance(), 30).await;
    assert_eq!(counters.bad, counters.requests);
    // 50 x 0.2 s, and some for connections that the server has not seen closed yet.
    assert!(most.load(Ordering::SeqCst) <= 10 + 5, "{most:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_counts_as_no_request_and_is_returned() {
    #[derive(Debug)]
    struct Unreachable(Arc<AtomicBool>);
    impl std::fmt::Display for Unreachable {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("web1")
        }
    }
    #[async_trait::async_trait]
    impl bluegreen_core::Host for Unreachable {
        async fn run(&self, _: &bluegreen_core::Command) -> bluegreen_core::Result<bluegreen_core::Output> {
            panic!("no commands")
        }
        async fn read(&self, _: &str) -> bluegreen_core::Result<Option<Vec<u8>>> {
            panic!("no files")
        }
        async fn write(&self, _: &str, _: &[u8], _: u32) -> bluegreen_core::Result<()> {
            panic!("no files")
        }
        async fn upload(
            &self,
            _: &std::path::Path,
            _: &str,
            _: &bluegreen_core::Progress,
        ) -> bluegreen_core::Result<()> {
            panic!("no files")
        }
        async fn download(
            &self,
            _: &str,
            _: &std::path::Path,
            _: &bluegreen_core::Progress,
        ) -> bluegreen_core::Result<()> {
            panic!("no files")
        }
        async fn symlink(&self, _: &str, _: &str) -> bluegreen_core::Result<()> {
            panic!("no files")
        }
        async fn tunnel(&self, address: &str) -> bluegreen_core::Result<bluegreen_core::Tunnel> {
            if self.0.load(Ordering::SeqCst) {
                return Ok(bluegreen_core::Tunnel::direct(address));
            }
            Err(bluegreen_core::Error::new(ErrorKind::Unreachable, "no route"))
        }
    }
    let server = Server::answering(|_| answer("200 OK", &[], "")).await;
    let up = Arc::new(AtomicBool::new(false));
    let check =
        HttpCheck::builder("/").through(Unreachable(Arc::clone(&up))).timeout(Duration::from_secs(1)).build().unwrap();
    let probe = ActiveProbe::builder(check, 50).build().unwrap();
    assert_eq!(total(&probe, &server.instance()).await, Counters::default());
    sleep(Duration::from_millis(200)).await;
    let error = probe.sample(&target(), &server.instance()).await.unwrap_err();
    assert_eq!((error.kind(), error.context("host")), (ErrorKind::Unreachable, Some("web1")));
    up.store(true, Ordering::SeqCst);
    sleep(Duration::from_millis(200)).await;
    // The last error of the time before may still be reported once.
    let _ = probe.sample(&target(), &server.instance()).await;
    assert_eq!(until(&probe, &server.instance(), 5).await.bad, 0);
}

#[test]
fn load_without_bounds_is_refused() {
    let check = |timeout| HttpCheck::builder("/").timeout(timeout).build().unwrap();
    for bad in [
        ActiveProbe::builder(check(Duration::from_secs(1)), 0),
        ActiveProbe::builder(check(Duration::from_secs(1)), 1001),
        ActiveProbe::builder(check(Duration::from_secs(60)), 20),
        ActiveProbe::builder(check(Duration::from_secs(1)), 1).idle_after(Duration::ZERO),
    ] {
        assert_eq!(bad.build().unwrap_err().kind(), ErrorKind::Config);
    }
    assert!(ActiveProbe::builder(check(Duration::from_secs(4)), 250).build().is_ok());
}

#[tokio::test]
async fn a_missing_instance_is_an_error() {
    let error = probe(1).build().unwrap().sample(&target(), &Instance::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
