//! A site with a certificate.

use std::process::Command;
use std::sync::Arc;

use bluegreen_core::{LocalHost, Router, Slot};
use bluegreen_nginx::{Layout, NginxConfig, NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::address::free_address;
use bluegreen_testkit::nginx::{TestNginx, nginx_is_here};
use bluegreen_testkit::traffic::App;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio_rustls::TlsConnector;

use crate::setup::{BLUE, GREEN, flags};
use crate::sites::Sites;

fn with_certificate(nginx: &TestNginx, address: &str) -> (NginxConfig, CertificateDer<'static>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (nginx.path("site.pem"), nginx.path("site.key"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let config = nginx.config("shop").server_name("localhost");
    let config = config.tls(certificate.display().to_string(), key.display().to_string()).tls_listen(address);
    (config, certified.cert.der().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn https_reaches_the_app_and_http_is_redirected() {
    let Some(nginx) = TestNginx::start() else { return };
    let secure = free_address();
    let (config, certificate) = with_certificate(&nginx, &secure);
    let Some(s) = flags(Some(nginx), |_| config).await else { return };
    s.first().await;
    let plain = s.get_path("/a?b=c").await;
    let port = secure.rsplit(':').next().unwrap();
    let wanted = format!("https://shop.test:{port}/a?b=c");
    assert_eq!((plain.status.as_u16(), plain.header("location")), (308, Some(wanted.as_str())));
    assert_eq!(s.blue.requests(), 0);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(tls));
    let headers = get_encrypted(&tls, &secure, "/headers").await;
    assert!(headers.contains("x-forwarded-proto: https\n"), "{headers}");
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(get_encrypted(&tls, &secure, "/").await, "green");
}

/// The body of a page of `localhost`, at this address.
async fn get_encrypted(tls: &TlsConnector, address: &str, path: &str) -> String {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let stream = TokioIo::new(tls.connect("localhost".try_into().unwrap(), stream).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_https_address_is_asked_and_its_certificate_verified() {
    let Some(nginx) = TestNginx::start() else { return };
    // `localhost` leads to this address, and to no other.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (config, _) = with_certificate(&nginx, &format!("127.0.0.1:{port}"));
    let Some(s) = flags(Some(nginx), |_| config).await else { return };
    s.first().await;
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(s.nginx.path("other.pem"), other.cert.pem()).unwrap();

    // What the system trusts is read once per process, so that each case needs one of its own.
    for (trusted, answers) in [("site.pem", true), ("other.pem", false)] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::ask_by_https", "--ignored", "--nocapture"])
            .env("SSL_CERT_FILE", s.nginx.path(trusted))
            .env("TEST_STATE", s.nginx.path("state/shop"))
            .env("TEST_URL", format!("https://localhost:{port}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("answer: 100 % blue"), answers, "{trusted}: {said}");
        assert_eq!(
            said.contains("error: ") && said.contains("invalid peer certificate"),
            !answers,
            "{trusted}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test above, in a process of its own"]
async fn ask_by_https() {
    let (Ok(state), Ok(url)) = (std::env::var("TEST_STATE"), std::env::var("TEST_URL")) else { return };
    let config = NginxConfig::new("shop")
        .server_name("localhost")
        .layout(Layout::debian().state_directory(state))
        .probe_url(url);
    match NginxRouter::new(LocalHost::new(), config).unwrap().current().await {
        Ok(split) => println!("answer: {}", split.unwrap()),
        Err(error) => println!("error: {}", error.chain()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_plain_http_is_switched_and_asked_by_https() {
    if !nginx_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.path().join("site.pem"), certified.cert.pem()).unwrap();
    std::fs::write(directory.path().join("site.key"), certified.signing_key.serialize_pem()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::switch_without_plain_http", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", directory.path().join("site.pem"))
        .env("TEST_CERTIFICATE", directory.path().join("site"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("switched and asked").count(), 2, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is run by the test above, in a process of its own"]
async fn switch_without_plain_http() {
    let Ok(certificate) = std::env::var("TEST_CERTIFICATE") else { return };
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    for symlinks in [false, true] {
        let nginx = TestNginx::start().unwrap();
        // `localhost` leads to this address, and to no other.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = nginx
            .files("shop")
            .server_name("localhost")
            .tls(format!("{certificate}.pem"), format!("{certificate}.key"))
            .tls_listen(format!("127.0.0.1:{port}"))
            .tls_only(true)
            .probe_url(format!("https://localhost:{port}"));
        for site in [config.render().unwrap(), config.render_slot(Slot::Blue).unwrap()] {
            let listeners: Vec<_> = site.lines().filter(|line| line.trim().starts_with("listen ")).collect();
            assert_eq!(listeners, [format!("    listen 127.0.0.1:{port} ssl;")]);
            assert!(!site.contains("return 308"), "{site}");
        }
        let router: Box<dyn Router> = match symlinks {
            false => Box::new(NginxRouter::new(LocalHost::new(), config).unwrap()),
            true => Box::new(NginxSymlinkRouter::new(LocalHost::new(), config).unwrap()),
        };
        router.attach(Slot::Blue, &blue.instance()).await.unwrap();
        router.attach(Slot::Green, &green.instance()).await.unwrap();
        router.shift(None, BLUE).await.unwrap();
        router.shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!(router.current().await.unwrap(), Some(GREEN));
        println!("switched and asked");
    }
}
