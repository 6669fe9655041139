//! `PrometheusPage` against pages of a real Prometheus client, and against servers that misbehave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::gates::{BadRequests, RateGate};
use bluegreen_core::{
    Counters, Endpoint, Error, ErrorKind, Gate, Instance, LocalHost, MetricSource, Sample, Secret, Verdict, Window,
};
use bluegreen_http::{PrometheusPage, PrometheusPageBuilder};
use bluegreen_testkit::http::{Server, answer, refusing, running, target};
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

fn by_status() -> PrometheusPageBuilder {
    PrometheusPage::builder().by_label("http_requests_total", r#"status=~"5..""#)
}

async fn sample(builder: PrometheusPageBuilder, instance: &Instance) -> Result<Sample, Error> {
    builder.build().unwrap().sample(&target(), instance).await
}

async fn error(builder: PrometheusPageBuilder, instance: &Instance) -> Error {
    sample(builder, instance).await.unwrap_err()
}

/// The counters of one server.
async fn read(source: &PrometheusPage, server: &Server) -> (u64, u64) {
    let Sample::Data(series) = source.sample(&target(), &server.instance()).await.unwrap() else { panic!("no data") };
    let Counters { requests, bad } = series[&format!("http at {}", server.address)];
    assert_eq!(series.len(), 1);
    (requests, bad)
}

/// A server whose page is written by the Prometheus client at each scrape.
async fn exporter(registry: &Registry) -> Server {
    let registry = registry.clone();
    Server::answering(move |request| {
        assert!(request.starts_with("GET /metrics HTTP/1.1\r\n"), "{request}");
        let mut page = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut page).unwrap();
        answer("200 OK", &["content-type: text/plain; version=0.0.4"], page)
    })
    .await
}

async fn page(text: &'static str) -> Server {
    Server::answering(move |_| answer("200 OK", &[], text)).await
}

#[tokio::test]
async fn what_a_service_counts_is_read_by_series() {
    let registry = Registry::new();
    let requests = IntCounterVec::new(Opts::new("http_requests_total", "Requests."), &["path", "status"]).unwrap();
    registry.register(Box::new(requests.clone())).unwrap();
    let server = exporter(&registry).await;

    let Sample::NoData { reason } = sample(by_status(), &server.instance()).await.unwrap() else { panic!() };
    assert!(reason.contains("the page has no http_requests_total"), "{reason}");

    let source = by_status().build().unwrap();
    requests.with_label_values(&["/orders/{id}", "200"]).inc_by(40);
    requests.with_label_values(&["/a,b=\"c\"", "200"]).inc_by(2);
    assert_eq!(read(&source, &server).await, (42, 0));

    requests.with_label_values(&["/orders/{id}", "500"]).inc();
    requests.with_label_values(&["/orders/{id}", "503"]).inc();
    requests.with_label_values(&["/orders/{id}", "404"]).inc();
    assert_eq!(read(&source, &server).await, (45, 2));
    assert_eq!(read(&source, &server).await, (45, 2));
}

#[tokio::test]
async fn slow_requests_are_counted_exactly_by_a_bucket() {
    let registry = Registry::new();
    let options = HistogramOpts::new("http_seconds", "Time.").buckets(vec![0.1, 0.5, 2.5]);
    let seconds = HistogramVec::new(options, &["path"]).unwrap();
    registry.register(Box::new(seconds.clone())).unwrap();
    let server = exporter(&registry).await;
    for time in [0.05, 0.1, 0.5, 0.5001, 2.0, 60.0] {
        seconds.with_label_values(&["/"]).observe(time);
    }
    let slow = |bound| PrometheusPage::builder().by_bucket("http_seconds", bound);
    assert_eq!(read(&slow(0.5).build().unwrap(), &server).await, (6, 3));
    assert_eq!(read(&slow(2.5).build().unwrap(), &server).await, (6, 1));
    let error = error(slow(1.0), &server.instance()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("has no bucket le=\"1\"; it has 0.1, 0.5, 2.5, +Inf"), "{error}");
}

#[tokio::test]
async fn counts_only_grow_when_a_process_restarts_and_other_endpoints_are_not_touched() {
    // When it started, requests, and bad ones.
    let now = Arc::new(Mutex::new((10, 100_u64, 1_u64)));
    let shown = Arc::clone(&now);
    let restarting = Server::answering(move |_| {
        let (started, good, bad) = *shown.lock().unwrap();
        let line = |status, count| format!("http_requests_total{{status=\"{status}\"}} {count}\n");
        answer("200 OK", &[], format!("process_start_time_seconds {started}\n") + &line(200, good) + &line(500, bad))
    })
    .await;
    let steady = page("http_requests_total{status=\"200\"} 50\n").await;
    let instance = running([&restarting, &steady].map(|server| Endpoint::http(&server.address)));
    let source = by_status().build().unwrap();
    let read = || async {
        let Sample::Data(series) = source.sample(&target(), &instance).await.unwrap() else { panic!() };
        let of = |server: &Server| series[&format!("http at {}", server.address)];
        (of(&restarting), of(&steady))
    };
    let steadily = Counters { requests: 50, bad: 0 };
    assert_eq!(read().await, (Counters { requests: 101, bad: 1 }, steadily));
    *now.lock().unwrap() = (60, 3, 0);
    assert_eq!(read().await, (Counters { requests: 104, bad: 1 }, steadily));
    *now.lock().unwrap() = (60, 5, 2);
    assert_eq!(read().await, (Counters { requests: 108, bad: 3 }, steadily));
    *now.lock().unwrap() = (90, 200, 4);
    assert_eq!(read().await, (Counters { requests: 312, bad: 7 }, steadily), "more than before it restarted");
}

#[tokio::test]
async fn a_restart_that_the_page_does_not_tell_counts_once_it_has_settled() {
    let requests = Arc::new(AtomicU64::new(500));
    let shown = Arc::clone(&requests);
    let server = Server::answering(move |_| {
        let now = shown.fetch_add(1, Ordering::SeqCst);
        answer("200 OK", &[], format!("http_requests_total{{status=\"500\"}} {now}\n"))
    })
    .await;
    let source = by_status().build().unwrap();
    assert_eq!(read(&source, &server).await, (505, 505));
    requests.store(0, Ordering::SeqCst);
    for _ in 0..8 {
        let sample = source.sample(&target(), &server.instance()).await.unwrap();
        assert!(matches!(&sample, Sample::NoData { reason } if reason.contains("a counter fell")), "{sample:?}");
    }
    assert_eq!(read(&source, &server).await, (513, 513));
}

/// A page that one of several processes answers, each with its own counts and start.
async fn workers(starts: &'static [Option<f64>], which: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Server {
    let turn = AtomicU64::new(0);
    Server::answering(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let worker = which(turn) % starts.len() as u64;
        let started =
            starts[worker as usize].map_or_else(String::new, |at| format!("process_start_time_seconds {at}\n"));
        let page = format!("{started}http_requests_total{{status=\"200\"}} {}\n", 1300 * worker + turn);
        answer("200 OK", &[], page)
    })
    .await
}

#[tokio::test]
async fn a_page_that_several_workers_answer_is_never_judged() {
    let alike = &[Some(10.0), Some(10.0)];
    let apart = &[Some(10.25), Some(10.5), Some(12.0), Some(700.0)];
    for (starts, by_chance) in
        [(&alike[..], false), (alike, true), (apart, false), (apart, true), (&[None, None, None], false)]
    {
        let server =
            workers(starts, move |turn| if by_chance { fastrand::Rng::with_seed(turn).u64(..) } else { turn }).await;
        let source = by_status().build().unwrap();
        let gate = RateGate::builder(BadRequests::Failed, source.clone()).warm_up(Duration::ZERO).build().unwrap();
        let mut verdicts = Vec::new();
        for second in 0..12 {
            let mut window = Window::new(1, target(), server.instance());
            window.elapsed = Duration::from_secs(second);
            verdicts.push(gate.judge(&window).await.unwrap());
        }
        let judged = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Pass { .. } | Verdict::Fail { .. }));
        let last = verdicts.last().unwrap().to_string();
        assert!(!judged, "{starts:?}: {verdicts:?}");
        assert!(last.starts_with("hold: ") && last.contains("/metrics of http at "), "{last}");
        assert!(last.ends_with("several processes answer here: aggregate them, or scrape each"), "{last}");
    }
}

#[tokio::test]
async fn an_endpoint_without_the_metric_counts_zero_beside_one_that_has_it() {
    let busy = page("http_requests_total{status=\"200\"} 50\n").await;
    let fresh = page("").await;
    let instance = running([&busy, &fresh].map(|server| Endpoint::http(&server.address)));
    let Sample::Data(series) = sample(by_status(), &instance).await.unwrap() else { panic!() };
    assert_eq!(series[&format!("http at {}", fresh.address)], Counters::default());
    let none = running([&fresh, &fresh].map(|server| Endpoint::http(&server.address)));
    assert!(matches!(sample(by_status(), &none).await.unwrap(), Sample::NoData { .. }));
}

#[tokio::test]
async fn another_version_in_the_same_place_starts_counts_of_its_own() {
    let server = page("http_requests_total{status=\"500\"} 7\n").await;
    let source = by_status().build().unwrap();
    assert_eq!(read(&source, &server).await, (7, 7));
    let mut next = target();
    next.release = bluegreen_core::Release::new("3.0").unwrap();
    let Sample::Data(series) = source.sample(&next, &server.instance()).await.unwrap() else { panic!() };
    assert_eq!(series.into_values().next(), Some(Counters { requests: 7, bad: 7 }));
}

#[tokio::test]
async fn samples_at_the_same_time_never_take_an_old_page_for_a_restart() {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    // Each page is one request ahead of the one before, and every other one is long under way.
    let server = Server::raw(move |mut stream| {
        let now = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            bluegreen_testkit::http::read_request(&mut stream).await;
            tokio::time::sleep(Duration::from_millis(if now.is_multiple_of(2) { 30 } else { 0 })).await;
            let page = answer("200 OK", &[], format!("http_requests_total{{status=\"500\"}} {now}\n"));
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &page).await;
        }
    })
    .await;
    let source = by_status().build().unwrap();
    futures::future::join_all((0..8).map(|_| read(&source, &server))).await;
    // The first sample reads the page six times.
    assert_eq!(read(&source, &server).await, (14, 14));
}

#[tokio::test]
async fn a_gate_fails_a_release_by_errors_whose_lines_appear_with_them() {
    let registry = Registry::new();
    let requests = IntCounterVec::new(Opts::new("http_requests_total", "Requests."), &["path", "status"]).unwrap();
    registry.register(Box::new(requests.clone())).unwrap();
    let server = exporter(&registry).await;
    let gate =
        RateGate::builder(BadRequests::Failed, by_status().build().unwrap()).warm_up(Duration::ZERO).build().unwrap();
    let judge = async |seconds| {
        let mut window = Window::new(1, target(), server.instance());
        window.elapsed = Duration::from_secs(seconds);
        gate.judge(&window).await.unwrap()
    };
    requests.with_label_values(&["/", "200"]).inc_by(10);
    assert!(matches!(judge(1).await, Verdict::Undecided { .. }));
    // Every error is on a path of its own, so the first of its line.
    let paths = ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"];
    for (path, seconds) in paths.into_iter().zip((3..).step_by(2)) {
        requests.with_label_values(&["/", "200"]).inc_by(49);
        requests.with_label_values(&[path, "500"]).inc();
        let verdict = judge(seconds).await;
        if matches!(&verdict, Verdict::Fail { reason } if reason.contains("4 of 200")) {
            return;
        }
        assert!(matches!(verdict, Verdict::Undecided { .. }), "{verdict}");
    }
    panic!("it was not failed");
}

#[tokio::test]
async fn an_endpoint_of_another_name_a_path_a_host_and_headers_are_used() {
    let server = Server::answering(|request| {
        let as_expected = request.starts_with("GET /admin/stats?x=1 HTTP/1.1")
            && request.contains("authorization: Bearer t0ken\r\n")
            && request.contains("host: shop.example.com\r\n")
            && request.contains("accept: text/plain;version=0.0.4\r\n");
        if as_expected {
            answer("200 OK", &[], "requests 5\nfailures 2\n")
        } else {
            answer("400 Bad Request", &[], request)
        }
    })
    .await;
    let instance = running([Endpoint::http("127.0.0.1:1"), Endpoint::named("admin", &server.address)]);
    let builder = PrometheusPage::builder()
        .by_counters("requests", "failures")
        .endpoint("admin")
        .path("/admin/stats?x=1")
        .through(LocalHost::new())
        .host_header("shop.example.com")
        .bearer(Secret::new("t0ken"));
    let Sample::Data(series) = sample(builder, &instance).await.unwrap() else { panic!() };
    assert_eq!(series.into_values().next(), Some(Counters { requests: 5, bad: 2 }));
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_never_zero() {
    for (text, expected) in [
        ("<html>Please log in</html>", "this is not a page of metrics: line 1"),
        ("http_requests_total{status=\"500\"} NaN\n", "its value is NaN"),
        ("http_requests_total{code=\"500\"} 1\n", "has a label status; their labels: code"),
        ("http_requests_total{status=\"200\"} 1\nhalf_a_li", "line 2"),
    ] {
        let server = page(text).await;
        let error = error(by_status(), &server.instance()).await;
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().starts_with("scrape a metrics page: "), "{error}");
        assert_eq!(error.context("url"), Some(format!("http://{}/metrics", server.address).as_str()));
    }
}

#[tokio::test]
async fn a_source_that_cannot_be_asked_is_an_error_of_the_right_kind() {
    for (status, kind) in [
        ("401 Unauthorized", ErrorKind::Unauthorized),
        ("404 Not Found", ErrorKind::NotFound),
        ("500 Internal Server Error", ErrorKind::Unexpected),
        ("503 Service Unavailable", ErrorKind::Unreachable),
        ("302 Found", ErrorKind::Unexpected),
        ("204 No Content", ErrorKind::Unexpected),
    ] {
        let server = Server::answering(move |_| answer(status, &["location: /login"], "")).await;
        assert_eq!(error(by_status(), &server.instance()).await.kind(), kind, "{status}");
    }
    let refusing = refusing();
    let refused = error(by_status(), &running([Endpoint::http(&refusing.address)])).await;
    assert_eq!(refused.kind(), ErrorKind::Unreachable);
    assert!(refused.to_string().contains("Connection refused"), "{refused}");
    assert_eq!(error(by_status(), &Instance::Absent).await.kind(), ErrorKind::NotFound);

    let hanging = Server::raw(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let late = error(by_status().timeout(Duration::from_millis(100)), &hanging.instance()).await;
    assert_eq!(late.kind(), ErrorKind::Timeout);
    assert!(late.is_retryable());

    let binary = Server::answering(|_| answer("200 OK", &[], b"a\xff 1\n")).await;
    assert!(error(by_status(), &binary.instance()).await.to_string().contains("utf-8"));
    let half =
        Server::sending("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhttp_requests_total{status=\"200\"} 1\n").await;
    assert_eq!(error(by_status(), &half.instance()).await.kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_page_without_end_is_refused() {
    let server = Server::answering(|_| answer("200 OK", &[], vec![b'\n'; (16 << 20) + 1])).await;
    let error = error(by_status().timeout(Duration::from_secs(30)), &server.instance()).await;
    assert!(error.to_string().contains("longer than 16777216 bytes"), "{error}");
}

#[tokio::test]
async fn a_secret_that_the_page_repeats_is_masked() {
    let server = Server::answering(|request| answer("403 Forbidden", &[], request)).await;
    let error = error(by_status().bearer(Secret::new("t0ken")), &server.instance()).await;
    assert!(error.to_string().contains("Bearer ***") && !error.chain().contains("t0ken"), "{error}");
}

#[test]
fn what_cannot_count_is_refused_before_anything_is_sent() {
    for bad in [
        PrometheusPage::builder().by_label("", "a=\"b\""),
        PrometheusPage::builder().by_label("sum(x)", "a=\"b\""),
        PrometheusPage::builder().by_label("x", ""),
        PrometheusPage::builder().by_label("x", "a=b"),
        PrometheusPage::builder().by_label("x", "a=~\"(\""),
        PrometheusPage::builder().by_counters("x", ""),
        PrometheusPage::builder().by_bucket("x", f64::NAN),
        PrometheusPage::builder().by_bucket("x", f64::INFINITY),
        PrometheusPage::builder().by_bucket("x_bucket", 0.5),
        by_status().path("metrics"),
        by_status().header("a b", "c"),
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(bad.build().map(|page| page.to_string()).unwrap_err().kind(), ErrorKind::Config, "{shown}");
    }
}
