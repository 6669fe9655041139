//! Connecting to a name that may have several addresses.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// After how long the next address is tried beside those that have not answered (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the address that answers first. The others are tried in their order, one after the other has failed, or
/// has not answered for a while.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    connect_any(tokio::net::lookup_host((host, port)).await?).await
}

async fn connect_any(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter().peekable();
    let mut attempts = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = left.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let outcome = match left.peek() {
            None => attempts.join_next().await,
            Some(_) => match tokio::time::timeout(ATTEMPT_DELAY, attempts.join_next()).await {
                Ok(outcome) => outcome,
                Err(_) => continue,
            },
        };
        match outcome {
            Some(Ok(Ok(stream))) => return Ok(stream),
            // The first address is the one that people know.
            Some(Ok(Err(error))) => failure = failure.or(Some(error)),
            Some(Err(error)) => failure = failure.or(Some(io::Error::other(error))),
            None if left.peek().is_some() => {}
            None => {
                let none = || io::Error::new(io::ErrorKind::NotFound, "failed to lookup address: it has none");
                return Err(failure.unwrap_or_else(none));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An address that swallows packets: its listener takes no more connections.
    async fn silent() -> (TcpListener, Vec<tokio::task::JoinHandle<io::Result<TcpStream>>>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = (0..8).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        (listener, waiting)
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_does_not_keep_the_next_one_from_being_tried() {
        let (silent, waiting) = silent().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [first, second] = [&silent, &listener].map(|listener| listener.local_addr().unwrap());
        let started = Instant::now();
        let stream = connect_any([first, first, second]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), second);
        assert!(started.elapsed() < Duration::from_millis(950), "{:?}", started.elapsed());
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_followed_by_the_next_at_once_and_is_told_when_all_refuse() {
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let started = Instant::now();
        let stream = connect_any([refusing, refusing, refusing, listener.local_addr().unwrap()]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        assert!(started.elapsed() < ATTEMPT_DELAY, "{:?}", started.elapsed());
        let error = connect_any([refusing, refusing]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_any([]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
