//! The other end of the control socket.

use std::path::Path;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{Answer, LONGEST_LINE, Question};

/// How long the proxy may take to answer: a change is one small file made durable.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks the proxy behind this socket.
///
/// # Errors
/// What the proxy refused with; `Unreachable` when there is none, `Timeout` when it does not answer.
pub(crate) async fn ask(socket: &Path, question: &Question) -> Result<Answer> {
    let asking = async {
        let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        talk(stream, question).await
    };
    let answer = match timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("the proxy did not answer within {PATIENCE:?}"))),
    };
    match answer.map_err(|error| error.with("socket", socket.display()))? {
        Answer::Refused(refused) => Err(Error::from(refused).with("socket", socket.display())),
        answer => Ok(answer),
    }
}

async fn talk(mut stream: UnixStream, question: &Question) -> Result<Answer> {
    let mut line = serde_json::to_vec(question).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the question cannot be written").not_applied().with_source(error)
    })?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(Error::from)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST_LINE)).read_until(b'\n', &mut line).await.map_err(Error::from)?;
    if line.is_empty() {
        return Err(Error::new(ErrorKind::Unreachable, "the proxy closed the connection without an answer"));
    }
    serde_json::from_slice(&line).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the proxy's answer cannot be understood")
            .with_source(error)
            .with_hint("are the proxy and the deployer of the same version?")
    })
}

fn unreachable(error: std::io::Error) -> Error {
    let missing = matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused);
    let error = if missing {
        Error::new(ErrorKind::Unreachable, "no proxy is there").with_source(error).with_hint("is the proxy running?")
    } else {
        Error::from(error)
    };
    error.not_applied()
}
