//! `HttpCheck` against servers that behave in every way a real one may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bluegreen_core::host::{Command, Output};
use bluegreen_core::{
    Endpoint, Error, ErrorKind, Health, HealthCheck, Host, Progress, Result, Secret, Tunnel, Version,
};
use bluegreen_http::{HttpCheck, HttpCheckBuilder, all, any};
use bluegreen_testkit::http::{Server, answer, read_request, refusing, running, target};
use tokio::io::AsyncWriteExt;

async fn check(server: &Server, builder: HttpCheckBuilder) -> Health {
    builder.build().unwrap().check(&target(), &server.instance()).await.unwrap()
}

async fn reason(server: &Server, builder: HttpCheckBuilder) -> String {
    match check(server, builder).await {
        Health::Unhealthy { reason } => reason,
        healthy => panic!("{healthy:?}"),
    }
}

fn version(text: &str) -> Health {
    Health::healthy_as(Version::new(text).unwrap())
}

#[tokio::test]
async fn an_answer_with_an_expected_status_is_health() {
    let server = Server::answering(|_| answer("204 No Content", &[], "")).await;
    assert_eq!(check(&server, HttpCheck::builder("/health")).await, Health::healthy());
    let reason = reason(&server, HttpCheck::builder("/health").expect_status(200)).await;
    let url = format!("http://{}/health", server.address);
    assert_eq!(reason, format!("GET {url}: expected status 200, got 204 No Content with an empty body"));
}

#[tokio::test]
async fn the_reason_shows_status_and_start_of_the_body() {
    let body = format!("  database\n\nis \u{1b}[31mdown{}", "x".repeat(10_000));
    let server = Server::answering(move |_| answer("503 Service Unavailable", &[], &body)).await;
    let reason = reason(&server, HttpCheck::builder("/health?full=1")).await;
    let url = format!("http://{}/health?full=1", server.address);
    let start = format!("GET {url}: expected status 200 to 299, got 503 Service Unavailable: `database is [31mdownxxx");
    assert!(reason.starts_with(&start) && reason.ends_with("x…`"), "{reason}");
    assert!(reason.len() < 400, "{reason}");
}

#[tokio::test]
async fn a_redirect_is_not_health_and_the_reason_says_where_it_points() {
    let server =
        Server::answering(|_| answer("301 Moved Permanently", &["location: https://login.example.com/?next=x"], ""))
            .await;
    let reason = reason(&server, HttpCheck::builder("/health")).await;
    assert!(reason.contains("got 301 Moved Permanently to `https://login.example.com/?next=x`"), "{reason}");
    assert!(reason.contains("redirects are not followed"), "{reason}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn every_check_opens_a_connection_of_its_own() {
    let server = Server::answering(|_| answer("200 OK", &["connection: keep-alive"], "")).await;
    let check = HttpCheck::get("/").unwrap();
    for expected in 1..=3 {
        check.check(&target(), &server.instance()).await.unwrap();
        assert_eq!(server.connections(), expected);
    }
}

#[tokio::test]
async fn a_refused_connection_is_unhealthy_and_says_so() {
    let refusing = refusing();
    let address = &refusing.address;
    let check = HttpCheck::get("/health").unwrap();
    let health = check.check(&target(), &running([Endpoint::http(address)])).await.unwrap();
    let expected = format!("GET http://{address}/health: Connection refused (os error 111)");
    assert_eq!(health, Health::unhealthy(expected));
}

#[tokio::test]
async fn a_server_that_never_answers_is_unhealthy_when_the_time_is_over() {
    let server = Server::raw(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let began = Instant::now();
    let reason = reason(&server, HttpCheck::builder("/").timeout(Duration::from_millis(200))).await;
    assert!(reason.ends_with("no answer within 200 ms"), "{reason}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_body_that_trickles_for_ever_is_unhealthy_when_the_time_is_over() {
    let server = Server::raw(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let reason = reason(&server, HttpCheck::builder("/").timeout(Duration::from_millis(300))).await;
    assert!(reason.contains("answered 200 OK, but not to the end within 300 ms"), "{reason}");
}

#[tokio::test]
async fn half_an_answer_is_not_health() {
    let server = Server::sending("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789").await;
    let reason_of_body = reason(&server, HttpCheck::builder("/")).await;
    assert!(reason_of_body.contains("answered 200 OK, and broke off after 10 bytes"), "{reason_of_body}");

    for half in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ncontent-", "not HTTP at all\r\n\r\n", "\0\0\0"] {
        let server = Server::sending(half).await;
        let reason = reason(&server, HttpCheck::builder("/")).await;
        assert!(!reason.ends_with(": "), "{half:?}: {reason}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_read_up_to_the_limit_only() {
    let server = Server::raw(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 64 << 10]).await.is_ok() {}
    })
    .await;
    assert_eq!(check(&server, HttpCheck::builder("/")).await, Health::healthy());
    let reason = reason(&server, HttpCheck::builder("/").body_limit(1000).expect_json("/ok", true)).await;
    assert!(reason.contains("longer than the 1000 bytes that are read"), "{reason}");
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_whole() {
    let server = Server::answering(|_| answer("200 OK", &[], "{\"a\":1}")).await;
    let whole = HttpCheck::builder("/").body_limit(7).expect_json("/a", 1);
    assert_eq!(check(&server, whole).await, Health::healthy());
    let cut = HttpCheck::builder("/").body_limit(6).expect_json("/a", 1);
    assert!(matches!(check(&server, cut).await, Health::Unhealthy { .. }));
}

#[tokio::test]
async fn invalid_utf_8_is_compared_and_shown_without_harm() {
    let server = Server::answering(|_| answer("200 OK", &["x-version: \u{e9}"], b"\xff\xfe ok")).await;
    assert_eq!(check(&server, HttpCheck::builder("/").expect_body_contains("ok")).await, Health::healthy());
    let no_json = reason(&server, HttpCheck::builder("/").expect_json("", "ok")).await;
    assert!(no_json.contains("not JSON") && no_json.contains("`\u{fffd}\u{fffd} ok`"), "{no_json}");
    let no_version = reason(&server, HttpCheck::builder("/").version_from_header("x-version")).await;
    assert!(no_version.contains("header x-version"), "{no_version}");
}

#[tokio::test]
async fn body_and_json_are_matched() {
    let server = Server::answering(|_| answer("200 OK", &[], r#"{"status":"ok","db":{"up":true,"lag":0}}"#)).await;
    let good =
        HttpCheck::builder("/").expect_body_contains("\"ok\"").expect_json("/db/up", true).expect_json("/db/lag", 0.0);
    assert_eq!(check(&server, good).await, Health::healthy());
    for (bad, expected) in [
        (HttpCheck::builder("/").expect_body_contains("fine"), "expected \"fine\" in the body, got 200 OK: `{"),
        (HttpCheck::builder("/").expect_json("/status", "fine"), "expected \"fine\" at /status, got 200 OK: `{"),
        (HttpCheck::builder("/").expect_json("/queue", 0), "expected 0 at /queue, which is missing, got 200 OK: `{"),
    ] {
        let reason = reason(&server, bad).await;
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn the_version_is_read_from_header_json_or_body() {
    let server = Server::answering(|request| {
        if request.starts_with("GET /body ") {
            answer("200 OK", &[], " 1.2.3\n")
        } else {
            answer("200 OK", &["X-Version: 1.2.3"], r#"{"build":{"version":"1.2.3","number":7}}"#)
        }
    })
    .await;
    assert_eq!(check(&server, HttpCheck::builder("/").version_from_header("x-version")).await, version("1.2.3"));
    assert_eq!(check(&server, HttpCheck::builder("/").version_from_json("/build/version")).await, version("1.2.3"));
    assert_eq!(check(&server, HttpCheck::builder("/").version_from_json("/build/number")).await, version("7"));
    assert_eq!(check(&server, HttpCheck::builder("/body").version_from_body()).await, version("1.2.3"));
}

#[tokio::test]
async fn an_answer_without_its_version_is_unhealthy() {
    let server = Server::answering(|_| answer("200 OK", &[], "<html>not a version</html>")).await;
    for (builder, expected) in [
        (
            HttpCheck::builder("/").version_from_header("x-version"),
            "names no version at header x-version, got 200 OK: `<html>",
        ),
        (HttpCheck::builder("/").version_from_json("/v"), "the body is not JSON"),
        (HttpCheck::builder("/").version_from_body(), "names its version at the body as `<html>not a version</html>`"),
    ] {
        let reason = reason(&server, builder).await;
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn host_header_headers_method_and_user_agent_arrive_once() {
    let server = Server::answering(|request| answer("200 OK", &[], request)).await;
    let builder = HttpCheck::builder("/health")
        .method("OPTIONS")
        .host_header("shop.example.com")
        .header("x-a", "1")
        .bearer(Secret::new("t0ken"))
        .expect_body_contains("OPTIONS /health HTTP/1.1\r\n")
        .expect_body_contains("x-a: 1\r\n")
        .expect_body_contains("authorization: Bearer t0ken\r\n")
        .expect_body_contains("host: shop.example.com\r\n")
        .expect_body_contains("user-agent: bluegreen/");
    assert_eq!(check(&server, builder).await, Health::healthy());
    let seen = reason(&server, HttpCheck::builder("/").host_header("shop.example.com").expect_status(500)).await;
    assert_eq!(seen.to_lowercase().matches("host:").count(), 1, "{seen}");
}

#[tokio::test]
async fn a_secret_that_the_server_repeats_is_masked_in_the_reason() {
    let server = Server::answering(|request| answer("401 Unauthorized", &[], request)).await;
    let builder = HttpCheck::builder("/?key=s3cr%2Ft")
        .bearer(Secret::new("t0ken"))
        .secret_header("x-api-key", Secret::new("s3cr/t"));
    let debug = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    let reason = reason(&server, builder).await;
    assert!(reason.contains("authorization: Bearer *** x-api-key: ***"), "{reason}");
    for secret in ["t0ken", "s3cr/t", "s3cr%2Ft"] {
        assert!(!reason.contains(secret), "{reason}");
    }
    for secret in ["t0ken", "s3cr/t"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    for bad in [
        HttpCheck::builder("health"),
        HttpCheck::builder("/a/../b"),
        HttpCheck::builder("/a b"),
        HttpCheck::builder("/a\r\nX: y"),
        HttpCheck::builder("/#x"),
        HttpCheck::builder("shop.example.com"),
        HttpCheck::builder("ftp://shop.example.com/"),
        HttpCheck::builder("https://shop.example.com/").endpoint("api"),
        HttpCheck::builder("https://shop.example.com/").through(bluegreen_core::LocalHost::new()),
        HttpCheck::builder("/").method("get"),
        HttpCheck::builder("/").method("GET / HTTP/1.1\r\nX: y\r\n"),
        HttpCheck::builder("/").host_header("shop\r\nX-Evil: 1"),
        HttpCheck::builder("/").host_header("shop.example.com/path"),
        HttpCheck::builder("/").header("x a", "1"),
        HttpCheck::builder("/").header("x", "1\r\nX-Evil: 1"),
        HttpCheck::builder("/").header("Host", "shop"),
        HttpCheck::builder("/").expect_status(99),
        HttpCheck::builder("/").expect_status(Vec::new()),
        HttpCheck::builder("/").expect_json("$.status", 1),
        HttpCheck::builder("/").version_from_json("version"),
        HttpCheck::builder("/").version_from_header(""),
        HttpCheck::builder("/").expect_body_contains(""),
        HttpCheck::builder("/").timeout(Duration::ZERO),
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(bad.build().map(|check| check.to_string()).unwrap_err().kind(), ErrorKind::Config, "{shown}");
    }
}

#[tokio::test]
async fn a_missing_endpoint_or_instance_is_an_error_and_not_bad_health() {
    let server = Server::answering(|_| answer("200 OK", &[], "")).await;
    let check = HttpCheck::builder("/").endpoint("api").build().unwrap();
    let error = check.check(&target(), &server.instance()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("has no endpoint \"api\"; it has: http"), "{error}");
    let error = check.check(&target(), &bluegreen_core::Instance::Absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = check.check(&target(), &running([Endpoint::named("api", "me@127.0.0.1:80")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn all_endpoints_must_be_well_and_agree_on_the_version() {
    let one = Server::answering(|_| answer("200 OK", &[], "1.0")).await;
    let other = Server::answering(|_| answer("200 OK", &[], "1.1")).await;
    let ill = Server::answering(|_| answer("500 Internal Server Error", &[], "1.0")).await;
    let check = HttpCheck::builder("/").version_from_body().build().unwrap();
    let of = |servers: &[&Server]| running(servers.iter().map(|server| Endpoint::http(&server.address)));

    assert_eq!(check.check(&target(), &of(&[&one, &one])).await.unwrap(), version("1.0"));
    let Health::Unhealthy { reason } = check.check(&target(), &of(&[&one, &ill])).await.unwrap() else { panic!() };
    assert!(reason.contains(&ill.address) && !reason.contains(&one.address), "{reason}");
    let Health::Unhealthy { reason } = check.check(&target(), &of(&[&one, &other])).await.unwrap() else { panic!() };
    assert!(reason.contains("contradict") && reason.contains("says 1.0") && reason.contains("says 1.1"), "{reason}");
}

#[tokio::test]
async fn an_absolute_url_is_asked_whatever_the_instance_is() {
    let server = Server::answering(|request| answer("200 OK", &[], request.lines().next().unwrap())).await;
    let check = HttpCheck::builder(format!("http://{}/public?x=1", server.address))
        .expect_body_contains("GET /public?x=1 HTTP/1.1")
        .build()
        .unwrap();
    assert_eq!(check.check(&target(), &bluegreen_core::Instance::Absent).await.unwrap(), Health::healthy());
}

/// A host whose loopback is not ours: it knows one address, and forwards to a server of the test.
#[derive(Debug)]
struct FarHost {
    knows: String,
    leads_to: String,
}

#[async_trait]
impl Host for FarHost {
    async fn run(&self, _: &Command) -> Result<Output> {
        Err(Error::new(ErrorKind::Unsupported, "no commands here"))
    }
    async fn read(&self, _: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    async fn write(&self, _: &str, _: &[u8], _: u32) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "no files here"))
    }
    async fn upload(&self, _: &std::path::Path, _: &str, _: &Progress) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "no files here"))
    }
    async fn download(&self, _: &str, _: &std::path::Path, _: &Progress) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "no files here"))
    }
    async fn symlink(&self, _: &str, _: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "no files here"))
    }
    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        if address != self.knows {
            return Err(Error::new(ErrorKind::Unreachable, "no route"));
        }
        // A real tunnel: a listener here that forwards each connection, for as long as the tunnel lives.
        let leads_to = self.leads_to.clone();
        let entry = Server::raw(move |mut near| {
            let leads_to = leads_to.clone();
            async move {
                let mut far = tokio::net::TcpStream::connect(leads_to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        })
        .await;
        Ok(Tunnel::guarded(entry.address.clone(), entry))
    }
}

impl std::fmt::Display for FarHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("web1")
    }
}

#[tokio::test]
async fn an_instance_on_another_hosts_loopback_is_reached_through_the_host() {
    let server = Server::answering(|request| answer("200 OK", &[], request)).await;
    let host = Arc::new(FarHost { knows: "127.0.0.1:1".to_owned(), leads_to: server.address.clone() });
    let instance = running([Endpoint::http("127.0.0.1:1")]);

    // The server sees the address that it listens on, not the tunnel's.
    let check = HttpCheck::builder("/health").through(Arc::clone(&host)).expect_body_contains("host: 127.0.0.1:1\r\n");
    assert_eq!(check.build().unwrap().check(&target(), &instance).await.unwrap(), Health::healthy());
    assert_eq!(server.connections(), 1);

    let ill = HttpCheck::builder("/health").through(Arc::clone(&host)).expect_status(500).build().unwrap();
    let Health::Unhealthy { reason } = ill.check(&target(), &instance).await.unwrap() else { panic!() };
    assert!(reason.starts_with("GET http://127.0.0.1:1/health (through web1): "), "{reason}");

    let elsewhere = running([Endpoint::http("127.0.0.1:2")]);
    let error = ill.check(&target(), &elsewhere).await.unwrap_err();
    assert_eq!((error.kind(), error.context("host")), (ErrorKind::Unreachable, Some("web1")));
}

#[tokio::test]
async fn combined_checks_run_at_the_same_time() {
    let server = Server::raw(|mut stream| async move {
        read_request(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = stream.write_all(&answer("200 OK", &[], "1.0")).await;
    })
    .await;
    let get = || HttpCheck::builder("/").version_from_body().build().unwrap();
    let began = Instant::now();
    let every = all([get(), get()]).and(any([get(), get()]));
    assert_eq!(every.check(&target(), &server.instance()).await.unwrap(), version("1.0"));
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn no_check_at_all_is_an_error() {
    let server = Server::answering(|_| answer("200 OK", &[], "")).await;
    let none: [HttpCheck; 0] = [];
    assert_eq!(all(none.clone()).check(&target(), &server.instance()).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(any(none).check(&target(), &server.instance()).await.unwrap_err().kind(), ErrorKind::Config);
}
