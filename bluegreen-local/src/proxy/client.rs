//! One client's connection, and what can be done with it at any time.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::core::Core;

/// What is thrown away in one go.
const ROOM: usize = 4 << 10;

/// How long a client gets to read its last answer before its connection is reset, and how long it may be silent
/// meanwhile: nginx's `lingering_time` and `lingering_timeout`.
pub(super) const LINGER: Duration = Duration::from_secs(30);
pub(super) const LINGER_SILENCE: Duration = Duration::from_secs(5);

/// A connection on which a client speaks HTTP/1.
#[derive(Debug)]
pub(super) struct Client<R, W> {
    pub(super) core: Arc<Core>,
    pub(super) address: IpAddr,
    pub(super) reader: R,
    pub(super) writer: W,
    /// What has been read and not dealt with.
    pub(super) buffer: BytesMut,
    pub(super) alarm: Alarm,
    /// How long an answer is waited for when the client has ended its side.
    pub(super) half_close_timeout: Duration,
    /// Whether no further request is wanted.
    pub(super) drain: CancellationToken,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Client<R, W> {
    /// Writes something short.
    pub(super) async fn tell(&mut self, bytes: &[u8]) -> io::Result<()> {
        let limit = Instant::now() + self.core.settings.send_timeout;
        tokio::select! {
            biased;
            written = self.writer.write_all(bytes) => written,
            () = self.alarm.reaches(limit) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Ends a connection. Closed at once, it would be reset when the client is sending still, and the client might not get
    /// to see its answer: RFC 9112, section 9.6.
    pub(super) async fn linger(mut self) {
        let lingering = async {
            if self.writer.shutdown().await.is_err() {
                return;
            }
            let mut waste = BytesMut::with_capacity(ROOM);
            loop {
                waste.clear();
                waste.reserve(ROOM);
                match timeout(LINGER_SILENCE, self.reader.read_buf(&mut waste)).await {
                    Ok(Ok(count)) if count > 0 => {}
                    _ => return,
                }
            }
        };
        let _ = timeout(LINGER, lingering).await;
    }
}
