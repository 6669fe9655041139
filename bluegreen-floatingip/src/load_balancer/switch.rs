//! What switching by servers and switching by ports have in common.

use std::time::Duration;

use bluegreen_core::{Effect, Error, ErrorKind, Reason, Result, Slot};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::balancer::{Accepted, Balancer, Seen};
use super::change::Change;
use super::members::members;
use super::pools::known;
use crate::pending::Pending;
use crate::polling::Polling;

/// A balancer, and how long one is patient with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BalancerSession<'a> {
    pub(super) balancer: &'a dyn Balancer,
    pub(super) polling: &'a Polling,
    pub(super) pending: &'a Pending,
    pub(super) deadline: Instant,
}

impl BalancerSession<'_> {
    /// What there is, as soon as the balancer is not busy. An answer that says nothing is waited out like one that says
    /// busy: a cloud whose API fails for a moment still balances.
    pub(super) async fn idle(&self) -> Result<Seen> {
        self.await_consistent(|_, _| false).await
    }

    /// The same, without a wait for a change that was cut off if this is what it led to. `led_to` tells that from what
    /// there is, and the slot for which it was asked.
    pub(super) async fn await_consistent(&self, led_to: impl Fn(&Seen, Slot) -> bool) -> Result<Seen> {
        let mut last = self.late("the load balancer did not answer".to_owned());
        while let Ok(seen) = timeout_at(self.deadline, self.balancer.read()).await {
            last = match seen {
                Ok(seen) => {
                    // What was cut off may still come.
                    let mut cut_off = self.pending.get().filter(|asked| asked.is_within(self.polling.lost_reply));
                    if cut_off.as_ref().is_some_and(|asked| led_to(&seen, asked.to)) {
                        self.pending.clear();
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
            if !self.polling.pause(self.deadline).await {
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
        self.pending.begin(to);
        let answer = self.in_time(call).await;
        // One whose answer was lost, or did not come in time, may still be made.
        if !answer.as_ref().is_err_and(|error| error.effect() == Effect::Unknown) {
            self.pending.clear();
        }
        answer
    }

    /// Until the deadline.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn late(&self, last: String) -> Error {
        Error::new(ErrorKind::Timeout, format!("not done within {:?}: {last}", self.polling.deadline))
    }

    /// The error of a call that may be made again: late, and said once.
    pub(super) fn still_late(&self, error: Error) -> Error {
        if self.left().is_zero() { error } else { self.late(error.to_string()) }
    }

    /// What to tell of a look that failed: that the time is over says less than what was said until then.
    pub(super) fn said_before(&self, before: Option<Error>, look: Error) -> Error {
        before.filter(|_| Instant::now() >= self.deadline).unwrap_or(look)
    }

    /// Asks for a change until it is taken, beginning with what was `seen` last. Before each further attempt, and after a
    /// refusal, it is looked whether the change is made already: nothing is asked for twice after an answer that was lost,
    /// and a provider may have any word for what is so already.
    pub(super) async fn change(&self, to: Slot, edit: &Edit<'_>, seen: &Seen) -> Result<()> {
        let (mut unknown, mut seen, mut before) = (false, seen.clone(), None);
        loop {
            let error = match self.ask(to, edit.ask(self.balancer, &seen)).await {
                Ok(Accepted::Yes) => return Ok(()),
                Ok(Accepted::Busy(why)) => self.late(why),
                Ok(Accepted::Partly(why)) => {
                    unknown = true;
                    self.late(why)
                }
                Err(error) => {
                    unknown |= error.effect() == Effect::Unknown;
                    if !unknown && !error.is_retryable() {
                        let done = self.read().await.is_ok_and(|seen| edit.is_done(self.balancer, &seen));
                        return if done { Ok(()) } else { Err(error) };
                    }
                    self.still_late(error)
                }
            };
            let error = self.said_before(before, error);
            if !self.polling.pause(self.deadline).await {
                return Err(if unknown { error.maybe_applied() } else { error.not_applied() });
            }
            seen = match self.await_consistent(|seen, asked| asked == to && edit.is_done(self.balancer, seen)).await {
                Ok(seen) => seen,
                Err(look) => {
                    let error = self.said_before(Some(error), look);
                    return Err(if unknown { error.maybe_applied() } else { error.not_applied() });
                }
            };
            before = Some(error);
            if edit.is_done(self.balancer, &seen) {
                return Ok(());
            }
        }
    }
}

/// A change of the servers behind a balancer.
pub(super) enum Edit<'a> {
    /// Adds the servers that are in these settings.
    Add(Value),
    /// Removes these servers.
    Remove(&'a [u64]),
}

impl Edit<'_> {
    async fn ask(&self, balancer: &dyn Balancer, seen: &Seen) -> Result<Accepted> {
        match self {
            Self::Add(wanted) => balancer.add(wanted).await,
            Self::Remove(servers) => balancer.remove(servers, &seen.settings).await,
        }
    }

    fn is_done(&self, balancer: &dyn Balancer, seen: &Seen) -> bool {
        match self {
            Self::Add(wanted) => {
                Change::lost_between(&members(balancer, wanted), &members(balancer, &seen.settings)).is_empty()
            }
            Self::Remove(servers) => {
                known(&seen.members).is_ok_and(|there| !servers.iter().any(|id| there.contains_key(id)))
            }
        }
    }
}

/// Someone else changed the balancer while it was being switched.
pub(super) fn interfered(balancer: &dyn Balancer, before: &Value, now: &Value) -> Error {
    let change = Change::lost_between(&balancer.judged(before), &balancer.judged(now));
    let change = change.lines().iter().map(|line| balancer.shown(line)).collect::<Vec<_>>().join("; ");
    Error::new(ErrorKind::Conflict, format!("somebody else changed the load balancer in between: {change}"))
        .with_reason(Reason::ChangedElsewhere)
        .with_hint("look whether the change was meant, and switch again")
}
