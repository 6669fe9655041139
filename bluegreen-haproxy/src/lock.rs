//! [`Lock`]: one deployer at a time, by a variable of HAProxy's process.
//!
//! The variable is set only where it is not set, which HAProxy does in one step. It needs nothing on the host, costs no round trip
//! of its own, and is gone with the process whose weights it guards.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use crate::command::Command;
use crate::seen::LOOK;
use crate::socket::Socket;
use crate::token::Token;

/// After this time a holder is taken for dead. It stops by itself after half of it.
const HELD_AT_MOST: Duration = Duration::from_secs(6);

/// Between two tries: a shift takes about a millisecond.
const BETWEEN_TRIES: Duration = Duration::from_millis(3);

/// How long others are waited for.
const WAIT: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Lock<'a> {
    socket: &'a Socket,
    token: Token,
    taken: Instant,
}

/// What came back from a change.
pub(crate) struct Changed {
    /// The answers to [`LOOK`], after the change.
    pub(crate) answers: Vec<String>,
    /// Whether the lock was held all the time, and so by the same process of HAProxy.
    pub(crate) is_ours: bool,
}

impl<'a> Lock<'a> {
    /// Takes the lock, and has a look under it: the answers to [`LOOK`].
    ///
    /// # Errors
    /// `Conflict`, retryable, when others hold it all the time; those of the socket.
    pub(crate) async fn take(socket: &'a Socket) -> Result<(Self, Vec<String>)> {
        let token = Token::new();
        let begin = Instant::now();
        let mut other: Option<(Token, Instant)> = None;
        loop {
            let taken = Instant::now();
            let take = [Command::Experimental, Command::TakeLock(token.clone()), Command::ShowLock];
            let mut answers = socket.ask(&[&take[..], &LOOK].concat()).await?;
            let look = answers.split_off(take.len());
            let holder = Token::of_holder(&answers[2]).ok_or_else(|| no_variables(socket, &answers))?;
            match holder {
                Some(holder) if holder == token => return Ok((Self { socket, token, taken }, look)),
                Some(holder) => match &other {
                    Some((known, since)) if *known == holder => {
                        if since.elapsed() > HELD_AT_MOST {
                            socket.ask(&[Command::Experimental, Command::TakeLockFrom(holder)]).await?;
                        }
                    }
                    _ => other = Some((holder, taken)),
                },
                // Where the condition is not known, the command is refused with words.
                None if !answers[1].is_empty() => return Err(no_variables(socket, &answers)),
                None => {}
            }
            if begin.elapsed() > WAIT {
                return Err(Error::new(ErrorKind::Conflict, format!("others have held the lock for {WAIT:?}"))
                    .not_applied()
                    .retryable(true)
                    .with_hint("another deployer works on this backend: try again"));
            }
            tokio::time::sleep(BETWEEN_TRIES + Duration::from_micros(fastrand::u64(..3000))).await;
        }
    }

    /// Makes a change, looks, and gives the lock back, all in one line.
    pub(crate) async fn change(self, commands: &[Command]) -> Result<Changed> {
        if self.taken.elapsed() > HELD_AT_MOST / 2 {
            return Err(Error::new(ErrorKind::Timeout, "the lock was held for too long to change anything under it")
                .not_applied());
        }
        // A line has to fit into HAProxy's buffer.
        let mut parts = commands.chunks(COMMANDS_PER_LINE).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            if parts.peek().is_some() {
                self.socket.send(part).await?;
                continue;
            }
            let all = [part, &[Command::ShowLock], &LOOK, &self.end()].concat();
            let mut answers = self.socket.send(&all).await?.split_off(part.len());
            answers.truncate(1 + LOOK.len());
            let is_ours = Token::of_holder(&answers.remove(0)) == Some(Some(self.token.clone()));
            return Ok(Changed { answers, is_ours });
        }
    }

    /// Gives the lock back, where nothing is to be changed. If that fails, others wait until it is over.
    pub(crate) async fn release(self) {
        if let Err(error) = self.socket.ask(&self.end()).await {
            tracing::debug!(%error, "the lock of the backend could not be given back");
        }
    }

    fn end(&self) -> [Command; 3] {
        [Command::Experimental, Command::TakeLockFrom(self.token.clone()), Command::Forget(self.token.clone())]
    }
}

/// Of 200 bytes at most.
const COMMANDS_PER_LINE: usize = 60;

fn no_variables(socket: &Socket, answers: &[String]) -> Error {
    let answer = answers.iter().find(|answer| !answer.is_empty()).map_or("nothing", |answer| answer.as_str());
    let first = answer.lines().next().unwrap_or_default();
    Error::new(ErrorKind::Unsupported, format!("HAProxy cannot keep the lock: it answered {first:?}"))
        .with("socket", &socket.address)
        .with_hint("HAProxy 2.6 or later is needed, and `level admin` on its socket")
}
