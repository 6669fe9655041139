//! The TCP connection below SSH: no small packet waits for another one, on either side.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket that sends at once, and acknowledges at once.
///
/// Many SSH servers hold small packets back until the one before is acknowledged, at least as long as no command runs over
/// the connection itself: on a jump host, and below tunnels. The kernel here acknowledges 40 ms later, unless it is told
/// otherwise after each read.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    #[cfg(target_os = "linux")]
    fn acknowledge(&self) {
        // It only makes things faster.
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
    }

    #[cfg(not(target_os = "linux"))]
    fn acknowledge(&self) {}
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.acknowledge();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The kernel itself tells whether it would wait with the next acknowledgement.
    #[tokio::test]
    async fn what_was_read_is_acknowledged_at_once_however_the_connection_is_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut socket = Socket::new(stream).unwrap();
        assert!(socket.0.nodelay().unwrap());
        for _ in 0..50 {
            // Questions and answers in turn are what makes the kernel wait.
            socket.write_all(b"question").await.unwrap();
            peer.read_exact(&mut [0; 8]).await.unwrap();
            peer.write_all(b"answer").await.unwrap();
            socket.read_exact(&mut [0; 6]).await.unwrap();
            assert!(rustix::net::sockopt::tcp_quickack(&socket.0).unwrap());
        }
    }
}
