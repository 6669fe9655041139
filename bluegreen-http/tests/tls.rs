//! TLS, with real certificates and a real handshake. A file of its own, because it is about the state of a process.

#![allow(clippy::unwrap_used, reason = "tests")]

use bluegreen_core::testing::test_process;
use bluegreen_core::{Health, HealthCheck};
use bluegreen_http::HttpCheck;
use bluegreen_testkit::http::{Server, answer, running, target};
use bluegreen_testkit::tls::{acceptor, certified};
use rustls::crypto::CryptoProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Set for the child of this very test that is given the certificate to trust.
const URL: &str = "BLUEGREEN_HTTP_TEST_URL";

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_unhealthy_and_no_provider_is_installed() {
    let (server, _) = https().await;
    let check = HttpCheck::get(format!("https://{}/health", server.address)).unwrap();
    let Health::Unhealthy { reason } = check.check(&target(), &running([])).await.unwrap() else { panic!() };
    assert!(reason.contains("invalid peer certificate"), "{reason}");
    assert!(CryptoProvider::get_default().is_none(), "the choice of a provider is the program's");
    rustls::crypto::ring::default_provider().install_default().unwrap();
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_accepted() {
    if let Ok(url) = std::env::var(URL) {
        let check = HttpCheck::builder(url).version_from_body().build().unwrap();
        let health = check.check(&target(), &running([])).await.unwrap();
        assert_eq!(health, Health::healthy_as("2.0".parse().unwrap()));
        return;
    }
    let (server, certificate) = https().await;
    let directory = tempfile::tempdir().unwrap();
    let trusted = directory.path().join("trusted.pem");
    std::fs::write(&trusted, certificate).unwrap();
    // What a process trusts is read from its environment, so the trusting one is a process of its own.
    let test = concat!(module_path!(), "::a_certificate_of_a_trusted_authority_is_accepted");
    let output = tokio::process::Command::from(test_process(test))
        .env("SSL_CERT_FILE", &trusted)
        .env(URL, format!("https://{}/health", server.address))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(server.connections() == 1, "the child has asked nothing");
}

async fn https() -> (Server, String) {
    let certified = certified(&["127.0.0.1"]);
    let acceptor = acceptor(&certified);
    let server = Server::raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&answer("200 OK", &[], "2.0")).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    (server, certified.cert.pem())
}
