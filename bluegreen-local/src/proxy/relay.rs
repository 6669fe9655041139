//! One body on its way through: passed on piece by piece, never collected.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::http1::{Body, Encoding, Piece};
use super::pace::{Pace, Waiting};

/// The most of a body that is read in one go, and held: what HAProxy has as `tune.bufsize`.
const PIECE: usize = 16 << 10;

/// A body that comes in smaller pieces than this gets a buffer of this size.
const SMALL_PIECE: usize = 4 << 10;

/// Why a body was not passed on to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// It broke off.
    Source,
    /// It was not what it said.
    Malformed,
    /// Whoever was to get it does not take it any more.
    Sink,
}

/// Where a body comes from, and what has been read of it.
#[derive(Debug)]
pub(super) struct Source<'a, R> {
    pub(super) reader: &'a mut R,
    pub(super) buffer: &'a mut BytesMut,
}

/// What fits into one write: what is there of the body is written behind what `out` holds already. Returns whether the
/// body has ended.
pub(super) fn gather(
    body: &mut Body,
    buffer: &mut BytesMut,
    encoding: Encoding,
    after: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<bool, Broken> {
    loop {
        match body.next(buffer, after).map_err(|_| Broken::Malformed)? {
            Piece::Incomplete => return Ok(false),
            Piece::End => {
                encoding.end(out, after);
                return Ok(true);
            }
            Piece::Data(_) if out.len() >= PIECE => return Ok(false),
            Piece::Data(count) => {
                let count = count.min(PIECE);
                encoding.piece(out, &buffer[..count]);
                body.advance(buffer, count);
            }
        }
    }
}

/// Writes what `out` holds, then passes on the rest of the body, if it has not `ended`. When all of the body has come,
/// and before the last of it is written, `at_end` is called.
#[allow(clippy::too_many_arguments, reason = "the two ends, and what is between them")]
pub(super) async fn relay<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    source: Source<'_, R>,
    body: &mut Body,
    encoding: Encoding,
    mut after: Vec<u8>,
    mut out: Vec<u8>,
    mut ended: bool,
    writer: &mut W,
    pace: &Pace,
    at_end: impl Fn(),
) -> Result<(), Broken> {
    let Source { reader, buffer } = source;
    let mut written = 0;
    loop {
        if ended {
            at_end();
        }
        while written < out.len() {
            pace.moved(Waiting::Sink);
            written += match writer.write(&out[written..]).await {
                Ok(0) | Err(_) => return Err(Broken::Sink),
                Ok(count) => count,
            };
        }
        if ended {
            pace.moved(Waiting::Nobody);
            return Ok(());
        }
        out.clear();
        written = 0;
        if encoding == Encoding::Plain {
            // Nothing has to be put around it, so it need not be copied.
            while let Piece::Data(count) = body.next(buffer, &mut after).map_err(|_| Broken::Malformed)? {
                pace.moved(Waiting::Sink);
                if body.ends_after(count) {
                    at_end();
                }
                match writer.write(&buffer[..count]).await {
                    Ok(0) | Err(_) => return Err(Broken::Sink),
                    Ok(count) => body.advance(buffer, count),
                }
            }
        }
        ended = gather(body, buffer, encoding, &mut after, &mut out)?;
        if !out.is_empty() || ended {
            continue;
        }
        pace.moved(Waiting::Source);
        // A buffer that was filled once is likely to be filled again.
        let room = if buffer.capacity() >= SMALL_PIECE { PIECE } else { SMALL_PIECE };
        buffer.reserve(room.saturating_sub(buffer.len()).max(1));
        match reader.read_buf(buffer).await {
            Ok(0) if body.end_of_connection() => {}
            Ok(0) | Err(_) => return Err(Broken::Source),
            Ok(_) => {}
        }
    }
}
