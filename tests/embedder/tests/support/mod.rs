#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A page that says hello to everybody; returns its URL.
pub(crate) async fn page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await;
        }
    });
    format!("http://{address}/")
}

pub(crate) async fn ask_with(clients: [Client; 3], url: &str) {
    for client in clients {
        assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), "hello");
    }
}

pub(crate) fn nothing_is_installed() {
    let installed = rustls::crypto::CryptoProvider::get_default();
    assert!(installed.is_none(), "the choice of a provider is the program's");
}
