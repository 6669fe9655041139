//! Tunnels: a local port whose connections come out on the server.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Result, Tunnel};
use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::destination::Destination;
use crate::host::Link;

/// Listens on a port of the loopback interface for as long as the tunnel lives, and connects each connection to
/// `address` as seen from the server.
pub(crate) async fn open(link: &Arc<Link>, address: &str) -> Result<Tunnel> {
    let (host, port) = match address.parse::<Destination>() {
        Ok(Destination { user: None, host, port: Some(port) }) => (host, port),
        _ => return Err(Error::config(format!("{address:?} is not host:port"))),
    };
    // A server that cannot be reached is told now, not to the first client.
    link.connection().await?;
    let listen = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let local = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, local))
    };
    let (listener, local) = listen.await.map_err(|error| Error::from(error).not_applied())?;
    let accepting = tokio::spawn(accept(listener, Arc::clone(link), host, port));
    Ok(Tunnel::guarded(local.to_string(), AbortOnDrop(accepting)))
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: TcpListener, link: Arc<Link>, host: String, port: u16) {
    // Dropped with this task, and with it all connections through the tunnel.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let (link, host) = (Arc::clone(&link), host.clone());
                connections.spawn(async move { forward(client, &link, &host, port).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a tunnel cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(client: TcpStream, link: &Link, host: &str, port: u16) {
    let opened = async {
        let connection = link.connection().await?;
        match connection.direct(host, port).await {
            Err(failure) if failure.is_lost() => Ok(link.connection().await?.direct(host, port).await?),
            outcome => outcome.map_err(Error::from),
        }
    };
    match opened.await {
        Ok(channel) => {
            let _ = client.set_nodelay(true);
            // Either end may break it off; both ends see that.
            let _ = copy(client, channel.into_stream()).await;
        }
        Err(error) => {
            let error = error.with("host", &link.settings).with("address", format!("{host}:{port}"));
            tracing::warn!(error = %error.chain(), "a tunnel has no connection to its end");
            // The client sees a reset and not an orderly end, as if it had asked the address itself.
            let _ = client.set_zero_linger();
        }
    }
}

/// Copies both ways until both have ended, or one is broken.
async fn copy(mut client: TcpStream, server: ChannelStream<Msg>) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        tokio::io::copy(&mut from_client, &mut to_server).await?;
        to_server.shutdown().await
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from_server.read(&mut buffer).await? {
                0 => return to_client.shutdown().await,
                count => tokio::time::timeout(STALLED, to_client.write_all(&buffer[..count])).await??,
            }
        }
    };
    tokio::try_join!(up, down).map(drop)
}

/// A client that takes nothing for so long is cut off: all channels share one connection, and once the buffers are full
/// (some 3 MB), what is not taken from one of them holds up all the others.
const STALLED: Duration = Duration::from_secs(10);
