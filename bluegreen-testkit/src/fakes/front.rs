//! A public address on the loopback: whoever holds it answers.

use std::net::SocketAddr;
use std::time::Duration;

use bluegreen_core::Slot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Each connection is answered by the slot that a function names at that moment, or not at all.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Front {
    pub async fn start(holder: impl Fn() -> Option<Slot> + Send + Sync + 'static) -> Self {
        Self::saying("200 OK", holder).await
    }

    /// The same, with this status in every answer.
    pub async fn saying(status: &'static str, holder: impl Fn() -> Option<Slot> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let Some(slot) = holder() else { continue };
                tokio::spawn(async move {
                    let _ = client.read(&mut [0; 1024]).await;
                    let length = slot.as_str().len();
                    let text = format!(
                        "HTTP/1.1 {status}\r\nx-slot: {slot}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{slot}"
                    );
                    let _ = client.write_all(text.as_bytes()).await;
                });
            }
        });
        Self { address, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// One request over a connection of its own.
    pub async fn request(&self) -> Option<Slot> {
        ask(self.address).await
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(address: SocketAddr) -> Option<Slot> {
    let talk = async {
        let mut server = TcpStream::connect(address).await.ok()?;
        server.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.ok()?;
        let mut text = String::new();
        server.read_to_string(&mut text).await.ok()?;
        text.rsplit("\r\n\r\n").next()?.parse().ok()
    };
    tokio::time::timeout(Duration::from_secs(5), talk).await.ok()?
}
