//! A connection that has switched protocols: bytes are passed on in both directions until both sides are done.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional, join};
use tokio::net::TcpStream;

use super::replay::Replay;

/// Connects client and slot. What was read of them before goes first.
pub(super) async fn tunnel<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut R,
    writer: &mut W,
    from_client: BytesMut,
    slot: TcpStream,
    from_slot: BytesMut,
) {
    let mut client = Replay::new(from_client, join(reader, writer));
    let mut slot = Replay::new(from_slot, slot);
    // That either side just goes away is how such connections commonly end.
    if let Err(error) = copy_bidirectional(&mut client, &mut slot).await {
        tracing::debug!(%error, "a tunnel ended");
    }
}
