//! Tunnels: a local port, or a local socket, whose connections come out on the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::host::TunnelFailures;
use bluegreen_core::{Error, Result, Tunnel};
use russh::client::Msg;
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::destination::Destination;
use crate::failure::Failure;
use crate::session::Session;

/// Where a tunnel leads to, as seen from the server.
#[derive(Debug, Clone)]
enum End {
    Tcp { host: String, port: u16 },
    Socket(String),
}

impl End {
    fn parse(address: &str) -> Result<Self> {
        if let Some(path) = address.strip_prefix("unix:") {
            return match path.starts_with('/') && !path.contains('\0') {
                true => Ok(Self::Socket(path.to_owned())),
                false => Err(Error::config(format!("{address:?} is not unix: and an absolute path"))),
            };
        }
        match address.parse::<Destination>() {
            Ok(Destination { user: None, host, port: Some(port) }) => Ok(Self::Tcp { host, port }),
            _ => Err(Error::config(format!("{address:?} is neither host:port nor unix:/path"))),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Listens here for as long as the tunnel lives, and connects each connection to `address` as seen from the server: on a
/// port of the loopback interface, or, for a socket, on a socket in a directory that nobody else may enter.
pub(crate) async fn open(session: &Arc<Session>, address: &str) -> Result<Tunnel> {
    let end = End::parse(address)?;
    // A server that cannot be reached is told now, not to the first client.
    session.connection().await?;
    let listen = async {
        Ok::<_, std::io::Error>(match &end {
            End::Tcp { .. } => {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                let local = listener.local_addr()?.to_string();
                (Listener::Tcp(listener), local, None)
            }
            End::Socket(_) => {
                // Whoever reaches an engine's socket is as good as root on the server.
                let directory = tempfile::Builder::new().prefix("tunnel-").tempdir()?;
                let path = directory.path().join("socket");
                let listener = UnixListener::bind(&path)?;
                (Listener::Socket(listener), format!("unix:{}", path.display()), Some(directory))
            }
        })
    };
    let (listener, local, directory) = listen.await.map_err(|error| Error::from(error).not_applied())?;
    let failures = TunnelFailures::default();
    let accepting = tokio::spawn(accept(listener, Arc::clone(session), end, failures.clone()));
    Ok(Tunnel::guarded(local, (AbortOnDrop(accepting), directory)).noting(failures))
}

enum Listener {
    Tcp(TcpListener),
    Socket(UnixListener),
}

enum Client {
    Tcp(TcpStream),
    Socket(UnixStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Client> {
        Ok(match self {
            Self::Tcp(listener) => Client::Tcp(listener.accept().await?.0),
            Self::Socket(listener) => Client::Socket(listener.accept().await?.0),
        })
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: Listener, session: Arc<Session>, end: End, failures: TunnelFailures) {
    // Dropped with this task, and with it all connections through the tunnel.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok(client) => {
                let (session, end, failures) = (Arc::clone(&session), end.clone(), failures.clone());
                connections.spawn(async move { forward(client, &session, &end, &failures).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a tunnel cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(connection: &Connection, end: &End) -> Result<Channel<Msg>, Failure> {
    match end {
        End::Tcp { host, port } => connection.direct(host, *port).await,
        End::Socket(path) => connection.direct_to_socket(path).await,
    }
}

async fn forward(client: Client, session: &Session, end: &End, failures: &TunnelFailures) {
    let opened = async {
        let connection = session.connection().await?;
        match connect(&connection, end).await {
            Err(failure) if failure.is_lost() => Ok(connect(&*session.connection().await?, end).await?),
            outcome => outcome.map_err(Error::from),
        }
    };
    let opened = opened.await.map_err(|error| error.with("host", &session.settings).with("address", end));
    failures.note(opened.as_ref().err().map(Error::chain));
    match (opened, client) {
        // Either end may break it off; both ends see that.
        (Ok(channel), Client::Tcp(client)) => {
            let _ = client.set_nodelay(true);
            let _ = copy(client, channel.into_stream()).await;
        }
        (Ok(channel), Client::Socket(client)) => {
            let _ = copy(client, channel.into_stream()).await;
        }
        (Err(error), client) => {
            tracing::warn!(error = %error.chain(), "a tunnel has no connection to its end");
            if let Client::Tcp(client) = client {
                // The client sees a reset and not an orderly end, as if it had asked the address itself.
                let _ = client.set_zero_linger();
            }
        }
    }
}

/// Copies both ways until both have ended, or one is broken.
async fn copy(client: impl AsyncRead + AsyncWrite, server: ChannelStream<Msg>) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
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
