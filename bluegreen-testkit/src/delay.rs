//! A long line between two programs of this machine.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What may be under way in one direction: 64 KiB each. Far more than a line of 20 ms holds at a gigabit per second.
const PIECES_UNDER_WAY: usize = 256;

/// Starts a TCP proxy that holds each byte for `one_way` in each direction, and returns its address. It delays and does
/// not slow down: as much as one likes may be under way. It runs until the runtime ends.
///
/// # Errors
/// When no port can be bound.
pub async fn delayed(target: SocketAddr, one_way: Duration) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(target).await else { return };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::join!(carry(near_in, far_out, one_way), carry(far_in, near_out, one_way));
            });
        }
    });
    Ok(address)
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_UNDER_WAY);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_arrive_whole_and_not_before_their_time() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut peer, _) = listener.accept().await.unwrap();
            let (mut input, mut output) = peer.split();
            tokio::io::copy(&mut input, &mut output).await.unwrap();
        });
        let delay = Duration::from_millis(30);
        let mut line = TcpStream::connect(delayed(target, delay).await.unwrap()).await.unwrap();
        let (sent, start) = (vec![7; 3 << 20], Instant::now());
        let (mut input, mut output) = line.split();
        let mut received = Vec::new();
        let send = async {
            output.write_all(&sent).await.unwrap();
            output.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(send, input.read_to_end(&mut received));
        read.unwrap();
        assert!(received == sent);
        assert!(start.elapsed() >= 2 * delay);
    }
}
