//! A socket between us and the engine, which may hold back or answer what a test says.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// Where the engine listens.
pub(crate) fn engine_socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes to the engine, and the answer comes back.
    Passes,
    /// The proxy answers it with an error of the engine.
    Refused,
    /// Of the answer, only the beginning comes back. The connection stays open.
    Stalls,
    /// The engine does what it is asked, and nothing comes back.
    Unanswered,
}

/// Listens at `socket`. Each request's fate depends on its first line, such as `GET /events?since=1 HTTP/1.1`.
pub(crate) fn proxy(socket: &Path, fate_of: impl Fn(&str) -> Fate + Send + Sync + 'static) {
    let (listener, fate_of) = (UnixListener::bind(socket).unwrap(), Arc::new(fate_of));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let fate_of = Arc::clone(&fate_of);
            tokio::spawn(async move {
                let engine = UnixStream::connect(engine_socket()).await.unwrap();
                // An error says that one of the two has gone.
                let _ = pass(client, engine, &*fate_of).await;
            });
        }
    });
}

type Judge = dyn Fn(&str) -> Fate + Send + Sync;

async fn pass(mut client: UnixStream, mut engine: UnixStream, fate_of: &Judge) -> std::io::Result<()> {
    let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    // How many more pieces of the answer come back, where it stalls.
    let mut left = None;
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let bytes = &asked[..count?];
                if bytes.is_empty() {
                    return Ok(());
                }
                let text = String::from_utf8_lossy(bytes);
                let line = text.lines().next().unwrap_or_default();
                match if line.contains(" HTTP/1.1") { fate_of(line) } else { Fate::Passes } {
                    Fate::Passes => engine.write_all(bytes).await?,
                    fate @ (Fate::Stalls | Fate::Unanswered) => {
                        left = Some(usize::from(fate == Fate::Stalls));
                        engine.write_all(bytes).await?;
                    }
                    Fate::Refused => {
                        let answer = r#"{"message":"refused by the test"}"#;
                        let head = format!("HTTP/1.1 500 Internal Server Error\r\nContent-Length: {}", answer.len());
                        client.write_all(format!("{head}\r\n\r\n{answer}").as_bytes()).await?;
                    }
                }
            }
            count = engine.read(&mut answered) => {
                let bytes = &answered[..count?];
                if bytes.is_empty() {
                    return Ok(());
                }
                match &mut left {
                    Some(0) => {}
                    Some(left) => { *left -= 1; client.write_all(bytes).await?; }
                    None => client.write_all(bytes).await?,
                }
            }
        }
    }
}
