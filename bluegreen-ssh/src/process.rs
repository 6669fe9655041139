//! A script that runs on the server, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind};
use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};

use crate::connection::{CloseOnDrop, Connection, Place, SessionChannel};
use crate::failure::Failure;
use crate::script::{self, Script};

/// A running script. When it is dropped before its end, it is ended on the server and its channel closed.
pub(crate) struct Process {
    /// Taken when it has ended.
    inner: Option<Inner>,
    input: Option<Input>,
}

/// The way to a process's standard input.
///
/// Writing waits until the server takes more, and for ever when the connection is lost meanwhile: always read on
/// with [`Process::next`] beside it.
pub(crate) struct Input {
    write: Arc<ChannelWriteHalf<Msg>>,
    /// The script, where it goes this way.
    prefix: Bytes,
}

impl Input {
    /// Writes bytes. Where the process is gone, they are dropped: [`Process::next`] tells why.
    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>) {
        let prefix = std::mem::take(&mut self.prefix);
        if self.write.data_bytes(prefix).await.is_ok() {
            let _ = self.write.data_bytes(bytes).await;
        }
    }

    /// Ends the input.
    pub(crate) async fn close(mut self) {
        self.send(Bytes::new()).await;
        let _ = self.write.eof().await;
    }
}

/// What comes from a process.
pub(crate) enum Event {
    Stdout(Bytes),
    Stderr(Bytes),
    Ended(Ended),
}

/// How a process ended. One of the two is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<String>,
}

struct Inner {
    connection: Arc<Connection>,
    _place: Place,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    sudo: bool,
    tidies: bool,
    marker: String,
    stdout: Beginning,
    stderr: Beginning,
    ended: Option<Ended>,
    eof: bool,
}

impl Process {
    /// Opens a channel and asks the server to run the script. It is not running when this fails.
    pub(crate) async fn start(connection: &Arc<Connection>, script: &Script) -> Result<Self, Failure> {
        let SessionChannel { channel, place } = connection.session().await?;
        let marker = script::marker();
        let (bootstrap, prefix) = script.render(&marker);
        let (read, write) = channel.split();
        let write = Arc::new(write);
        let process = Self {
            inner: Some(Inner {
                connection: Arc::clone(connection),
                _place: place,
                read,
                write: Arc::clone(&write),
                sudo: script.is_sudo(),
                tidies: script.is_inline(),
                stdout: Beginning::new(&marker),
                stderr: Beginning::new(&marker),
                marker,
                ended: None,
                eof: false,
            }),
            input: Some(Input { write: Arc::clone(&write), prefix: Bytes::from(prefix) }),
        };
        match write.exec(true, bootstrap).await {
            Ok(()) => Ok(process),
            Err(_) => Err(connection.lost().await),
        }
    }

    /// The way to its standard input; to be taken once.
    pub(crate) fn input(&mut self) -> Option<Input> {
        self.input.take()
    }

    /// The word that a script which could not be run leaves at the end of standard error, with a status.
    pub(crate) fn marker(&self) -> &str {
        self.inner.as_ref().map_or("", |inner| &inner.marker)
    }

    /// The next thing that happens. It can be cut off. After [`Event::Ended`] or a failure there is nothing more.
    ///
    /// # Errors
    /// When the connection is lost; when the server does not tell how the process ended; when it never began.
    pub(crate) async fn next(&mut self) -> Result<Event, Failure> {
        let Some(inner) = &mut self.inner else {
            return Err(Failure::Lost("the process has ended".to_owned()));
        };
        let outcome = inner.next().await;
        if matches!(outcome, Ok(Event::Ended(_)) | Err(_)) {
            self.inner = None;
        }
        outcome
    }

    /// Ends it with all its children, and says whether that is certain.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        match self.inner.take() {
            Some(inner) => inner.end().await,
            None => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let (Some(inner), Ok(runtime)) = (self.inner.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(failure) = inner.end().await {
                    tracing::warn!(%failure, "a command that is not waited for any more could not be ended");
                }
            });
        }
    }
}

impl Inner {
    async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.step().await? {
                return Ok(event);
            }
        }
    }

    /// Takes one message.
    async fn step(&mut self) -> Result<Option<Event>, Failure> {
        match self.read.wait().await {
            Some(ChannelMsg::Data { data }) => return Ok(self.stdout.pass(data).map(Event::Stdout)),
            Some(ChannelMsg::ExtendedData { data, .. }) => return Ok(self.stderr.pass(data).map(Event::Stderr)),
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.ended = Some(Ended { status: i32::try_from(exit_status).ok(), signal: None });
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.ended = Some(Ended { status: None, signal: Some(name_of(&signal_name)) });
            }
            Some(ChannelMsg::Eof) => self.eof = true,
            Some(ChannelMsg::Failure) => return Err(Failure::Refused(refused_to_run())),
            Some(ChannelMsg::Close) => return self.closed().map(Some),
            // The connection is gone. All there is to know may have come before.
            None if self.eof && self.ended.is_some() => return self.closed().map(Some),
            None => return Err(self.connection.lost().await),
            Some(_) => {}
        }
        Ok(None)
    }

    fn closed(&mut self) -> Result<Event, Failure> {
        if self.stdout.rest.is_none() && self.stderr.rest.is_none() {
            return Err(Failure::Refused(did_not_begin(&self.stdout.before, &self.stderr.before, self.ended.as_ref())));
        }
        match self.ended.take() {
            Some(ended) => Ok(Event::Ended(ended)),
            None => Err(Failure::Lost("the server closed the channel without an exit status".to_owned())),
        }
    }

    /// Ends the process and all its descendants, and waits for the channel to close.
    async fn end(mut self) -> Result<(), Failure> {
        // A script of ours takes the end of its input as a sign to clean up.
        if self.tidies && self.write.eof().await.is_ok() && self.closes().await {
            return Ok(());
        }
        let ended = match tokio::time::timeout(TO_BEGIN, self.begun()).await {
            Ok(Some(pid)) => tokio::time::timeout(TO_KILL, kill(&self.connection, pid, self.sudo)).await,
            _ => Ok(Err(Failure::Lost("its process id is not known".to_owned()))),
        };
        let ended = ended.unwrap_or_else(|_| Err(Failure::Lost(format!("it was not ended within {TO_KILL:?}"))));
        if ended.is_err() {
            // Some servers pass a signal on; it does not reach what sudo has started.
            let _ = self.write.signal(Sig::KILL).await;
        }
        if self.closes().await {
            return Ok(());
        }
        let _ = self.write.close().await;
        ended
    }

    /// Whether the process is seen to end within a short time.
    async fn closes(&mut self) -> bool {
        let close = async {
            loop {
                match self.next().await {
                    Ok(Event::Ended(_)) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        };
        tokio::time::timeout(TO_CLOSE, close).await.unwrap_or(false)
    }

    /// The process id, as soon as it is known.
    async fn begun(&mut self) -> Option<u32> {
        while self.stderr.rest.is_none() {
            self.step().await.ok()?;
        }
        self.stderr.rest.as_ref()?.trim().parse().ok()
    }
}

const TO_BEGIN: Duration = Duration::from_secs(2);
const TO_KILL: Duration = Duration::from_secs(10);
const TO_CLOSE: Duration = Duration::from_secs(2);

async fn kill(connection: &Arc<Connection>, pid: u32, sudo: bool) -> Result<(), Failure> {
    let pid = pid.to_string();
    let script = if sudo {
        let command = bluegreen_core::Command::script(KILL).arg(&pid).sudo(true);
        Script::command(&command).map_err(Failure::Refused)?
    } else {
        Script::inline(KILL, &[&pid])
    };
    let (mut read, write) = connection.extra_session().await?.split();
    let write = Arc::new(write);
    let _close = CloseOnDrop(Arc::clone(&write));
    // It has no environment, so it needs no input.
    let (bootstrap, _) = script.render(&script::marker());
    write.exec(true, bootstrap).await?;
    write.eof().await?;
    let mut status = None;
    while let Some(message) = read.wait().await {
        if let ChannelMsg::ExitStatus { exit_status } = message {
            status = Some(exit_status);
        }
    }
    match status {
        Some(0) => Ok(()),
        Some(status) => Err(Failure::Lost(format!("ending process {pid} failed with exit status {status}"))),
        None => Err(connection.lost().await),
    }
}

const KILL: &str = include_str!("scripts/kill.sh");

/// Drops what a profile prints, up to the line with the marker.
struct Beginning {
    marker: Vec<u8>,
    before: Vec<u8>,
    /// What stood behind the marker on its line, once it was seen.
    rest: Option<String>,
}

impl Beginning {
    fn new(marker: &str) -> Self {
        Self { marker: marker.as_bytes().to_vec(), before: Vec::new(), rest: None }
    }

    fn pass(&mut self, data: Bytes) -> Option<Bytes> {
        if self.rest.is_some() {
            return Some(data);
        }
        self.before.extend_from_slice(&data);
        let Some(start) = self.before.windows(self.marker.len()).position(|window| window == self.marker) else {
            // A profile that prints without end must not fill the memory.
            let surplus = self.before.len().saturating_sub(NOISE);
            self.before.drain(..surplus);
            return None;
        };
        let after = start + self.marker.len();
        let end = after + self.before[after..].iter().position(|byte| *byte == b'\n')?;
        self.rest = Some(String::from_utf8_lossy(&self.before[after..end]).into_owned());
        let output = Bytes::copy_from_slice(&self.before[end + 1..]);
        self.before = Vec::new();
        (!output.is_empty()).then_some(output)
    }
}

const NOISE: usize = 64 << 10;

fn refused_to_run() -> Error {
    Error::new(ErrorKind::Unauthorized, "the server refused to run a command")
        .not_applied()
        .advice("is the account allowed to, or restricted by ForceCommand or a key option?")
}

fn did_not_begin(stdout: &[u8], stderr: &[u8], ended: Option<&Ended>) -> Error {
    let said = [stderr, stdout].map(String::from_utf8_lossy).join(" ");
    let said = said.trim();
    let status = ended.and_then(|ended| ended.status).map_or("none".to_owned(), |status| status.to_string());
    let message = if said.is_empty() {
        "the login shell ran no command".to_owned()
    } else {
        format!("the login shell ran no command: {said}")
    };
    Error::new(ErrorKind::Unsupported, message)
        .with("exit status", status)
        .advice("an account with a POSIX sh is needed, without a forced command")
}

pub(crate) fn name_of(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        signal => format!("{signal:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_marker_is_dropped_wherever_the_packets_are_cut() {
        let text = b"Welcome!\nMARK 42\noutput MARK 7\n";
        for cut in 0..text.len() {
            let mut beginning = Beginning::new("MARK");
            let mut output = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                output.extend(beginning.pass(Bytes::copy_from_slice(part)).unwrap_or_default());
            }
            assert_eq!(String::from_utf8(output).unwrap(), "output MARK 7\n", "cut at {cut}");
            assert_eq!(beginning.rest.as_deref(), Some(" 42"));
        }
    }
}
