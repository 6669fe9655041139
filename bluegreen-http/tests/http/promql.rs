//! `PromQl` against a real Prometheus server, and against servers that misbehave.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as Clock};

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Counters, Error, ErrorKind, Instance, MetricSource, Sample, Secret};
use bluegreen_http::{PromQl, PromQlBuilder};
use bluegreen_testkit::http::{Server, answer, refusing, target};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

fn at(server: &Server) -> PromQlBuilder {
    PromQl::builder(format!("http://{}", server.address)).requests("sum(requests_total)").bad("sum(bad_total)")
}

async fn sample(builder: PromQlBuilder) -> Result<Sample, Error> {
    builder.build().unwrap().sample(&target(), &Instance::Absent).await
}

fn vector(elements: &str) -> Vec<u8> {
    answer("200 OK", &[], format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{elements}]}}}}"#))
}

/// A server that answers the query for requests and the one for bad ones.
async fn prometheus(requests: &'static str, bad: &'static str) -> Server {
    setting_back(requests, bad, "").await
}

/// The same, with an answer to the question how often the counters of requests were set back.
async fn setting_back(requests: &'static str, bad: &'static str, resets: &'static str) -> Server {
    Server::answering(move |request| {
        vector(match request {
            request if request.contains("resets") => resets,
            request if request.contains("bad_total") => bad,
            _ => requests,
        })
    })
    .await
}

#[tokio::test]
async fn counters_that_are_set_back_again_and_again_are_not_trusted() {
    let one = r#"{"metric":{"instance":"a"},"value":[1,"100"]}"#;
    let resets = |count| format!(r#"{{"metric":{{"instance":"a"}},"value":[1,"{count}"]}}"#);
    let server = setting_back(one, one, resets(7).leak()).await;
    let Sample::Untrusted { reason } = sample(at(&server)).await.unwrap() else { panic!() };
    assert_eq!(
        reason,
        "{instance=\"a\"} of sum(requests_total): several processes answer here: aggregate them, or scrape each"
    );
    let server = setting_back(one, one, resets(1).leak()).await;
    assert!(matches!(sample(at(&server)).await.unwrap(), Sample::Data(_)), "a restart");
}

#[tokio::test]
async fn requests_and_bad_ones_meet_by_their_labels() {
    let server = prometheus(
        r#"{"metric":{"__name__":"requests_total","instance":"a"},"value":[1700000000.5,"100"]},
           {"metric":{"instance":"b"},"value":[1700000000.5,"50.7"]}"#,
        r#"{"metric":{"__name__":"bad_total","instance":"a"},"value":[1700000000.5,"3"]},
           {"metric":{},"value":[1700000000.5,"0"]}"#,
    )
    .await;
    let expected = [("{instance=\"a\"}", 100, 3), ("{instance=\"b\"}", 50, 0), ("all", 0, 0)];
    let expected = expected.map(|(name, requests, bad)| (name.to_owned(), Counters { requests, bad }));
    assert_eq!(sample(at(&server)).await.unwrap(), Sample::Data(expected.into()));
}

#[tokio::test]
async fn both_queries_are_evaluated_at_the_same_moment_with_headers_and_quoted_variables() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let server = Server::answering(move |request| {
        log.lock().unwrap().push(request.to_owned());
        vector(r#"{"metric":{},"value":[1700000000.25,"1"]}"#)
    })
    .await;
    let builder = PromQl::builder(format!("http://{}/prometheus/", server.address))
        .requests(r#"a{v=~"{{version}}"}"#)
        .bad(r#"b{slot="{{slot}}"}"#)
        .bearer(Secret::new("t0ken"))
        .header("x-scope-orgid", "7");
    sample(builder).await.unwrap();
    let seen = seen.lock().unwrap();
    let (resets, seen): (Vec<_>, Vec<_>) = seen.iter().partition(|request| request.contains("resets"));
    let [requests, bad] = seen.as_slice() else { panic!("{seen:?}") };
    assert!(resets[0].contains("query=resets%28%28a%7Bv%3D~"), "{resets:?}");
    for request in [requests, bad, &resets[0]] {
        assert!(request.starts_with("POST /prometheus/api/v1/query HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer t0ken\r\n") && request.contains("x-scope-orgid: 7\r\n"));
        assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
    }
    // a{v=~"2\\.0"} and b{slot="green"}
    assert!(requests.ends_with("\r\n\r\nquery=a%7Bv%3D~%222%5C%5C.0%22%7D"), "{requests}");
    assert!(bad.ends_with("\r\n\r\nquery=b%7Bslot%3D%22green%22%7D&time=1700000000.25"), "{bad}");
}

#[tokio::test]
async fn an_empty_result_is_no_data_and_not_zero() {
    let one = r#"{"metric":{},"value":[1,"1"]}"#;
    let server = prometheus("", one).await;
    let Sample::NoData { reason } = sample(at(&server)).await.unwrap() else { panic!() };
    assert_eq!(reason, "sum(requests_total) gives no result");
    let server = prometheus(one, "").await;
    let Sample::NoData { reason } = sample(at(&server)).await.unwrap() else { panic!() };
    assert!(reason.contains("sum(bad_total) gives no result") && reason.contains("or vector(0)"), "{reason}");
}

#[tokio::test]
async fn a_scalar_is_one_series() {
    let server = Server::answering(|request| match request.contains("resets") {
        // A scalar has no history.
        true => answer("400 Bad Request", &[], r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#),
        false => answer("200 OK", &[], r#"{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}"#),
    })
    .await;
    let expected = BTreeMap::from([("all".to_owned(), Counters { requests: 7, bad: 7 })]);
    assert_eq!(sample(at(&server)).await.unwrap(), Sample::Data(expected));
}

#[tokio::test]
async fn what_is_no_counter_is_an_error() {
    for value in ["NaN", "+Inf", "-1", "x"] {
        let text = format!(r#"{{"metric":{{}},"value":[1,"{value}"]}}"#);
        let server = Server::answering(move |_| vector(&text)).await;
        let error = sample(at(&server)).await.unwrap_err();
        assert!(error.to_string().contains(&format!("a value is {value}")), "{error}");
    }
    for (kind, result) in
        [("matrix", "[]"), ("string", "[1,\"x\"]"), ("vector", r#"[{"metric":{},"histogram":[1,{}]}]"#)]
    {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#);
        let server = Server::answering(move |_| answer("200 OK", &[], &body)).await;
        assert_eq!(sample(at(&server)).await.unwrap_err().kind(), ErrorKind::Config, "{kind}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_or_is_none_is_an_error_of_the_right_kind() {
    let failed = r#"{"status":"error","errorType":"bad_data","error":"parse error: t0ken"}"#;
    for (status, body, kind) in [
        ("400 Bad Request", failed, ErrorKind::Config),
        ("503 Service Unavailable", failed, ErrorKind::Unreachable),
        ("401 Unauthorized", "who is t0ken?", ErrorKind::Unauthorized),
        ("302 Found", "", ErrorKind::Unexpected),
        ("200 OK", "<html>t0ken</html>", ErrorKind::Unexpected),
        ("200 OK", "{}", ErrorKind::Unexpected),
        ("200 OK", r#"{"status":"success","data":{"resultType":"tensor","result":[]}}"#, ErrorKind::Unexpected),
        ("200 OK", "\u{0}", ErrorKind::Unexpected),
    ] {
        let server = Server::answering(move |_| answer(status, &["location: /login"], body)).await;
        let error = sample(at(&server).bearer(Secret::new("t0ken"))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.chain().contains("t0ken"), "{error}");
        assert_eq!(error.context("query"), Some("sum(requests_total)"));
    }
    let refusing = refusing();
    let refused = PromQl::builder(format!("http://{}", refusing.address)).requests("a").bad("b");
    assert_eq!(sample(refused).await.unwrap_err().kind(), ErrorKind::Unreachable);
    let hanging = Server::raw(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let late = sample(at(&hanging).timeout(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    let ok = || PromQl::builder("http://127.0.0.1:9090").requests("a").bad("b");
    for bad in [
        PromQl::builder("prometheus:9090").requests("a").bad("b"),
        PromQl::builder("http://u:p@prometheus:9090").requests("a").bad("b"),
        PromQl::builder("http://127.0.0.1:9090").requests("a"),
        ok().bad("b{slot={{slot}}}"),
        ok().header("a b", "c"),
    ] {
        assert_eq!(bad.build().map(|source| source.to_string()).unwrap_err().kind(), ErrorKind::Config);
    }
}

/// A real Prometheus server that scrapes one address; it ends with this value.
struct Prometheus {
    url: String,
    _process: Child,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// `None`, with a line that says why, when the program is not here.
    async fn scraping(address: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{address}']}}]}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let spawned = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = match spawned {
            Ok(process) => process,
            Err(error) => {
                let _ = part_is_here("prometheus", false, &error.to_string());
                return None;
            }
        };
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut log = String::new();
        let listening = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                    return Some(address.split_whitespace().next().unwrap().to_owned());
                }
                log.push_str(&line);
                log.push('\n');
            }
            None
        };
        let address = tokio::time::timeout(Duration::from_secs(30), listening).await.ok().flatten();
        let Some(address) = address else { panic!("prometheus does not listen:\n{log}") };
        // Its log must go on being read, or it would block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { url: format!("http://{address}"), _process: process, _directory: directory })
    }
}

#[tokio::test]
async fn a_real_prometheus_is_asked_for_the_counters_of_a_slot() {
    let service = Server::answering(|_| {
        let page = concat!(
            "requests_total{slot=\"green\",version=\"2.0\",code=\"200\"} 97\n",
            "requests_total{slot=\"green\",version=\"2.0\",code=\"500\"} 3\n",
            "requests_total{slot=\"green\",version=\"2x0\",code=\"200\"} 1000\n",
            "requests_total{slot=\"blue\",version=\"1.0\",code=\"500\"} 9000\n",
        );
        answer("200 OK", &["content-type: text/plain; version=0.0.4"], page)
    })
    .await;
    let Some(prometheus) = Prometheus::scraping(&service.address).await else { return };
    let of_slot = r#"slot="{{slot}}",version=~"{{version}}|none""#;
    let source = |bad: &str| {
        PromQl::builder(&prometheus.url)
            .requests(format!("sum by (instance) (requests_total{{{of_slot}}})"))
            .bad(format!("sum by (instance) (requests_total{{{of_slot},code=~\"{bad}\"}})"))
            .build()
            .unwrap()
    };

    // Nothing is scraped yet, or something is: no data first, and the counters at last.
    let began = Clock::now();
    let data = loop {
        match source("5..").sample(&target(), &Instance::Absent).await {
            Ok(Sample::Data(data)) => break data,
            other => assert!(began.elapsed() < Duration::from_secs(30), "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let expected =
        BTreeMap::from([(format!("{{instance=\"{}\"}}", service.address), Counters { requests: 100, bad: 3 })]);
    assert_eq!(data, expected);

    let none = source("4..").sample(&target(), &Instance::Absent).await.unwrap();
    assert!(matches!(none, Sample::NoData { .. }), "{none:?}");

    let zero = PromQl::builder(&prometheus.url).requests("sum(requests_total)").bad("sum(unknown_total) or vector(0)");
    let expected = BTreeMap::from([("all".to_owned(), Counters { requests: 10_100, bad: 0 })]);
    assert_eq!(sample(zero).await.unwrap(), Sample::Data(expected));

    let wrong = PromQl::builder(&prometheus.url).requests("sum(").bad("b");
    let error = sample(wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("parse error"), "{error}");
}
