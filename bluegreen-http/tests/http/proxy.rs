//! The environment's proxy. The environment belongs to a process, so whoever has one is a process of its own.

use bluegreen_core::testing::test_process;
use bluegreen_core::{Health, HealthCheck};
use bluegreen_http::HttpCheck;
use bluegreen_testkit::http::{Server, answer, running, target};

/// Set for the child of this very test that runs with a proxy in its environment.
const SERVER: &str = "BLUEGREEN_HTTP_TEST_SERVER";

const THIS: &str =
    concat!(module_path!(), "::a_proxy_of_the_environment_leads_to_urls_and_never_to_endpoints_or_this_machine");

#[tokio::test]
async fn a_proxy_of_the_environment_leads_to_urls_and_never_to_endpoints_or_this_machine() {
    if let Ok(server) = std::env::var(SERVER) {
        return with_a_proxy(&server).await;
    }
    let server = Server::answering(|_| answer("200 OK", &[], "direct")).await;
    let proxy = Server::answering(|request| {
        let line = request.lines().next().unwrap_or_default();
        answer("200 OK", &[], format!("proxied {line}"))
    })
    .await;
    let output = tokio::process::Command::from(test_process(THIS))
        .env("http_proxy", format!("http://{}", proxy.address))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .env(SERVER, &server.address)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((server.connections(), proxy.connections()), (2, 1));
}

async fn with_a_proxy(server: &str) {
    let instance = running([bluegreen_core::Endpoint::http(server)]);
    for (check, expected) in [
        (HttpCheck::builder("/"), "direct"),
        (HttpCheck::builder(format!("http://{server}/")), "direct"),
        // A name that is never looked up here: the proxy would do that.
        (HttpCheck::builder("http://shop.invalid/health"), "proxied GET http://shop.invalid/health HTTP/1.1"),
    ] {
        let check = check.expect_body_contains(expected).build().unwrap();
        assert_eq!(check.check(&target(), &instance).await.unwrap(), Health::healthy(), "{check}");
    }
}
