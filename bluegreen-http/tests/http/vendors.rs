//! `NewRelic` and `Datadog` against fakes that are built from the public documentation of their query APIs.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bluegreen_core::{Counters, Error, ErrorKind, Instance, MetricSource, Sample, Secret};
use bluegreen_http::{Datadog, DatadogBuilder, NewRelic, NewRelicBuilder};
use bluegreen_testkit::http::{Server, answer, target};
use serde_json::{Value, json};

/// What happened to the service: each event's moment in seconds, and whether it was an error.
type Events = Arc<Mutex<Vec<(u64, bool)>>>;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The number that follows a word.
fn number(text: &str, word: &str) -> u64 {
    let after = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}")).1;
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn json_answer(status: &str, body: &Value) -> Vec<u8> {
    answer(status, &["content-type: application/json"], body.to_string())
}

/// NerdGraph: <https://docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial>.
async fn nerdgraph(events: Events) -> Server {
    Server::answering(move |request| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /graphql HTTP/1.1\r\n"), "{head}");
        if !head.contains("api-key: NRAK-good") {
            return json_answer("200 OK", &json!({"errors": [{"message": "Invalid API key NRAK-bad provided"}]}));
        }
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(body["query"].as_str().unwrap().contains("nrql(query: $nrql) { results }"));
        if body["variables"]["account"] != 7 {
            return json_answer("200 OK", &json!({"data": {"actor": {"account": null}}}));
        }
        let nrql = body["variables"]["nrql"].as_str().unwrap();
        assert!(nrql.contains("WHERE error IS true) AS bad FROM Transaction WHERE slot = 'green' SINCE "), "{nrql}");
        let (from, to) = (number(nrql, "SINCE "), number(nrql, "UNTIL "));
        let events = events.lock().unwrap();
        let within = events.iter().filter(|(at, _)| (from..to).contains(&(at * 1000)));
        let (requests, bad) = within.fold((0, 0), |(all, bad), (_, error)| (all + 1, bad + u64::from(*error)));
        let results = json!([{"requests": requests, "bad": bad}]);
        json_answer("200 OK", &json!({"data": {"actor": {"account": {"nrql": {"results": results}}}}}))
    })
    .await
}

/// `GET /api/v1/query`: <https://docs.datadoghq.com/api/latest/metrics/query-timeseries-points/>.
async fn datadog(events: Events) -> Server {
    Server::answering(move |request| {
        let line = request.lines().next().unwrap();
        if !(request.contains("dd-api-key: api") && request.contains("dd-application-key: app")) {
            return json_answer("403 Forbidden", &json!({"errors": ["Forbidden"]}));
        }
        assert!(line.starts_with("GET /api/v1/query?from="), "{line}");
        assert!(line.contains("slot%3Agreen%7D.as_count%28%29.rollup%28sum%2C%2060%29"), "{line}");
        if line.contains("nonsense") {
            return json_answer("400 Bad Request", &json!({"errors": ["Error parsing query: nonsense"]}));
        }
        let (from, to, only_errors) = (number(line, "from="), number(line, "to="), line.contains("errors"));
        let events = events.lock().unwrap();
        let mut points = std::collections::BTreeMap::<u64, f64>::new();
        for (at, _) in events.iter().filter(|(at, error)| (from..=to).contains(at) && (*error || !only_errors)) {
            *points.entry(at / 60 * 60_000).or_default() += 1.0;
        }
        let series = match points.is_empty() {
            true => json!([]),
            false => json!([{"pointlist": points.into_iter().collect::<Vec<_>>(), "interval": 60}]),
        };
        json_answer("200 OK", &json!({"status": "ok", "res_type": "time_series", "series": series, "error": ""}))
    })
    .await
}

fn new_relic(server: &Server, account: u64, key: &str) -> NewRelicBuilder {
    NewRelic::builder(account, Secret::new(key))
        .url(format!("http://{}/graphql", server.address))
        .requests("slot = '{{slot}}'")
        .bad("error IS true")
}

fn datadog_source(server: &Server) -> DatadogBuilder {
    Datadog::builder(Secret::new("api"), Secret::new("app"))
        .url(format!("http://{}", server.address))
        .requests("sum:hits{slot:{{slot}}}.as_count()")
        .bad("sum:errors{slot:{{slot}}}.as_count()")
}

async fn sample(source: &impl MetricSource) -> Result<Sample, Error> {
    source.sample(&target(), &Instance::Absent).await
}

fn data(requests: u64, bad: u64) -> Sample {
    Sample::Data([("all".to_owned(), Counters { requests, bad })].into())
}

/// Old ones, and those of a release that came after the first look. The fakes' moments are not before it.
fn happen(events: &Events, count: usize, bad: usize) {
    let later = now() + 1;
    events.lock().unwrap().extend((0..count).map(|number| (later, number < bad)));
}

#[tokio::test]
async fn events_of_new_relic_are_counted_from_the_first_look_on() {
    let events = Events::default();
    events.lock().unwrap().push((now() - 3600, true));
    let server = nerdgraph(events.clone()).await;
    let source = new_relic(&server, 7, "NRAK-good").build().unwrap();
    assert!(matches!(sample(&source).await.unwrap(), Sample::NoData { .. }), "nothing since");
    happen(&events, 50, 3);
    assert_eq!(until_counted(&source, 50).await, data(50, 3));
    happen(&events, 10, 1);
    assert_eq!(until_counted(&source, 60).await, data(60, 4));
}

/// Looks again until so many requests are counted: a second has to pass until an event is in the past.
async fn until_counted(source: &impl MetricSource, requests: u64) -> Sample {
    loop {
        let found = sample(source).await.unwrap();
        if matches!(&found, Sample::Data(series) if series["all"].requests >= requests) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_new_relic_refuses_is_told_without_the_key() {
    let server = nerdgraph(Events::default()).await;
    let error = sample(&new_relic(&server, 7, "NRAK-bad").build().unwrap()).await.unwrap_err();
    assert!(error.chain().contains("Invalid API key *** provided"), "{}", error.chain());
    let error = sample(&new_relic(&server, 8, "NRAK-good").build().unwrap()).await.unwrap_err();
    assert_eq!(error.hint(), Some("may this key read the account 8?"));
    let html = Server::sending(answer("502 Bad Gateway", &[], "<html>")).await;
    let error = sample(&new_relic(&html, 7, "NRAK-good").build().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    for bad in [
        new_relic(&server, 7, "x").event("Transaction WHERE"),
        new_relic(&server, 7, "x").bad(""),
        new_relic(&server, 7, "x").requests("slot = {{slot}}"),
    ] {
        assert_eq!(bad.build().unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn points_of_datadog_are_counted_from_the_minute_of_the_first_look_on() {
    let events = Events::default();
    events.lock().unwrap().push((now() - 3600, true));
    let server = datadog(events.clone()).await;
    let source = datadog_source(&server).build().unwrap();
    assert!(matches!(sample(&source).await.unwrap(), Sample::NoData { .. }), "nothing since");
    events.lock().unwrap().extend([(now(), false); 40]);
    let Sample::NoData { reason } = sample(&source).await.unwrap() else { panic!("no error may be a misspelt tag") };
    assert!(reason.contains("no_point_is_zero"), "{reason}");
    let zero = datadog_source(&server).no_point_is_zero(true).build().unwrap();
    assert_eq!(sample(&zero).await.unwrap(), data(40, 0));
    events.lock().unwrap().extend([(now(), true); 5]);
    assert_eq!(sample(&source).await.unwrap(), data(45, 5));
    assert_eq!(sample(&zero).await.unwrap(), data(45, 5));
}

#[tokio::test]
async fn what_datadog_refuses_is_told() {
    let server = datadog(Events::default()).await;
    let nonsense = datadog_source(&server).requests("nonsense{slot:{{slot}}}.as_count()").build().unwrap();
    let error = sample(&nonsense).await.unwrap_err();
    assert!(error.chain().contains("Error parsing query: nonsense"), "{}", error.chain());
    assert_eq!(error.kind(), ErrorKind::Config);
    let url = format!("http://{}", server.address);
    let keys = Datadog::builder(Secret::new("no"), Secret::new("app")).url(url).requests("a").bad("b");
    let error = sample(&keys.build().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let negative = json!({"series": [{"pointlist": [[1.0, 5.0], [2.0, -1.0]]}]});
    let server = Server::sending(json_answer("200 OK", &negative)).await;
    let error = sample(&datadog_source(&server).build().unwrap()).await.unwrap_err();
    assert!(error.chain().contains("a point is -1"), "{}", error.chain());
}
