//! What switching by servers and switching by ports have in common.

use std::time::Duration;

use bluegreen_core::{Effect, Error, ErrorKind, Result, Slot, Split};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::balancer::{Accepted, Balancer, Seen};
use super::change::Change;
use crate::outstanding::Outstanding;
use crate::patience::Patience;

/// The share of green among so many; none of none.
pub(super) fn share(green: usize, all: usize) -> Option<Split> {
    match (green, all) {
        (_, 0) => None,
        (0, _) => Some(Split::all(Slot::Blue)),
        (green, all) if green == all => Some(Split::all(Slot::Green)),
        (green, all) => {
            let percent = u8::try_from((green * 100 / all).clamp(1, 99)).unwrap_or(50);
            Split::toward(Slot::Green, percent).ok()
        }
    }
}

/// A balancer, and how long one is patient with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) balancer: &'a dyn Balancer,
    pub(super) patience: &'a Patience,
    pub(super) outstanding: &'a Outstanding,
    pub(super) deadline: Instant,
}

impl Desk<'_> {
    /// What there is, as soon as the balancer is not busy. An answer that says nothing is waited out like one that says
    /// busy: a cloud whose API fails for a moment still balances.
    pub(super) async fn idle(&self) -> Result<Seen> {
        self.settled(|_, _| false).await
    }

    /// The same, without a wait for a change that was cut off if this is what it led to. `led_to` tells that from what
    /// there is, and the slot for which it was asked.
    pub(super) async fn settled(&self, led_to: impl Fn(&Seen, Slot) -> bool) -> Result<Seen> {
        let mut last = self.late("the load balancer did not answer".to_owned());
        while let Ok(seen) = timeout_at(self.deadline, self.balancer.read()).await {
            last = match seen {
                Ok(seen) => {
                    // What was cut off may still come.
                    let mut cut_off = self.outstanding.get().filter(|asked| asked.is_within(self.patience.lost_reply));
                    if cut_off.as_ref().is_some_and(|asked| led_to(&seen, asked.to)) {
                        self.outstanding.clear();
                        cut_off = None;
                    }
                    let Some(why) = seen.busy.clone().or(cut_off.map(|asked| asked.words())) else { return Ok(seen) };
                    self.late(format!("the load balancer is busy: {why}"))
                }
                Err(error) if error.is_retryable() => {
                    tracing::debug!(balancer = %self.balancer, %error, "looking again");
                    error
                }
                Err(error) => return Err(error.not_applied()),
            };
            if !self.patience.pause(self.deadline).await {
                break;
            }
        }
        Err(last.not_applied())
    }

    pub(super) async fn read(&self) -> Result<Seen> {
        self.in_time(self.balancer.read()).await.map_err(Error::not_applied)
    }

    /// No call outlives the deadline.
    pub(super) async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let late = |_| Err(self.late("the load balancer did not answer".to_owned()));
        timeout_at(self.deadline, call).await.unwrap_or_else(late)
    }

    /// Asks for one change.
    pub(super) async fn ask(&self, to: Slot, call: impl Future<Output = Result<Accepted>>) -> Result<Accepted> {
        // Before the call, which may be cut off.
        self.outstanding.begin(to);
        let answer = self.in_time(call).await;
        // One whose answer was lost, or did not come in time, may still be made.
        if !answer.as_ref().is_err_and(|error| error.effect() == Effect::Unknown) {
            self.outstanding.clear();
        }
        answer
    }

    /// Until the deadline.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn late(&self, last: String) -> Error {
        Error::new(ErrorKind::Timeout, format!("not done within {:?}: {last}", self.patience.deadline))
    }

    /// Asks for a change until it is taken. `done` tells from what there is whether it is made already: that is looked at
    /// before each attempt but the first, so that nothing is asked for twice after an answer that was lost.
    pub(super) async fn change<C, F>(&self, to: Slot, ask: C, done: impl Fn(&Seen) -> bool) -> Result<()>
    where
        C: Fn() -> F,
        F: Future<Output = Result<Accepted>>,
    {
        let mut unknown = false;
        loop {
            let why = match self.ask(to, ask()).await {
                Ok(Accepted::Yes) => return Ok(()),
                Ok(Accepted::Busy(why)) => why,
                Ok(Accepted::Partly(why)) => {
                    unknown = true;
                    why
                }
                Err(error) => {
                    unknown |= error.effect() == Effect::Unknown;
                    if !unknown && !error.is_retryable() {
                        return Err(error);
                    }
                    error.to_string()
                }
            };
            let error = self.late(why);
            if !self.patience.pause(self.deadline).await {
                return Err(if unknown { error } else { error.not_applied() });
            }
            match self.settled(|seen, asked| asked == to && done(seen)).await {
                Ok(seen) if done(&seen) => return Ok(()),
                Ok(_) => {}
                Err(look) => return Err(if unknown { look.maybe_applied() } else { look }),
            }
        }
    }
}

pub(super) fn conflict(expected: Option<Split>, found: Option<Split>) -> Error {
    let text = |split: Option<Split>| split.map_or_else(|| "nothing routed".to_owned(), |split| split.to_string());
    Error::new(ErrorKind::Conflict, format!("expected {}, found {}", text(expected), text(found))).not_applied()
}

/// Someone else changed the balancer while it was being switched.
pub(super) fn interfered(balancer: &dyn Balancer, before: &Value, now: &Value) -> Error {
    let change = Change::between(before, now);
    let change = change.lines().iter().map(|line| balancer.shown(line)).collect::<Vec<_>>().join("; ");
    Error::new(ErrorKind::Conflict, format!("somebody else changed the load balancer in between: {change}"))
        .advice("look whether the change was meant, and switch again")
}
