//! A connection through a jump host: what comes is taken in while a write waits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream for SSH through SSH. One task reads from it and writes to it.
///
/// russh does not read while it writes. What comes meanwhile would fill the channel of the jump host until its
/// connection stands still, and with it what lets the write go on: so a large upload stalled.
pub(crate) struct TakingIn<S> {
    stream: S,
    /// What came while a write waited.
    taken: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TakingIn<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, taken: BytesMut::new() }
    }

    fn take_in(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut chunk);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer)? {
                // The end is seen by the next one who reads.
                Poll::Ready(()) if !buffer.filled().is_empty() => self.taken.extend_from_slice(buffer.filled()),
                _ => return Ok(()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TakingIn<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_pending() {
            self.take_in(context)?;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TakingIn<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.taken.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.taken.len().min(buffer.remaining());
        buffer.put_slice(&self.taken.split_to(count));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_comes_while_a_write_waits_is_taken_in_and_read_later() {
        let (ours, mut theirs) = tokio::io::duplex(100);
        let mut stream = TakingIn::new(ours);
        let other_end = async {
            // It sends more than fits before it reads anything.
            theirs.write_all(&[5; 10_000]).await.unwrap();
            theirs.read_exact(&mut [0; 10_000]).await.unwrap();
            theirs
        };
        let (written, theirs) = tokio::join!(stream.write_all(&[6; 10_000]), other_end);
        written.unwrap();
        drop(theirs);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [5; 10_000]);
    }
}
