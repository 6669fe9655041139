//! What there is, as the router and the runtime tell it, compared with the record.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::context::Context;
use super::defaults::OBSERVE_TIMEOUT;
use crate::error::{Error, ErrorKind, Result};
use crate::state::{SlotRecord, SlotStatus, State};
use crate::types::{Instance, Slot, Split, Version};

/// What the router and the runtime say, and where the record differs. Observed reality wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Observed {
    /// The split, from the router.
    pub split: Option<Split>,
    /// What is in the blue slot, from the runtime.
    pub blue: Instance,
    /// What is in the green slot, from the runtime.
    pub green: Instance,
    /// The slot that takes production traffic; while traffic is divided, the one that is recorded as live.
    pub live: Option<Slot>,
    /// Where the record says something else.
    pub drift: Vec<Drift>,
}

/// One difference between the record and what was observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "drift", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Drift {
    /// There is no record, but the router routes, or a slot runs.
    RecordLost {
        /// The split that the router applies.
        split: Option<Split>,
    },
    /// The router sends traffic elsewhere than recorded.
    Switched {
        /// The split on record.
        recorded: Option<Split>,
        /// The split that the router applies.
        found: Option<Split>,
    },
    /// A slot that gets traffic does not run, or only in part.
    LiveDown {
        /// The slot.
        slot: Slot,
        /// What is in it.
        found: Instance,
    },
    /// Something runs in a slot that the record does not know of.
    Occupied {
        /// The slot.
        slot: Slot,
        /// The version on record, if any.
        recorded: Option<Version>,
        /// What is in it.
        found: Instance,
    },
    /// A slot that should be warm does not run, or only in part.
    Gone {
        /// The slot.
        slot: Slot,
        /// What it was there for.
        status: SlotStatus,
        /// What is in it.
        found: Instance,
    },
    /// Nobody can look into a slot: its machine is off or away. What is recorded of it stays.
    OutOfReach {
        /// The slot.
        slot: Slot,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |split: &Option<Split>| split.map_or_else(|| "nothing".to_owned(), |split| split.to_string());
        match self {
            Self::RecordLost { split } => {
                write!(
                    f,
                    "there is no record of this service, which runs, and the router routes {}: taken as it is; was the state \
                     document lost, or does another deployer keep it elsewhere?",
                    text(split)
                )
            }
            Self::Switched { recorded, found } => {
                write!(f, "the record says {}, and the router routes {}", text(recorded), text(found))
            }
            Self::LiveDown { slot, found } => write!(f, "{slot} gets traffic and is {found}"),
            Self::Occupied { slot, recorded: Some(recorded), found } => {
                write!(f, "{slot} should hold {recorded} and is {found}")
            }
            Self::Occupied { slot, recorded: None, found } => write!(f, "{slot} should be empty and is {found}"),
            Self::Gone { slot, status, found } => write!(f, "{slot} is recorded as {status} and is {found}"),
            Self::OutOfReach { slot, reason } => write!(f, "{slot} is out of reach: {reason}"),
        }
    }
}

impl Observed {
    /// What there is now, compared with the record.
    pub(super) async fn now(context: &Context, state: &State) -> Result<Self> {
        Self::of(Looked::now(context).await, state)
    }

    /// What was seen, compared with the record. One slot may be out of reach: it counts as stopped, and [`Drift::OutOfReach`] says
    /// so.
    pub(super) fn of(Looked(split, blue, green): Looked, state: &State) -> Result<Self> {
        let of_record = |slot: Slot| Instance::Stopped {
            version: state.slot(slot).version.clone(),
            reason: Some("as far as is known: it is out of reach".to_owned()),
        };
        let (split, blue, green, away) = match (split, blue, green) {
            (Ok(split), Ok(blue), Err(error)) if is_away(&error) => {
                (split, blue, of_record(Slot::Green), Some((Slot::Green, error)))
            }
            (Ok(split), Err(error), Ok(green)) if is_away(&error) => {
                (split, of_record(Slot::Blue), green, Some((Slot::Blue, error)))
            }
            (split, blue, green) => {
                let seen = split.and_then(|split| Ok((split, blue?, green?)));
                let (split, blue, green) = seen.map_err(Error::not_applied)?;
                (split, blue, green, None)
            }
        };
        let away = away.map(|(slot, error)| Drift::OutOfReach { slot, reason: error.chain() });
        Ok(Self::compared(state, split, blue, green, away))
    }

    /// As [`now`](Self::now), for a look that belongs to no operation.
    pub(super) async fn recorded_and_now(context: &Context, state: &State) -> Result<Self> {
        if let Some(fleet) = &context.fleet {
            fleet.look_with(state);
        }
        Self::now(context, state).await
    }

    fn compared(state: &State, split: Option<Split>, blue: Instance, green: Instance, away: Option<Drift>) -> Self {
        let live = split.map(|split| split.sole().unwrap_or_else(|| recorded_live(state, split)));
        let mut observed = Self { split, blue, green, live, drift: away.into_iter().collect() };
        let drift = observed.compare(state);
        observed.drift.extend(drift);
        observed
    }

    /// What is in a slot.
    pub fn slot(&self, slot: Slot) -> &Instance {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    /// Why nobody can look into a slot, if that is so.
    pub fn out_of_reach(&self, slot: Slot) -> Option<&str> {
        self.drift.iter().find_map(|drift| match drift {
            Drift::OutOfReach { slot: away, reason } if *away == slot => Some(reason.as_str()),
            _ => None,
        })
    }

    /// An error, if nobody can look into a slot that must be seen.
    pub(super) fn in_reach(&self, slot: Slot) -> Result<()> {
        match self.out_of_reach(slot) {
            None => Ok(()),
            Some(reason) => {
                let error = Error::new(ErrorKind::Unreachable, format!("{slot} is out of reach: {reason}"));
                Err(error.not_applied().retryable(true))
            }
        }
    }

    /// Whether both slots get traffic.
    pub fn is_divided(&self) -> bool {
        self.split.is_some_and(|split| split.sole().is_none())
    }

    fn compare(&self, state: &State) -> Vec<Drift> {
        let mut drift = Vec::new();
        let never_recorded = *state == State { epoch: state.epoch, ..blank(state) };
        match self.split {
            split if never_recorded && (split.is_some() || self.blue.is_running() || self.green.is_running()) => {
                drift.push(Drift::RecordLost { split });
            }
            found if found != state.split => drift.push(Drift::Switched { recorded: state.split, found }),
            _ => {}
        }
        for slot in Slot::BOTH.into_iter().filter(|slot| self.out_of_reach(*slot).is_none()) {
            let (found, record) = (self.slot(slot), state.slot(slot));
            let routed = self.split.is_some_and(|split| split.routes_to(slot));
            let whole = found.is_running() && !found.is_degraded();
            if routed && !whole {
                drift.push(Drift::LiveDown { slot, found: found.clone() });
            } else if found.is_running() && !never_recorded && !record.holds(found) {
                drift.push(Drift::Occupied { slot, recorded: record.version.clone(), found: found.clone() });
            } else if record.is_warm() && !whole {
                drift.push(Drift::Gone { slot, status: record.status, found: found.clone() });
            }
        }
        drift
    }

    /// Brings the record into agreement with what was observed.
    pub(super) fn reconcile(&self, state: &mut State) {
        state.live = self.live;
        state.split = self.split;
        for slot in Slot::BOTH {
            let found = self.slot(slot);
            let record = state.slot_mut(slot);
            if self.out_of_reach(slot).is_some() {
                match (self.live == Some(slot), record.status) {
                    (true, _) => record.status = SlotStatus::Live,
                    (false, SlotStatus::Live) => record.status = SlotStatus::Retained,
                    (false, _) => {}
                }
            } else if self.live == Some(slot) {
                let known = record.holds(found);
                record.status = SlotStatus::Live;
                record.retain_until = None;
                if !known {
                    record.adopt(found);
                }
            } else if self.live.is_none() && record.status == SlotStatus::Live && record.holds(found) {
                // Nothing is routed, and it is the one to give the traffic back to.
            } else if !found.is_running() && record.is_warm() && record.holds(found) {
                // It may come back by itself, and a rollback starts it: what it was there for is not forgotten.
                if record.status == SlotStatus::Live {
                    record.status = SlotStatus::Retained;
                }
            } else if !found.is_running() {
                record.clear();
            } else if !record.holds(found) || !record.is_warm() {
                // Nobody knows whether it was ever live; a staged release is what it can be promoted as.
                record.adopt(found);
                record.status = SlotStatus::Staged;
                record.retain_until = None;
            } else if record.status == SlotStatus::Live {
                record.status = SlotStatus::Retained;
            }
        }
    }
}

/// What the router and both slots answered.
pub(super) struct Looked(Result<Option<Split>>, Result<Instance>, Result<Instance>);

impl Looked {
    /// Asks them at the same time.
    async fn now(context: &Context) -> Self {
        let asked = futures::join!(current(context), inspect(context, Slot::Blue), inspect(context, Slot::Green));
        Self(asked.0, asked.1, asked.2)
    }
}

/// A look that was begun before it is needed. It ends when this is dropped.
pub(super) struct Looking(JoinHandle<Looked>);

impl Looking {
    pub(super) fn begin(context: Arc<Context>) -> Self {
        Self(tokio::spawn(async move { Looked::now(&context).await }))
    }

    /// What was seen.
    ///
    /// # Errors
    /// When it panicked.
    pub(super) async fn end(mut self) -> Result<Looked> {
        (&mut self.0).await.map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()).not_applied())
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether an error says that a machine is off or away, so that nobody knows what is on it.
pub(super) fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
}

/// The split, from the router, within the time that a look may take.
pub(super) async fn current(context: &Context) -> Result<Option<Split>> {
    in_time(context.router.current())
        .await
        .map_err(|error| error.with_operation("ask the router").with("router", &context.router))
}

/// What is in a slot, from the runtime, within the time that a look may take.
pub(super) async fn inspect(context: &Context, slot: Slot) -> Result<Instance> {
    let look = in_time(context.runtime.inspect(slot));
    look.await.map_err(|error| error.with_operation(format!("inspect {slot}")).with("runtime", &context.runtime))
}

/// Bounds a look, which is not worth more than a minute.
pub(super) async fn in_time<T>(look: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Timeout, format!("no answer within {OBSERVE_TIMEOUT:?}")));
    tokio::time::timeout(OBSERVE_TIMEOUT, look).await.unwrap_or_else(late)
}

impl SlotRecord {
    fn holds(&self, found: &Instance) -> bool {
        self.version.is_some() && (found.version().is_none() || found.version() == self.version.as_ref())
    }

    /// Takes what was found for the content of the slot. Nobody knows since when it is there.
    fn adopt(&mut self, found: &Instance) {
        if !self.holds(found) {
            self.version = found.version().cloned();
            self.settings.clear();
            self.confirmed = None;
        }
        self.since = None;
    }

    fn is_warm(&self) -> bool {
        matches!(self.status, SlotStatus::Live | SlotStatus::Retained | SlotStatus::Staged)
    }
}

fn recorded_live(state: &State, split: Split) -> Slot {
    state.live.filter(|live| split.routes_to(*live)).unwrap_or_else(|| split.majority())
}

/// A document in which nothing was recorded but the operation that is looking right now.
fn blank(state: &State) -> State {
    State {
        operation: state.operation.clone(),
        lease: state.lease.clone(),
        members: state.members.clone(),
        ..State::new(state.service.clone())
    }
}
