//! A client that has just connected, and which protocol it speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alarm::Alarm;
use super::client::Client;
use super::conversation;
use super::core::Core;
use super::http2::Http2;
use super::keepalive::keep_alive;
use super::replay::Replay;

/// What a client that speaks HTTP/2 without being asked begins with: RFC 9113, section 3.4. No HTTP/1.1 method has
/// this name, so the first bytes are enough.
const HTTP_2_PREFACE: &[u8] = b"PRI ";

/// How long a client that has just connected gets to send its request when the proxy is about to end.
const LAST_REQUEST_PATIENCE: Duration = Duration::from_millis(500);

/// What is read of a connection at first.
const ROOM: usize = 4 << 10;

/// What it takes to serve a connection.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) core: Arc<Core>,
    pub(super) tasks: TaskTracker,
    pub(super) drain: CancellationToken,
    pub(super) cut: CancellationToken,
    /// Held as long as the client's socket is open.
    pub(super) place: OwnedSemaphorePermit,
}

impl Arrival {
    /// Serves until the connection has ended.
    pub(super) async fn serve(self, mut stream: TcpStream, peer: SocketAddr) {
        let Self { core, tasks, drain, cut, place } = self;
        let address = peer.ip();
        let mut buffer = BytesMut::with_capacity(ROOM);
        let mut alarm = Alarm::at(Instant::now() + core.settings.client_timeout);
        let limit = Instant::now() + core.settings.client_timeout;
        let version = tokio::select! {
            biased;
            version = first_bytes(&mut stream, &mut buffer) => version,
            () = alarm.reaches(limit) => None,
            () = async { drain.cancelled().await; sleep(LAST_REQUEST_PATIENCE).await } => None,
        };
        // A stream that is dead already shows itself soon enough.
        let _ = stream.set_nodelay(true);
        keep_alive(&stream);
        match version {
            None => {}
            Some(Version::Http1) => {
                let half_close_timeout = core.settings.half_close_timeout;
                let (reader, writer) = stream.into_split();
                let client = Client { core, address, reader, writer, buffer, alarm, half_close_timeout, drain };
                conversation::serve(client).await;
            }
            Some(Version::Http2) => {
                let stream = Replay::new(buffer, stream);
                Http2::new(core, address, tasks, drain, cut).serve(stream).await;
            }
        }
        drop(place);
    }
}

enum Version {
    Http1,
    Http2,
}

/// Reads the first bytes, and no more than tell. `None`: the client has gone.
async fn first_bytes(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<Version> {
    loop {
        match stream.read_buf(buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        if buffer.starts_with(HTTP_2_PREFACE) {
            return Some(Version::Http2);
        }
        if !HTTP_2_PREFACE.starts_with(buffer) {
            return Some(Version::Http1);
        }
    }
}
