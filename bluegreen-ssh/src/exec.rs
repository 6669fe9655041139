//! A script that runs on the server, from its start to its end.

use std::collections::VecDeque;
use std::sync::Arc;

use bluegreen_core::{Error, ErrorKind};
use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::beginning::Beginning;
use crate::close_on_drop::CloseOnDrop;
use crate::connection::{Connection, Place, Way};
use crate::failure::Failure;
use crate::marker::{Marker, Word};
use crate::script::{Feed, Rendered, Script};
use crate::waiting_shell::WaitingShell;

/// A running script. When it is dropped, its channel is closed, and the script goes on.
pub(crate) struct Exec {
    connection: Arc<Connection>,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    _close: CloseOnDrop,
    /// Freed after the channel is closed.
    _place: Option<Place>,
    marker: Marker,
    rendered: Rendered,
    stdout: Beginning,
    stderr: Beginning,
    /// What came and was not looked at yet.
    early: VecDeque<ChannelMsg>,
    /// Whether the server was asked for it before it was needed.
    asked: bool,
    input: Option<Input>,
    gate: watch::Sender<Gate>,
    /// Until when our shell has to say that it is there.
    patience: Instant,
    ended: Option<Ended>,
    eof: bool,
}

/// Whether standard input may be used. Until our own shell has said that it reads it, whatever is sent could be read,
/// echoed or run by something else.
#[derive(Debug, Clone)]
enum Gate {
    Waiting,
    Open(Arc<ChannelWriteHalf<Msg>>),
    /// Our shell did not say so in time.
    Shut,
}

/// The way to a script's standard input.
///
/// Writing waits until the script has begun and the server takes more, and for ever when the connection is lost
/// meanwhile: always read on with [`Exec::next`] beside it.
pub(crate) struct Input {
    gate: watch::Receiver<Gate>,
    /// The script, where it goes this way.
    prefix: Bytes,
    /// Whether the end has been sent already.
    ended: bool,
}

impl Input {
    /// Sends the script, where it goes this way, before there is anything else to send.
    pub(crate) async fn begin(&mut self) {
        if !self.prefix.is_empty() {
            self.send(Bytes::new()).await;
        }
    }

    /// Writes bytes. Where the process is gone, they are dropped: [`Exec::next`] tells why.
    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>) {
        let Some(write) = self.way().await else { return };
        let bytes = bytes.into();
        let prefix = std::mem::take(&mut self.prefix);
        // In one piece as long as it is small: two small packets would wait for each other at some jump hosts.
        let parts = if prefix.is_empty() || prefix.len() + bytes.len() > ONE_PIECE {
            [prefix, bytes]
        } else {
            [Bytes::from([prefix, bytes].concat()), Bytes::new()]
        };
        for part in parts {
            if write.data_bytes(part).await.is_err() {
                return;
            }
        }
    }

    /// Ends the input.
    pub(crate) async fn close(mut self) {
        if self.ended {
            return;
        }
        self.send(Bytes::new()).await;
        if let Some(write) = self.way().await {
            let _ = write.eof().await;
        }
    }

    async fn way(&mut self) -> Option<Arc<ChannelWriteHalf<Msg>>> {
        match &*self.gate.wait_for(|gate| !matches!(gate, Gate::Waiting)).await.ok()? {
            Gate::Open(write) => Some(Arc::clone(write)),
            Gate::Waiting | Gate::Shut => None,
        }
    }
}

const ONE_PIECE: usize = 32 << 10;

/// What comes from a script.
pub(crate) enum Event {
    Stdout(Bytes),
    Stderr(Bytes),
    Ended(Ended),
}

/// How a script ended. One of the two is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) signal: Option<String>,
}

impl Exec {
    /// What is to be run on this channel, before the server has been asked for it: see [`ask`](Self::ask).
    pub(crate) fn new(
        connection: &Arc<Connection>,
        way: Way,
        place: Option<Place>,
        script: &Script,
        feed: Feed,
    ) -> Self {
        let (channel, marker, rendered, early, asked) = match way {
            Way::Fresh(channel) => {
                let marker = Marker::new();
                let rendered = script.render(&marker, feed);
                (channel, marker, rendered, VecDeque::new(), false)
            }
            Way::Waiting(WaitingShell { channel, marker, early }) => {
                let rendered = script.render_for_waiting(&marker);
                (channel, marker, rendered, early, true)
            }
        };
        let (gate, opened) = watch::channel(Gate::Waiting);
        let prefix = rendered.by_input.clone().map_or_else(Bytes::new, Bytes::from);
        // Where nothing is to be sent, the end of the input need not wait for anything.
        let ended = feed == Feed::Nothing && prefix.is_empty();
        let (read, write) = channel.split();
        let write = Arc::new(write);
        Self {
            connection: Arc::clone(connection),
            read,
            _close: CloseOnDrop(Arc::clone(&write)),
            write,
            _place: place,
            stdout: Beginning::new(&marker),
            stderr: Beginning::new(&marker),
            marker,
            rendered,
            early,
            asked,
            input: Some(Input { gate: opened, prefix, ended }),
            gate,
            patience: Instant::now() + connection.patience(),
            ended: None,
            eof: false,
        }
    }

    /// Asks the server to run it, and waits until it agrees. A channel that the server has closed before is replaced:
    /// some close those that are not in use yet whenever a command ends.
    ///
    /// # Errors
    /// The script has not been run, except where the error says so.
    pub(crate) async fn ask(&mut self) -> Result<(), Failure> {
        for _ in 0..MAX_CHANNELS {
            let asked =
                std::mem::take(&mut self.asked) || self.write.exec(true, self.rendered.exec.as_str()).await.is_ok();
            match self.answer().await {
                Some(Answer::Accepted) => {
                    // Not beside the request: two small packets would wait for each other at some jump hosts.
                    if self.input.as_ref().is_some_and(|input| input.ended) {
                        let _ = self.write.eof().await;
                    }
                    self.connection.prepare_spare();
                    return Ok(());
                }
                Some(Answer::Refused) => return Err(Failure::Refused(refused_to_run())),
                Some(Answer::Closed) | None if !self.connection.is_closed() => {
                    let channel = self.connection.replace_closed().await?;
                    let (read, write) = channel.split();
                    self.early.clear();
                    self.read = read;
                    self.write = Arc::new(write);
                    self._close = CloseOnDrop(Arc::clone(&self.write));
                }
                _ if !asked => return Err(self.connection.lost().await),
                _ => {
                    let error = Error::from(self.connection.lost().await);
                    return Err(Failure::Refused(error.maybe_applied().with_hint(LOOK_FIRST)));
                }
            }
        }
        Err(Failure::Refused(closed_at_once()))
    }

    async fn answer(&mut self) -> Option<Answer> {
        loop {
            match self.received().await? {
                ChannelMsg::Success => return Some(Answer::Accepted),
                ChannelMsg::Failure => return Some(Answer::Refused),
                ChannelMsg::Close => return Some(Answer::Closed),
                message @ (ChannelMsg::Data { .. } | ChannelMsg::ExtendedData { .. }) => {
                    self.early.push_front(message);
                    return Some(Answer::Accepted);
                }
                _ => {}
            }
        }
    }

    /// The way to its standard input; to be taken once.
    pub(crate) fn input(&mut self) -> Option<Input> {
        self.input.take()
    }

    /// What the lines of our own begin with, in its output.
    pub(crate) fn marker(&self) -> &Marker {
        &self.marker
    }

    /// The next thing that happens. It can be cut off. After [`Event::Ended`] or a failure there is nothing more.
    ///
    /// # Errors
    /// When the connection is lost; when the server does not tell how the script ended; when it never began.
    pub(crate) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.step().await? {
                return Ok(event);
            }
        }
    }

    /// The id of the process that runs it, as soon as it is known.
    pub(crate) async fn pid(&mut self) -> Option<u32> {
        loop {
            if let Some(pid) = self.stderr.pid().or_else(|| self.stdout.pid()) {
                return Some(pid);
            }
            self.step().await.ok()?;
        }
    }

    /// Ends the input, which may be the sign to end.
    pub(crate) async fn eof(&self) -> bool {
        self.write.eof().await.is_ok()
    }

    /// Asks the server to end it. Not all can, and it does not reach what sudo has started.
    pub(crate) async fn signal(&self) {
        let _ = self.write.signal(Sig::KILL).await;
    }

    /// Takes one message.
    async fn step(&mut self) -> Result<Option<Event>, Failure> {
        match self.message().await {
            Some(ChannelMsg::Data { data }) => return Ok(self.stdout.pass(data).map(Event::Stdout)),
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let output = self.stderr.pass(data).map(Event::Stderr);
                if self.stderr.pid().is_some() && matches!(*self.gate.borrow(), Gate::Waiting) {
                    self.gate.send_replace(Gate::Open(Arc::clone(&self.write)));
                }
                return Ok(output);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                self.ended = Some(Ended { status: i32::try_from(exit_status).ok(), signal: None });
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.ended = Some(Ended { status: None, signal: Some(name_of(&signal_name)) });
            }
            Some(ChannelMsg::Eof) => self.eof = true,
            Some(ChannelMsg::Close) => return self.closed().map(Some),
            // The connection is gone. All there is to know may have come before.
            None if self.eof && self.ended.is_some() => return self.closed().map(Some),
            None => return Err(self.connection.lost().await),
            Some(_) => {}
        }
        Ok(None)
    }

    async fn message(&mut self) -> Option<ChannelMsg> {
        if !matches!(*self.gate.borrow(), Gate::Waiting) {
            return self.received().await;
        }
        let patience = self.patience;
        match tokio::time::timeout_at(patience, self.received()).await {
            Ok(message) => message,
            Err(_) => {
                self.gate.send_replace(Gate::Shut);
                let _ = self.write.eof().await;
                self.received().await
            }
        }
    }

    async fn received(&mut self) -> Option<ChannelMsg> {
        match self.early.pop_front() {
            Some(message) => Some(message),
            None => self.read.wait().await,
        }
    }

    fn closed(&mut self) -> Result<Event, Failure> {
        let (out, err) = (&self.stdout, &self.stderr);
        if err.heard() == Some(Word::Unread) {
            return Err(Failure::Refused(unread()));
        }
        match (out.has_begun(), err.has_begun()) {
            (true, true) => {}
            (false, false) => {
                // Nothing runs what was never sent.
                let certain = self.rendered.by_input.is_some() && err.pid().is_none();
                return Err(Failure::Refused(did_not_begin([err.noise(), out.noise()], self.ended.as_ref(), certain)));
            }
            (true, false) => return Err(Failure::Refused(redirected("standard error"))),
            (false, true) => return Err(Failure::Refused(redirected("standard output"))),
        }
        match self.ended.take() {
            Some(ended) => Ok(Event::Ended(ended)),
            None => Err(Failure::Lost("the server closed the channel without an exit status".to_owned())),
        }
    }
}

enum Answer {
    Accepted,
    Refused,
    Closed,
}

/// How many channels are tried for one script, when the server closes each before it has agreed to run it.
const MAX_CHANNELS: usize = 8;

/// Advice about a command of which nobody knows what it did.
pub(crate) const LOOK_FIRST: &str = "look at what it left before it is run again: it may still be running";

fn refused_to_run() -> Error {
    Error::new(ErrorKind::Unauthorized, "the server refused to run a command")
        .not_applied()
        .with_hint("is the account allowed to, or restricted by ForceCommand or a key option?")
}

fn closed_at_once() -> Error {
    Error::new(ErrorKind::Unexpected, "the server closed each session in which it was to run a command")
        .not_applied()
        .with_hint("is the account allowed to run commands? The server's log tells more")
}

fn unread() -> Error {
    Error::new(ErrorKind::Unsupported, "the command's script did not arrive whole, and was not run")
        .not_applied()
        .with_hint("does the server drop standard input, or a login profile read from it?")
}

fn redirected(stream: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the command was run, and its {stream} went elsewhere"))
        .maybe_applied()
        .with_hint("does a login profile (~/.bashrc, /etc/profile) redirect it by exec?")
}

fn did_not_begin(noise: [&[u8]; 2], ended: Option<&Ended>, certain: bool) -> Error {
    let said = noise.map(String::from_utf8_lossy).join(" ");
    let said = said.trim();
    let status = ended.and_then(|ended| ended.status).map_or("none".to_owned(), |status| status.to_string());
    let what = if certain { "the login shell ran no command" } else { "the login shell gave no sign of the command" };
    let message = if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") };
    let error = Error::new(ErrorKind::Unsupported, message).with("exit status", status).with_hint(
        "an account with a POSIX sh is needed, without a forced command, and without exec in its login profile",
    );
    if certain { error.not_applied() } else { error.maybe_applied() }
}

pub(crate) fn name_of(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        signal => format!("{signal:?}"),
    }
}
