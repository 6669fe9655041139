//! The client's side of a request while it is with the slot: the rest of its body, then whether the client is still
//! there.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;

use super::client::LINGER_SILENCE;
use super::http1::{Body, Encoding, Length, Piece};
use super::pace::{Pace, Waiting};
use super::relay::{Broken, Source, relay};

/// How much of what a client sends ahead is held.
const READ_AHEAD: usize = 8 << 10;

/// How much of a request that its slot does not take is read and thrown away, so that the client's connection can be kept:
/// what Go's `net/http` has. A client with more to send loses its connection after the answer.
const DISCARD_LIMIT: u64 = 256 << 10;

/// What is thrown away in one go.
const ROOM: usize = 4 << 10;

/// Whether a body is thrown away to its end when its slot does not take it.
pub(super) fn can_be_discarded(length: Length) -> bool {
    matches!(length, Length::Exactly(length) if length <= DISCARD_LIMIT)
}

/// What the client's side has come to.
#[derive(Debug)]
pub(super) enum Happened {
    /// The client sends no more, and may wait for its answer.
    HalfClosed,
    /// The client has gone.
    Gone,
    /// What it sent was no body.
    Malformed,
    /// The slot does not take it, and it is too much, or comes too slowly, to throw it away.
    NotRead,
}

/// What is left to send of a request.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) body: Body,
    pub(super) encoding: Encoding,
    /// What is to be sent before more is read.
    pub(super) out: Vec<u8>,
    /// Whether `out` ends the request.
    pub(super) ended: bool,
    pub(super) after: Vec<u8>,
}

impl Upload {
    /// Sends the rest, then watches the client. What the slot does not take, as `pace` tells, is thrown away. It ends only
    /// when something happens that is no progress.
    pub(super) async fn run<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        self,
        reader: &mut R,
        buffer: &mut BytesMut,
        writer: &mut W,
        pace: &Pace,
    ) -> Happened {
        let Self { mut body, encoding, out, ended, after } = self;
        let passed_on = {
            let source = Source { reader: &mut *reader, buffer: &mut *buffer };
            let mut relaying = pin!(relay(source, &mut body, encoding, after, out, ended, writer, pace, || ()));
            poll_fn(|cx| match pace.is_refused() {
                true => Poll::Ready(Err(Broken::Sink)),
                false => relaying.as_mut().poll(cx),
            })
            .await
        };
        if let Err(Broken::Sink) = passed_on {
            pace.refuse();
        }
        let all_read = match passed_on {
            Err(Broken::Sink) => discard(&mut body, reader, buffer).await,
            passed_on => passed_on.map(|()| true),
        };
        match all_read {
            Ok(true) => {
                pace.moved(Waiting::Nobody);
                watch(reader, buffer).await
            }
            Ok(false) => Happened::NotRead,
            Err(Broken::Malformed) => Happened::Malformed,
            Err(Broken::Source | Broken::Sink) => Happened::Gone,
        }
    }
}

/// Reads what is left of a body, up to a limit. Returns whether that was all.
async fn discard<R: AsyncRead + Unpin>(body: &mut Body, reader: &mut R, buffer: &mut BytesMut) -> Result<bool, Broken> {
    let (mut count, mut after) = (0, Vec::new());
    loop {
        match body.next(buffer, &mut after).map_err(|_| Broken::Malformed)? {
            Piece::End => return Ok(true),
            Piece::Data(length) => body.advance(buffer, length),
            Piece::Incomplete if count >= DISCARD_LIMIT || body.left().is_some_and(|left| left > DISCARD_LIMIT) => {
                return Ok(false);
            }
            Piece::Incomplete => {
                buffer.reserve(ROOM);
                match timeout(LINGER_SILENCE, reader.read_buf(buffer)).await {
                    Err(_) => return Ok(false),
                    Ok(Ok(0) | Err(_)) => return Err(Broken::Source),
                    Ok(Ok(read)) => count += read as u64,
                }
            }
        }
    }
}

async fn watch<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> Happened {
    while buffer.len() < READ_AHEAD {
        buffer.reserve(1 << 10);
        match reader.read_buf(buffer).await {
            Ok(0) => return Happened::HalfClosed,
            Ok(_) => {}
            Err(_) => return Happened::Gone,
        }
    }
    std::future::pending().await
}
