//! One move of the address, from the first look to the confirmation.

use bluegreen_core::{Effect, Error, ErrorKind, Result, Slot, Split, split_changed};
use tokio::time::{Instant, timeout_at};

use super::look::{look, split_of};
use super::provider::{ActionId, ActionState, AddressProvider, Assigned, Observed, Transition};
use crate::pending::Pending;
use crate::polling::Polling;

pub(super) struct AddressMove<'a> {
    provider: &'a dyn AddressProvider,
    polling: &'a Polling,
    pending: &'a Pending,
    to: Slot,
    deadline: Instant,
}

/// How asking for the move ended.
enum Begun {
    /// The address is there.
    Arrived,
    /// The provider says so, and has yet to show it.
    Done,
    /// The provider works on it.
    Started(ActionId),
}

impl<'a> AddressMove<'a> {
    pub(super) fn new(provider: &'a dyn AddressProvider, polling: &'a Polling, pending: &'a Pending, to: Slot) -> Self {
        Self { provider, polling, pending, to, deadline: Instant::now() + polling.deadline }
    }

    /// Returns when the provider shows the address at the target.
    pub(super) async fn run(&self, from: Option<Split>) -> Result<()> {
        match self.begin(from).await? {
            Begun::Arrived => Ok(()),
            Begun::Done => self.arrive(None).await,
            Begun::Started(action) => {
                tracing::info!(provider = %self.provider, %action, to = %self.to, "the address is being moved");
                self.follow(&action).await?;
                self.arrive(Some(&action)).await
            }
        }
    }

    /// Looks before each attempt, and asks until the provider takes it.
    async fn begin(&self, from: Option<Split>) -> Result<Begun> {
        let (mut lost, mut before) = (None, None);
        loop {
            let attempt = self.attempt(from).await;
            let why = match attempt {
                Ok(Attempt::Begun(begun)) => return Ok(begun),
                Ok(Attempt::Wait(why)) => {
                    let message = format!("could not be asked for within {:?}: {why}", self.polling.deadline);
                    Error::new(ErrorKind::Timeout, message).not_applied()
                }
                Err(error) if error.effect() == Effect::Unknown => {
                    if lost.is_some() {
                        return Err(error);
                    }
                    let arrived = self.showed_up().await;
                    if !arrived && Instant::now() >= self.deadline {
                        return Err(error);
                    }
                    self.pending.clear();
                    if arrived {
                        return Ok(Begun::Arrived);
                    }
                    lost = Some(error);
                    continue;
                }
                Err(error) if error.is_retryable() => error,
                Err(error) => return Err(with_lost(error, lost)),
            };
            // That the time is over says less than what kept failing until then.
            let why = if Instant::now() < self.deadline { why } else { before.unwrap_or(why) };
            tracing::debug!(provider = %self.provider, %why, "waiting to move the address");
            if !self.polling.pause(self.deadline).await {
                return Err(with_lost(why, lost));
            }
            before = Some(why);
        }
    }

    async fn attempt(&self, from: Option<Split>) -> Result<Attempt> {
        let looking = look(self.provider, self.pending, self.polling.lost_reply);
        let seen = self.in_time(looking).await.map_err(Error::not_applied)?;
        if let Transition::Pending(why) = seen.transition {
            return Ok(Attempt::Wait(why));
        }
        if seen.is_settled_at(self.to) {
            return Ok(Attempt::Begun(Begun::Arrived));
        }
        let (now, to) = (split_of(&seen.holder)?, Some(Split::all(self.to)));
        if now != to && now != from {
            return Err(split_changed(from, now));
        }
        self.in_time(self.provider.preflight(self.to)).await.map_err(Error::not_applied)?;
        // Before the call, which may be cut off.
        self.pending.begin(self.to);
        let assigned = self.in_time(self.provider.assign(self.to)).await;
        match &assigned {
            Ok(Assigned::Started(action)) => self.pending.started(action),
            Err(error) if error.effect() == Effect::Unknown => {}
            Ok(_) | Err(_) => self.pending.clear(),
        }
        Ok(match assigned? {
            Assigned::Done => Attempt::Begun(Begun::Done),
            Assigned::Started(action) => Attempt::Begun(Begun::Started(action)),
            Assigned::Busy(why) => Attempt::Wait(why),
        })
    }

    /// After an answer that was lost: whether the move shows up all the same. While the provider is busy with the address,
    /// it still may.
    async fn showed_up(&self) -> bool {
        let mut until = Instant::now() + self.polling.lost_reply;
        while self.polling.pause(until.min(self.deadline)).await {
            match self.in_time(self.provider.observe()).await {
                Ok(seen) if seen.is_settled_at(self.to) => return true,
                Ok(Observed { transition: Transition::Settled, .. }) => {}
                Ok(Observed { transition: Transition::Unfinished(_), .. }) => return false,
                // Busy, or not telling: the time in which nothing happens begins anew.
                Ok(Observed { transition: Transition::Pending(_), .. }) | Err(_) => {
                    until = Instant::now() + self.polling.lost_reply
                }
            }
        }
        false
    }

    /// Polls until the provider says how it ended. Where it does not say, the address itself is asked.
    async fn follow(&self, action: &ActionId) -> Result<()> {
        let mut last = "still running".to_owned();
        while self.polling.pause(self.deadline).await {
            match self.in_time(self.provider.poll(action)).await {
                Ok(ActionState::Done) => return Ok(()),
                Ok(ActionState::Running) => {}
                Ok(ActionState::Failed(why)) => return self.failed(action, why).await,
                Err(error) => {
                    tracing::debug!(provider = %self.provider, %action, %error, "the action does not tell; the address does");
                    // That the time is over says less than what was said until then.
                    if Instant::now() < self.deadline {
                        last = error.to_string();
                    }
                    if self.in_time(self.provider.observe()).await.is_ok_and(|seen| seen.is_settled_at(self.to)) {
                        return Ok(());
                    }
                }
            }
        }
        Err(self.unconfirmed(Some(action), last))
    }

    /// An action that failed leaves the address where it was; that is looked at, not believed.
    async fn failed(&self, action: &ActionId, why: String) -> Result<()> {
        let error =
            Error::new(ErrorKind::Unexpected, format!("the provider gave up the move: {why}")).with("action", action);
        self.pending.clear();
        match self.in_time(self.provider.observe()).await {
            Ok(seen) if seen.is_settled_at(self.to) => Ok(()),
            Ok(seen) if seen.transition == Transition::Settled => Err(error.with("holder", &seen.holder).not_applied()),
            Ok(seen) => Err(error.with("holder", &seen.holder)),
            Err(look) => Err(error.with_source(look)),
        }
    }

    /// The last word is the holder's, read anew: the provider may show a move later than it says it is done.
    async fn arrive(&self, action: Option<&ActionId>) -> Result<()> {
        let mut last = "the provider did not answer".to_owned();
        loop {
            last = match self.in_time(self.provider.observe()).await {
                Ok(seen) if seen.is_settled_at(self.to) => {
                    self.pending.clear();
                    return Ok(());
                }
                Ok(seen) => match split_of(&seen.holder) {
                    Ok(_) => format!("it is with {}", seen.holder),
                    Err(error) => return Err(error.maybe_applied()),
                },
                // That the time is over says less than what was said until then.
                Err(_) if Instant::now() >= self.deadline => last,
                Err(error) => error.to_string(),
            };
            if !self.polling.pause(self.deadline).await {
                return Err(self.unconfirmed(action, last));
            }
        }
    }

    /// No call outlives the deadline.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_| {
            let message = format!("the provider did not answer before the deadline of {:?}", self.polling.deadline);
            Err(Error::new(ErrorKind::Timeout, message))
        };
        timeout_at(self.deadline, call).await.unwrap_or_else(late)
    }

    fn unconfirmed(&self, action: Option<&ActionId>, last: String) -> Error {
        let message = format!("was asked for, and is not confirmed after {:?}: {last}", self.polling.deadline);
        let error = Error::new(ErrorKind::Timeout, message)
            .maybe_applied()
            .with_hint("the outcome is unknown; `recover` looks where the address is, and goes on from there");
        match action {
            Some(action) => error.with("action", action),
            None => error,
        }
    }
}

enum Attempt {
    Begun(Begun),
    /// Not now, for this reason.
    Wait(String),
}

/// Once an answer was lost, no later error can say that nothing happened.
fn with_lost(error: Error, lost: Option<Error>) -> Error {
    match lost {
        Some(lost) => error.maybe_applied().with_source(lost),
        None => error,
    }
}
