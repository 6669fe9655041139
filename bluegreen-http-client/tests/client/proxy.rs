//! The environment's proxies. Each case is a process of its own, since the environment belongs to a process.

use bluegreen_core::testing::test_process;
use bluegreen_http_client::{Client, Method, Url};
use bluegreen_testkit::http::{Server, answer, read_request};
use bluegreen_testkit::tls::{acceptor, certified};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

const THIS: &str = concat!(module_path!(), "::a_proxy_forwards_http_and_tunnels_https_and_is_told_its_password");

/// Set for the child that runs this very test.
const URL: &str = "BLUEGREEN_CLIENT_TEST_URL";

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_forwards_http_and_tunnels_https_and_is_told_its_password() {
    if let Ok(url) = std::env::var(URL) {
        let client = Client::builder().https(url.starts_with("https")).build().unwrap();
        let request = client.request(Method::GET, &Url::parse(&url).unwrap()).unwrap();
        match client.send(request).await {
            Ok(response) => println!("{}", String::from_utf8(response.body(1 << 20).await.unwrap().bytes).unwrap()),
            Err(error) => println!("error: {error} (no connection: {})", error.is_connect()),
        }
        return;
    }
    let certified = certified(&["shop.invalid", "localhost"]);
    let directory = tempfile::tempdir().unwrap();
    let trusted = directory.path().join("trusted.pem");
    std::fs::write(&trusted, certified.cert.pem()).unwrap();
    let tls = acceptor(&certified);
    // A proxy, and in one the server behind it, which is no name that could be looked up.
    let (inner, outer) = (tls.clone(), tls.clone());
    let plain = Server::raw(move |stream| proxy(stream, inner.clone())).await;
    let encrypted = Server::raw(move |stream| {
        let (outer, inner) = (outer.clone(), tls.clone());
        async move {
            if let Ok(stream) = outer.accept(stream).await {
                proxy(stream, inner).await;
            }
        }
    })
    .await;

    let (_, port) = encrypted.address.rsplit_once(':').unwrap();
    let forwarded = "GET http://shop.invalid/a HTTP/1.1\r\n";
    let tunnelled = "CONNECT shop.invalid:443 HTTP/1.1\r\n";
    let secret = "proxy-authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    for (variable, proxy, url, line) in [
        ("http_proxy", format!("http://anna:secret@{}", plain.address), "http://shop.invalid/a", forwarded),
        ("HTTPS_PROXY", format!("http://anna:secret@{}", plain.address), "https://shop.invalid/a", tunnelled),
        ("HTTPS_PROXY", format!("https://anna:secret@localhost:{port}"), "https://shop.invalid/a", tunnelled),
    ] {
        let said = ask_by(variable, &proxy, url, &trusted).await;
        assert!(said.contains(line) && said.to_lowercase().contains(&secret.to_lowercase()), "{proxy}: {said}");
        if line == tunnelled {
            assert!(said.contains("GET /a HTTP/1.1\r\n"), "{proxy}: {said}");
        }
    }
    assert_eq!((plain.connections(), encrypted.connections()), (2, 1));
}

#[tokio::test]
async fn a_proxy_of_another_kind_is_refused_without_a_word_of_its_password() {
    let nothing = std::path::Path::new("/dev/null");
    let said = ask_by("ALL_PROXY", "socks5://anna:secret@127.0.0.1:1080", "http://shop.invalid/", nothing).await;
    let expected = "the environment names a proxy by socks5://, and only http:// and https:// are spoken";
    assert!(said.contains(&format!("error: {expected} (no connection: true)")) && !said.contains("secret"), "{said}");
}

/// What a process says that asks with this variable in its environment.
async fn ask_by(variable: &str, proxy: &str, url: &str, trusted: &std::path::Path) -> String {
    let output = tokio::process::Command::from(test_process(THIS))
        .env_clear()
        .env("SSL_CERT_FILE", trusted)
        .env(variable, proxy)
        .env(URL, url)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{proxy}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Answers with all that it was asked, by the proxy's part and by the server's.
async fn proxy(mut stream: impl AsyncRead + AsyncWrite + Unpin, tls: TlsAcceptor) {
    let asked = read_request(&mut stream).await.unwrap();
    if !asked.starts_with("CONNECT ") {
        let _ = stream.write_all(&answer("200 OK", &[], &asked)).await;
        return;
    }
    let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    let mut stream = tls.accept(stream).await.unwrap();
    let inner = read_request(&mut stream).await.unwrap();
    let _ = stream.write_all(&answer("200 OK", &[], format!("{asked}{inner}"))).await;
}
