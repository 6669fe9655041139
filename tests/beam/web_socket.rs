//! A WebSocket that somebody keeps open while others deploy.

use std::time::{Duration, Instant};

use bluegreen_core::Slot;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::setup::Server;

/// A service answers, or ends in order, within that time.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct WebSocket {
    stream: WebSocketStream<TcpStream>,
    slot: Slot,
    /// Which start of the slot's node it is on.
    node: String,
}

impl WebSocket {
    pub(crate) async fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.public()).await.unwrap();
        let url = format!("ws://{}/ws", server.public());
        let (stream, answer) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let slot = answer.headers()["x-slot"].to_str().unwrap().parse().unwrap();
        Self { stream, slot, node: server.started_last(slot) }
    }

    /// Sends a text, and returns what comes back; `None` when the connection is closed.
    pub(crate) async fn echo(&mut self, text: &str) -> Option<String> {
        self.stream.send(Message::text(text)).await.ok()?;
        match timeout(PATIENCE, self.stream.next()).await.expect("an echo") {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            _ => None,
        }
    }

    pub(crate) async fn was_closed(&mut self) -> bool {
        let next = timeout(PATIENCE, self.stream.next()).await;
        matches!(next, Ok(None | Some(Ok(Message::Close(_)) | Err(_))))
    }

    /// Sees that it still echoes. Only if its node was stopped it may be closed, and a new one is opened.
    pub(crate) async fn is_held(&mut self, server: &Server) {
        if self.echo("still there?").await.as_deref() == Some("still there?") {
            return;
        }
        let start = Instant::now();
        while server.runs(&self.node) {
            assert!(start.elapsed() < PATIENCE, "the WebSocket on {} was closed, and its node goes on", self.slot);
            sleep(Duration::from_millis(50)).await;
        }
        *self = Self::open(server).await;
    }
}
