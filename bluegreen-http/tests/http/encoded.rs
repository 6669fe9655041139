//! Pages that come compressed although nobody asked for that.

use std::io::Write;

use bluegreen_core::{Health, HealthCheck, MetricSource, Sample};
use bluegreen_http::{HttpCheck, HttpCheckBuilder, PrometheusPage, SmokeTest, Step};
use bluegreen_testkit::http::{Server, answer, target};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Not brotli, but nobody can tell: what matters is that no part of it is shown.
const BROTLI: &[u8] = b"\x0b\x02\x80garbled\x03";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

async fn zipped(status: &'static str, text: &str) -> Server {
    let bytes = gzip(text);
    Server::answering(move |_| answer(status, &["content-encoding: gzip"], &bytes)).await
}

async fn brotli() -> Server {
    Server::answering(|_| answer("200 OK", &["content-encoding: br"], BROTLI)).await
}

async fn check(server: &Server, builder: HttpCheckBuilder) -> Health {
    builder.build().unwrap().check(&target(), &server.instance()).await.unwrap()
}

#[tokio::test]
async fn a_health_page_in_gzip_is_read_as_it_was_meant() {
    let server = zipped("200 OK", r#"{"status":"up","version":"2.0"}"#).await;
    let health =
        check(&server, HttpCheck::builder("/health").version_from_json("/version").expect_json("/status", "up")).await;
    assert_eq!(health, Health::healthy_as("2.0".parse().unwrap()));
    let server = zipped("503 Service Unavailable", "the database is down").await;
    let Health::Unhealthy { reason } = check(&server, HttpCheck::builder("/health")).await else { panic!() };
    assert!(reason.ends_with("got 503 Service Unavailable: `the database is down`"), "{reason}");
}

#[tokio::test]
async fn an_encoding_that_is_not_decoded_is_named_and_no_garbage_is_shown() {
    let server = brotli().await;
    assert_eq!(check(&server, HttpCheck::builder("/health")).await, Health::healthy(), "the status is enough");
    for wanting in [
        HttpCheck::builder("/health").expect_body_contains("up"),
        HttpCheck::builder("/health").expect_json("/status", "up"),
        HttpCheck::builder("/health").version_from_json("/version"),
        HttpCheck::builder("/health").version_from_body(),
    ] {
        let Health::Unhealthy { reason } = check(&server, wanting).await else { panic!() };
        assert!(reason.contains(r#"the body is encoded as "br", which is not decoded here"#), "{reason}");
        assert!(!reason.contains("garbled") && reason.matches("encoded").count() == 1, "{reason}");
    }
    let lacking = SmokeTest::builder("front").step(Step::get("front", "/").expect_body_lacks("error")).build().unwrap();
    let health = lacking.check(&target(), &server.instance()).await.unwrap();
    assert!(matches!(health, Health::Unhealthy { .. }), "what was not read does not lack anything: {health:?}");
}

#[tokio::test]
async fn a_metrics_page_in_gzip_is_counted_and_one_that_is_not_decoded_is_no_data() {
    let text = "http_requests_total{status=\"200\"} 90\nhttp_requests_total{status=\"500\"} 10\n";
    let page = || PrometheusPage::builder().by_label("http_requests_total", r#"status=~"5..""#).build().unwrap();
    let server = zipped("200 OK", text).await;
    let Sample::Data(series) = page().sample(&target(), &server.instance()).await.unwrap() else { panic!() };
    assert_eq!(series.len(), 1);
    let error = page().sample(&target(), &brotli().await.instance()).await.unwrap_err();
    assert!(error.chain().contains(r#"the body is encoded as "br""#), "{error}");
}
