//! A running script that does not outlive the interest in it.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::exec::{Event, Exec, Input};
use crate::failure::Failure;
use crate::kill::kill;
use crate::marker::Marker;
use crate::script::{Feed, Script};

/// A running script. When it is dropped before its end, it is ended on the server and its channel closed.
pub(crate) struct Process {
    connection: Arc<Connection>,
    /// Taken when it has ended.
    running: Option<Running>,
}

struct Running {
    exec: Exec,
    sudo: bool,
    tidies: bool,
}

impl Process {
    /// Asks the server to run the script. What was dropped before has ended then: it changes nothing any more.
    ///
    /// # Errors
    /// The script has not been run, except where the error says so.
    pub(crate) async fn start(
        connection: &Arc<Connection>,
        script: &Script,
        feed: Feed,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let session = async {
            connection.dropped_have_ended().await;
            connection.session().await
        };
        let (way, place) = match tokio::time::timeout_at(deadline, session).await {
            Ok(session) => session?,
            Err(_) => return Err(Failure::Refused(no_free_session())),
        };
        let exec = Exec::new(connection, way, Some(place), script, feed);
        let running = Running { exec, sudo: script.is_sudo(), tidies: script.is_inline() };
        let mut process = Self { connection: Arc::clone(connection), running: Some(running) };
        let Some(running) = &mut process.running else { return Ok(process) };
        match tokio::time::timeout_at(deadline, running.exec.ask()).await {
            Ok(Ok(())) => Ok(process),
            Ok(Err(failure)) => {
                process.running = None;
                Err(failure)
            }
            Err(_) => Err(Failure::Refused(no_answer())),
        }
    }

    /// The way to its standard input; to be taken once.
    pub(crate) fn input(&mut self) -> Option<Input> {
        self.running.as_mut()?.exec.input()
    }

    /// What the lines of our own begin with, in its output.
    pub(crate) fn marker(&self) -> Option<Marker> {
        self.running.as_ref().map(|running| running.exec.marker().clone())
    }

    /// The next thing that happens. It can be cut off. After [`Event::Ended`] or a failure there is nothing more.
    ///
    /// # Errors
    /// As [`Exec::next`].
    pub(crate) async fn next(&mut self) -> Result<Event, Failure> {
        let Some(running) = &mut self.running else {
            return Err(Failure::Lost("the process has ended".to_owned()));
        };
        let outcome = running.exec.next().await;
        if matches!(outcome, Ok(Event::Ended(_)) | Err(_)) {
            self.running = None;
        }
        outcome
    }

    /// Ends it with all its children, and says whether that is certain.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        match self.running.take() {
            Some(running) => {
                let guard = self.connection.dropped();
                // In a task of its own: who waits for it may go away.
                let connection = Arc::clone(&self.connection);
                let ending = tokio::spawn(async move {
                    let _guard = guard;
                    running.end(&connection).await
                });
                ending.await.unwrap_or_else(|error| Err(Failure::Lost(error.to_string())))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let (Some(running), Ok(runtime)) = (self.running.take(), tokio::runtime::Handle::try_current()) {
            let (connection, guard) = (Arc::clone(&self.connection), self.connection.dropped());
            runtime.spawn(async move {
                let _guard = guard;
                if let Err(failure) = running.end(&connection).await {
                    tracing::warn!(%failure, "a command that is not waited for any more could not be ended");
                }
            });
        }
    }
}

impl Running {
    /// Ends the process and all its descendants, and waits for the channel to close.
    async fn end(mut self, connection: &Arc<Connection>) -> Result<(), Failure> {
        // A script of ours takes the end of its input as a sign to clean up.
        if self.tidies && self.exec.eof().await && self.closes().await {
            return Ok(());
        }
        let Ok(Some(pid)) = tokio::time::timeout(TO_BEGIN, self.exec.pid()).await else {
            self.exec.signal().await;
            let unknown = || Failure::Lost("its process id is not known".to_owned());
            return self.closes().await.then_some(()).ok_or_else(unknown);
        };
        let ended = kill(connection, pid, self.sudo).await;
        if ended.is_err() {
            self.exec.signal().await;
        }
        // That the command itself ends does not say that its children have.
        self.closes().await;
        ended
    }

    /// Whether the process is seen to end within a short time.
    async fn closes(&mut self) -> bool {
        let close = async {
            loop {
                match self.exec.next().await {
                    Ok(Event::Ended(_)) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        };
        tokio::time::timeout(TO_CLOSE, close).await.unwrap_or(false)
    }
}

const TO_BEGIN: Duration = Duration::from_secs(2);
const TO_CLOSE: Duration = Duration::from_secs(2);

fn no_free_session() -> Error {
    Error::new(ErrorKind::Timeout, "its time was over before a session was free for it")
        .not_applied()
        .with_hint("as many commands as may run at the same time are running: see max_sessions")
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Timeout, "its time was over before the server agreed to run it").maybe_applied()
}
