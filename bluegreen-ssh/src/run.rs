//! Running a script to its end.

use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Output, Result};
use bytes::Bytes;
use tokio::time::Instant;

use crate::exec::{Event, LOOK_FIRST};
use crate::failure::Failure;
use crate::marker;
use crate::process::Process;
use crate::script::{Feed, NOT_FOUND, Script};
use crate::session::Session;

/// The exit status of a shell that found a program but could not execute it.
const NOT_EXECUTABLE: i32 = 126;

/// Runs a command. A connection that turns out to be gone before the command was sent is made anew; one that is lost
/// later leaves it unknown what the command did.
pub(crate) async fn command(session: &Session, command: &Command) -> Result<Output> {
    let script = Script::command(command)?;
    let limits = Limits { time: command.time_limit(), output: command.kept_output() };
    let (output, verdict) = run(session, &script, Bytes::copy_from_slice(command.input()), limits).await?;
    match verdict {
        None => Ok(output),
        Some(status) => Err(not_started(command, status, &output)),
    }
}

/// Runs a script of ours, of which all output is wanted.
pub(crate) async fn inline(session: &Session, script: &Script, input: Bytes) -> Result<Output> {
    let limits = Limits { time: bluegreen_core::host::DEFAULT_TIMEOUT, output: usize::MAX };
    run(session, script, input, limits).await.map(|(output, _)| output)
}

#[derive(Clone, Copy)]
struct Limits {
    time: Duration,
    output: usize,
}

async fn run(session: &Session, script: &Script, input: Bytes, limits: Limits) -> Result<(Output, Option<i32>)> {
    let deadline = Instant::now() + limits.time;
    let feed = if input.is_empty() { Feed::Nothing } else { Feed::Bytes };
    let mut process = session.start(script, feed, deadline).await?;
    let marker = process.marker();
    let (mut stdout, mut stderr) = (Tail::new(limits.output), Tail::new(limits.output.saturating_add(marker::LONGEST)));
    let way = process.input();
    let feed = async {
        if let Some(mut way) = way {
            way.send(input).await;
            way.close().await;
        }
    };
    let deadline = tokio::time::sleep_until(deadline);
    tokio::pin!(feed, deadline);
    let mut fed = false;
    let ended = loop {
        tokio::select! {
            event = process.next() => match event {
                Ok(Event::Stdout(data)) => stdout.push(&data),
                Ok(Event::Stderr(data)) => stderr.push(&data),
                Ok(Event::Ended(ended)) => break ended,
                Err(failure) => return Err(cut_off(failure)),
            },
            () = &mut feed, if !fed => fed = true,
            () = &mut deadline => return Err(timed_out(process, limits.time).await),
        }
    };
    let mut stderr = stderr.take();
    let verdict = marker.and_then(|marker| marker.take_unstarted(&mut stderr));
    let surplus = stderr.len().saturating_sub(limits.output);
    stderr.drain(..surplus);
    Ok((Output { status: ended.status, signal: ended.signal, stdout: stdout.take(), stderr }, verdict))
}

/// The end of an output stream.
pub(crate) struct Tail {
    kept: Vec<u8>,
    limit: usize,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), limit }
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.kept.extend_from_slice(data);
        if self.kept.len() > self.limit.saturating_mul(2) {
            self.kept.drain(..self.kept.len() - self.limit);
        }
    }

    pub(crate) fn take(mut self) -> Vec<u8> {
        let surplus = self.kept.len().saturating_sub(self.limit);
        self.kept.drain(..surplus);
        self.kept
    }
}

fn not_started(command: &Command, status: i32, output: &Output) -> Error {
    let (kind, what) = match status {
        NOT_FOUND => (ErrorKind::NotFound, "no such program or directory"),
        NOT_EXECUTABLE => (ErrorKind::Unauthorized, "the program cannot be executed"),
        _ => (ErrorKind::Unexpected, "the shell did not start the program"),
    };
    let said = output.error_text();
    let error =
        Error::new(kind, if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }).not_applied();
    match command.working_directory() {
        Some(directory) => error.with("directory", directory),
        None => error,
    }
}

pub(crate) fn cut_off(failure: Failure) -> Error {
    let lost = failure.is_lost();
    let error = Error::from(failure);
    if lost { error.maybe_applied().with_hint(LOOK_FIRST) } else { error }
}

async fn timed_out(process: Process, limit: Duration) -> Error {
    match process.end().await {
        Ok(()) => Error::new(ErrorKind::Timeout, format!("did not end within {limit:?}, and was killed")),
        Err(failure) => {
            Error::new(ErrorKind::Timeout, format!("did not end within {limit:?}, and could not be killed: {failure}"))
                .with_hint(LOOK_FIRST)
        }
    }
}
