//! [`Socket`]: HAProxy's runtime socket on a host.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Host, Result, Tunnel};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::command::Command;
use crate::error::refused;
use crate::name::Name;

/// More than the counters of thousands of servers: whatever sends more is not HAProxy.
const MAX_ANSWER: u64 = 16 << 20;

/// Between two tries to connect to a socket that others crowd.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Begins the answer to [`Command::ShowLock`]. What is asked behind it never has an empty answer.
const VARIABLE: &str = "proc.";

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) backend: Name,
    /// As [`Host::tunnel`] takes it.
    pub(crate) address: String,
    pub(crate) timeout: Duration,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Socket {
    /// Sends commands that only look, as one line over a connection of its own, and returns the answer to each.
    ///
    /// # Errors
    /// `Unreachable` when nobody listens, `Unauthorized` when this account may not connect, `Timeout`, and `Unexpected` for what is
    /// no answer of HAProxy's. All of them say `NotApplied`.
    pub(crate) async fn ask(&self, commands: &[Command]) -> Result<Vec<String>> {
        self.send(commands).await.map_err(Error::not_applied)
    }

    /// The same for commands that change something: what is sent and not answered may have been done.
    pub(crate) async fn send(&self, commands: &[Command]) -> Result<Vec<String>> {
        let about = |error: Error| {
            error.with("socket", &self.address).with("host", &self.host).with_operation("talk to HAProxy")
        };
        let late = || Error::new(ErrorKind::Timeout, format!("HAProxy did not answer within {:?}", self.timeout));
        let (mut stream, tunnel) = match tokio::time::timeout(self.timeout, self.connect()).await {
            Ok(connected) => connected.map_err(|error| about(error.not_applied()))?,
            Err(_) => return Err(about(late().not_applied())),
        };
        let line: Vec<_> = commands.iter().map(|command| command.text(&self.backend)).collect();
        let answer = match tokio::time::timeout(self.timeout, exchange(&mut *stream, &line.join(";"))).await {
            Ok(answer) => answer.map_err(Error::from),
            Err(_) => Err(late()),
        };
        let answer = answer.map_err(|error| match tunnel.failure() {
            // Then the commands went nowhere.
            Some(why) => Error::new(ErrorKind::Unreachable, why).not_applied(),
            None => error,
        });
        let answers = blocks(&answer.map_err(about)?, commands.len()).map_err(about)?;
        let mut pairs = commands.iter().zip(&answers);
        match pairs.find(|(command, answer)| !command.is_done(answer) || answer.starts_with("Permission denied")) {
            Some((command, answer)) => Err(about(refused(&command.text(&self.backend), answer))),
            None => Ok(answers),
        }
    }

    async fn connect(&self) -> Result<(Box<dyn Stream>, Tunnel)> {
        let tunnel = self.host.tunnel(&self.address).await?;
        match connect_to(tunnel.address()).await {
            Ok(stream) => Ok((stream, tunnel)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(Error::new(
                ErrorKind::Unauthorized,
                "this account may not connect to HAProxy's socket",
            )
            .with_source(error)
            .with_hint(
                "add the account to the group of the socket, or set `user`, `group` and `mode` of `stats socket`",
            )),
            Err(error) => Err(Error::new(ErrorKind::Unreachable, "nobody listens on HAProxy's socket")
                .with_source(error)
                .with_hint("start HAProxy, and compare the path with `stats socket` in its configuration")),
        }
    }
}

async fn connect_to(address: &str) -> std::io::Result<Box<dyn Stream>> {
    let Some(path) = address.strip_prefix("unix:") else { return Ok(Box::new(TcpStream::connect(address).await?)) };
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return Ok(Box::new(stream)),
            // HAProxy serves ten connections at a time, and lets as many wait.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => tokio::time::sleep(BETWEEN_TRIES).await,
            Err(error) => return Err(error),
        }
    }
}

/// One line, and all that comes back until HAProxy closes the connection.
async fn exchange(stream: &mut dyn Stream, line: &str) -> std::io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The answer to each command: an empty line ends each, and none contains one. Behind a variable HAProxy 2.6 leaves that line out.
fn blocks(text: &str, count: usize) -> Result<Vec<String>> {
    let (mut blocks, mut lines) = (Vec::new(), Vec::new());
    let mut rest = text.split_inclusive('\n').peekable();
    while let Some(line) = rest.next() {
        match line.strip_suffix('\n') {
            Some("") => blocks.push(std::mem::take(&mut lines).join("\n")),
            Some(line) if line.starts_with(VARIABLE) && rest.peek().is_some_and(|next| *next != "\n") => {
                blocks.push(line.to_owned());
            }
            _ => lines.push(line.trim_end_matches('\n')),
        }
    }
    if lines.is_empty() && blocks.len() == count {
        return Ok(blocks);
    }
    let begin: String = text.chars().take(80).collect();
    let what = match text.is_empty() {
        true => "HAProxy closed the connection without an answer".to_owned(),
        false => format!("{} bytes that are no answer to {count} commands, beginning with {begin:?}", text.len()),
    };
    Err(Error::new(ErrorKind::Unexpected, what).with_hint("is this the runtime socket of HAProxy, 2.6 or later?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_answer() {
        let answers = |text: &str, count| blocks(text, count).ok();
        assert_eq!(answers("\nNo such server.\n\n\n", 3), Some(vec!["".into(), "No such server.".into(), "".into()]));
        assert_eq!(answers("1\n# a\nrow\n\n\n", 2), Some(vec!["1\n# a\nrow".into(), "".into()]));
        let lock = "\nproc.lock: type=str value=<a>\n1\n# a\n\n";
        assert_eq!(answers(lock, 3).unwrap()[1..], ["proc.lock: type=str value=<a>", "1\n# a"]);
        assert_eq!(answers(&lock.replace(">\n", ">\n\n"), 3), answers(lock, 3));
        for garbage in ["", "\n\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "1\n# a\nro", "1\n# a\nrow\n", "x", "\n\n\n\n"]
        {
            assert_eq!(answers(garbage, 3), None, "{garbage:?}");
        }
    }
}
