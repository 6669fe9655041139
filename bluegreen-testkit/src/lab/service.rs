use std::time::Duration;

use bluegreen_core::Slot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Network;

/// Where the services listen, on all addresses.
pub(super) const PORT: u16 = 80;

/// Has the server of each slot answer with the slot's name; `/drip` begins an answer that never ends, with a part every second.
pub async fn serve(network: &Network) {
    for slot in Slot::BOTH {
        let namespace = network.server(slot);
        let listener = namespace.run(async { TcpListener::bind(("::", PORT)).await.unwrap() }).await;
        namespace.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(answer(client, slot));
            }
        });
    }
}

async fn answer(mut client: TcpStream, slot: Slot) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let count = client.read(&mut request).await?;
    if request[..count].starts_with(b"GET /drip") {
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
        loop {
            client.write_all(b".").await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    let length = slot.as_str().len();
    let text =
        format!("HTTP/1.1 200 OK\r\nx-slot: {slot}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{slot}");
    client.write_all(text.as_bytes()).await
}
