//! `PrometheusPage` against pages of a real Prometheus client, and against servers that misbehave.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::{Counters, Endpoint, Error, ErrorKind, Instance, LocalHost, MetricSource, Sample, Secret};
use bluegreen_http::{PrometheusPage, PrometheusPageBuilder};
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};
use support::{Server, answer, refusing, running, target};

fn by_status() -> PrometheusPageBuilder {
    PrometheusPage::by_label("http_requests_total", r#"status=~"5..""#)
}

async fn sample(builder: PrometheusPageBuilder, instance: &Instance) -> Result<Sample, Error> {
    builder.build().unwrap().sample(&target(), instance).await
}

async fn error(builder: PrometheusPageBuilder, instance: &Instance) -> Error {
    sample(builder, instance).await.unwrap_err()
}

/// The counters of all series, by name without the server's address.
async fn series(builder: PrometheusPageBuilder, server: &Server) -> BTreeMap<String, (u64, u64)> {
    let Sample::Data(series) = sample(builder, &server.instance()).await.unwrap() else { panic!("no data") };
    let place = format!("http at {}: ", server.address);
    let bare = |name: &str| name.strip_prefix(&place).unwrap().to_owned();
    series.iter().map(|(name, Counters { requests, bad })| (bare(name), (*requests, *bad))).collect()
}

fn map(pairs: &[(&str, u64, u64)]) -> BTreeMap<String, (u64, u64)> {
    pairs.iter().map(|(name, requests, bad)| ((*name).to_owned(), (*requests, *bad))).collect()
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

    requests.with_label_values(&["/orders/{id}", "200"]).inc_by(40);
    requests.with_label_values(&["/a,b=\"c\"", "200"]).inc_by(2);
    let expected = map(&[
        ("http_requests_total{path=\"/a,b=\\\"c\\\"\"}", 2, 0),
        ("http_requests_total{path=\"/orders/{id}\"}", 40, 0),
    ]);
    assert_eq!(series(by_status(), &server).await, expected);

    requests.with_label_values(&["/orders/{id}", "500"]).inc();
    requests.with_label_values(&["/orders/{id}", "503"]).inc();
    let after = series(by_status(), &server).await;
    assert_eq!(after["http_requests_total{path=\"/orders/{id}\"}"], (42, 2));
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
    let slow = |bound| PrometheusPage::by_bucket("http_seconds", bound);
    assert_eq!(series(slow(0.5), &server).await, map(&[("http_seconds{path=\"/\"}", 6, 3)]));
    assert_eq!(series(slow(2.5), &server).await, map(&[("http_seconds{path=\"/\"}", 6, 1)]));
    let error = error(slow(1.0), &server.instance()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("has no bucket le=\"1\"; it has 0.1, 0.5, 2.5, +Inf"), "{error}");
}

#[tokio::test]
async fn the_restart_of_one_process_shows_as_the_reset_of_its_series_alone() {
    let counts = Arc::new(Mutex::new(100_u64));
    let shown = Arc::clone(&counts);
    let restarting = Server::answering(move |_| {
        let count = *shown.lock().unwrap();
        answer(
            "200 OK",
            &[],
            format!("http_requests_total{{status=\"200\"}} {count}\nhttp_requests_total{{status=\"500\"}} 1\n"),
        )
    })
    .await;
    let steady = page("http_requests_total{status=\"200\"} 50\n").await;
    let instance = running([&restarting, &steady].map(|server| Endpoint::http(&server.address)));
    let read = || async {
        // The steady one has no 500 yet; its only label is the one that tells bad from good.
        let Sample::Data(series) = sample(by_status(), &instance).await.unwrap() else { panic!() };
        assert_eq!(series.len(), 2);
        let of = |server: &Server| series[&format!("http at {}: http_requests_total", server.address)];
        (of(&restarting), of(&steady))
    };
    let (before, other_before) = read().await;
    *counts.lock().unwrap() = 3;
    let (after, other_after) = read().await;
    assert_eq!((before.requests, after.requests), (101, 4));
    assert_eq!(other_before, other_after);
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
    let builder = PrometheusPage::by_counters("requests", "failures")
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
        PrometheusPage::by_label("", "a=\"b\""),
        PrometheusPage::by_label("sum(x)", "a=\"b\""),
        PrometheusPage::by_label("x", ""),
        PrometheusPage::by_label("x", "a=b"),
        PrometheusPage::by_label("x", "a=~\"(\""),
        PrometheusPage::by_counters("x", ""),
        PrometheusPage::by_bucket("x", f64::NAN),
        PrometheusPage::by_bucket("x", f64::INFINITY),
        PrometheusPage::by_bucket("x_bucket", 0.5),
        by_status().path("metrics"),
        by_status().header("a b", "c"),
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(bad.build().map(|page| page.to_string()).unwrap_err().kind(), ErrorKind::Config, "{shown}");
    }
}
