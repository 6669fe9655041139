//! An engine that is reached by TCP with TLS, and wants a certificate of its clients.

use std::path::Path;
use std::sync::Arc;

use bluegreen_core::{ErrorKind, Runtime, Slot};
use bluegreen_docker::Engine;
use bluegreen_testkit::tls::certified;
use rcgen::{CertifiedKey, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{NotingHost, Shop, WAITS, engine_socket, grace, needs_docker};

/// Stands before the engine's socket; returns its address.
async fn front(server: &CertifiedKey<KeyPair>, client: &CertifiedKey<KeyPair>) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut clients = RootCertStore::empty();
    clients.add(client.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider));
    let key = PrivateKeyDer::try_from(server.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.cert.der().clone()], key)
        .unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut engine = UnixStream::connect(engine_socket()).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    });
    address
}

fn write(folder: &Path, ca: &CertifiedKey<KeyPair>, own: &CertifiedKey<KeyPair>) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.cert.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), own.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_behind_tls_is_used_by_us_and_by_compose_and_both_sides_are_verified() {
    needs_docker!();
    let [server, client, stranger] = [(); 3].map(|()| certified(&["127.0.0.1"]));
    let address = front(&server, &client).await;
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let host = |certificates: &str| {
        let host = NotingHost::default().with("DOCKER_HOST", &format!("tcp://{address}"));
        host.with("DOCKER_TLS_VERIFY", "1").with("DOCKER_CERT_PATH", shop.path(certificates).to_str().unwrap())
    };
    write(&shop.path("good"), &server, &client);
    let runtime = shop.builder().host(host("good")).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    assert_eq!(shop.running(Slot::Green).len(), 1);
    runtime.stop(Slot::Green, grace()).await.unwrap();

    write(&shop.path("wrong-server"), &stranger, &client);
    write(&shop.path("wrong-client"), &server, &stranger);
    for certificates in ["wrong-server", "wrong-client"] {
        let error = Engine::on(host(certificates)).ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{certificates}: {error:?}");
    }
    let missing = Engine::on(host("none")).ping().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing:?}");
    assert!(missing.to_string().contains("ca.pem"), "{missing}");
}
