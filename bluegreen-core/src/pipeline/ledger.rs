//! The holder's side of the state document: claims the lease, keeps it alive, and writes only while it holds it.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::builder::Parts;
use crate::error::{Error, ErrorKind, Result};
use crate::state::{Lease, Operation, State};
use crate::store::{Revision, StateStore, Versioned};
use crate::types::{OperationId, ServiceName};

/// How often a write is tried again when the store says that this may help.
const WRITE_ATTEMPTS: u32 = 4;

pub(super) struct Ledger {
    store: Arc<dyn StateStore>,
    service: ServiceName,
    epoch: u64,
    ttl: Duration,
    held: Mutex<Held>,
    confirmed: StdMutex<Instant>,
    lost: CancellationToken,
}

/// The document as last written by us, and what the next write adds to it.
struct Held {
    written: Versioned<State>,
    deferred: Vec<Change>,
}

/// A change of the document that waits for the next write.
pub(super) type Change = Box<dyn Fn(&mut State) + Send + Sync>;

impl Held {
    /// The document with what was deferred.
    fn now(&self) -> State {
        let mut state = self.written.value.clone();
        self.deferred.iter().for_each(|change| change(&mut state));
        state
    }
}

/// Keeps the lease alive until it is dropped.
pub(super) struct Heartbeat(JoinHandle<()>);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a claim does about a lease that someone else has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfHeld {
    /// Refuse at once, and refuse an operation whose process died too.
    Refuse,
    /// Watch its heartbeat for a whole ttl, and take over if it stands still.
    TakeOver,
}

impl Ledger {
    /// Takes the lease and, in the same write, notes the operation that `begin` makes of the document.
    pub(super) async fn claim(
        parts: &Parts,
        if_held: IfHeld,
        begin: impl Fn(&mut State) + Send,
    ) -> Result<(Arc<Self>, Heartbeat)> {
        let Parts { store, service, settings, .. } = parts;
        let id = OperationId::new(format!("lease-{:016x}", fastrand::u64(..)))?;
        loop {
            let (mut state, revision) = load(parts).await?;
            if let Some(lease) = &state.lease {
                if if_held == IfHeld::Refuse {
                    return Err(held_by(lease, &state).with("service", service));
                }
                watch_stand_still(parts, lease).await?;
            } else if let (Some(operation), IfHeld::Refuse) = (&state.operation, if_held) {
                return Err(died(operation).with("service", service));
            }
            let asked = Instant::now();
            state.epoch += 1;
            state.lease = Some(Lease {
                id: id.clone(),
                holder: parts.holder.clone(),
                epoch: state.epoch,
                heartbeat: 0,
                ttl_millis: u64::try_from(settings.lease_ttl.as_millis()).unwrap_or(u64::MAX),
                since: parts.clock.now(),
            });
            begin(&mut state);
            let commit = store.commit(service, revision.as_ref(), &state);
            let revision = match in_time(settings.lease_ttl, commit).await {
                Ok(revision) => revision,
                Err(error) if error.kind() == ErrorKind::Conflict => continue,
                Err(error) => match arrived(parts, &id).await {
                    Some(revision) => revision,
                    None => return Err(error.trying("claim the lease")),
                },
            };
            let ledger = Arc::new(Self {
                store: store.clone(),
                service: service.clone(),
                epoch: state.epoch,
                ttl: settings.lease_ttl,
                held: Mutex::new(Held { written: Versioned { value: state, revision }, deferred: Vec::new() }),
                confirmed: StdMutex::new(asked),
                lost: CancellationToken::new(),
            });
            let heartbeat = Heartbeat(tokio::spawn(keep_alive(ledger.clone())));
            return Ok((ledger, heartbeat));
        }
    }

    /// The document as last written by us, with what was deferred.
    pub(super) async fn state(&self) -> State {
        self.held.lock().await.now()
    }

    /// Changes the document with the next write, which saves one. Should there be no next write, a recovery finds the record
    /// as it was, and looks what became of the rest, as it does after a death in the step before.
    pub(super) async fn defer(&self, change: Change) {
        self.held.lock().await.deferred.push(change);
    }

    /// Changes the document. Fails when the lease is gone; then nothing may be done any more.
    ///
    /// `change` may be called more than once: when another write came between, it is applied to what is there now.
    pub(super) async fn update(&self, change: impl Fn(&mut State) + Send) -> Result<()> {
        let mut held = self.held.lock().await;
        let mut attempt = 1;
        loop {
            if self.lost.is_cancelled() {
                return Err(self.gone("its holder was silent for too long, or another took over"));
            }
            let asked = Instant::now();
            let mut next = held.now();
            change(&mut next);
            let commit = self.store.commit(&self.service, Some(&held.written.revision), &next);
            let error = match self.in_time(commit).await {
                Ok(revision) => {
                    *held = Held { written: Versioned { value: next, revision }, deferred: Vec::new() };
                    self.confirm(asked);
                    return Ok(());
                }
                Err(error) => error,
            };
            let again = error.kind() == ErrorKind::Conflict || error.is_retryable();
            if !again || attempt == WRITE_ATTEMPTS {
                return Err(error.trying("write the journal"));
            }
            if error.kind() != ErrorKind::Conflict {
                sleep(self.ttl / 20 * attempt).await;
            }
            attempt += 1;
            match self.in_time(self.store.load(&self.service)).await {
                // The last write of all takes the lease away, so this is looked at before whose lease it is.
                Ok(Some(found)) if found.value == next => {
                    *held = Held { written: found, deferred: Vec::new() };
                    self.confirm(asked);
                    return Ok(());
                }
                Ok(Some(found)) if found.value.lease.as_ref().is_some_and(|lease| lease.epoch == self.epoch) => {
                    held.written = found;
                }
                Ok(found) => {
                    self.lost.cancel();
                    let now = found.and_then(|found| found.value.lease).map(|lease| lease.holder);
                    return Err(self.gone(&now.map_or_else(
                        || "the lease was taken away".to_owned(),
                        |holder| format!("{holder} holds it now"),
                    )));
                }
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error.trying("read the journal")),
            }
        }
    }

    /// Completes when the lease is lost.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// The error of a lost lease.
    pub(super) fn gone(&self, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("the lease is lost: {why}"))
            .with("service", &self.service)
            .advice("nothing more was done; `recover` finds out what there is and finishes it")
    }

    /// No single call may outlast the time in which the lease must be confirmed.
    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        in_time(self.ttl / 3, call).await
    }

    fn confirm(&self, asked: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    /// When this process must count the lease as lost: before anyone else may take it over.
    fn deadline(&self) -> Instant {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) + self.ttl * 3 / 4
    }
}

async fn keep_alive(ledger: Arc<Ledger>) {
    // Should this end in any other way than by its holder, as by a store that panics, then nobody speaks for the lease.
    let _lost = ledger.lost.clone().drop_guard();
    let beat = async {
        loop {
            sleep(ledger.ttl / 3).await;
            let beat = ledger.update(|state| {
                if let Some(lease) = &mut state.lease {
                    lease.heartbeat += 1;
                }
            });
            if let Err(error) = beat.await {
                tracing::warn!(service = %ledger.service, error = %error.chain(), "a heartbeat was not written");
            }
        }
    };
    let watch = async {
        loop {
            sleep_until(ledger.deadline()).await;
            if ledger.deadline() <= Instant::now() {
                ledger.lost.cancel();
                return;
            }
        }
    };
    tokio::select! {
        () = beat => {}
        () = watch => {}
        () = ledger.lost() => {}
    }
}

async fn load(parts: &Parts) -> Result<(State, Option<Revision>)> {
    let load = in_time(parts.settings.lease_ttl, parts.store.load(&parts.service));
    let loaded = load.await.map_err(|error| error.trying("read the state").not_applied())?;
    Ok(match loaded {
        None => (State::new(parts.service.clone()), None),
        Some(found) => (found.value, Some(found.revision)),
    })
}

/// The revision, if the document in the store is the one that this very claim wrote.
async fn arrived(parts: &Parts, id: &OperationId) -> Option<Revision> {
    let (state, revision) = load(parts).await.ok()?;
    revision.filter(|_| state.lease.is_some_and(|lease| lease.id == *id))
}

pub(super) async fn in_time<T>(limit: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Timeout, format!("the state store did not answer within {limit:?}")));
    timeout(limit, call).await.unwrap_or_else(late)
}

/// Returns when the lease was seen unchanged for a whole ttl of its own, by our clock.
async fn watch_stand_still(parts: &Parts, lease: &Lease) -> Result<()> {
    let ttl = Duration::from_millis(lease.ttl_millis);
    let since = Instant::now();
    while since.elapsed() < ttl {
        sleep((ttl / 10).max(Duration::from_millis(10))).await;
        let (state, _) = load(parts).await?;
        match &state.lease {
            None => return Ok(()),
            Some(now) if now == lease => {}
            Some(now) => return Err(held_by(now, &state).with("service", &parts.service)),
        }
    }
    Ok(())
}

fn held_by(lease: &Lease, state: &State) -> Error {
    let doing = state.operation.as_ref().map_or_else(String::new, |operation| {
        let version = operation.version.as_ref().map(|version| format!(" of {version}")).unwrap_or_default();
        let step = operation.last().map_or_else(String::new, |entry| format!(", in step {}", entry.step));
        format!(", for a {}{version}{step}", operation.kind)
    });
    Error::new(ErrorKind::Conflict, format!("{} holds the lease since {}{doing}", lease.holder, lease.since))
        .trying("claim the lease")
        .not_applied()
        .advice("wait for it to end; should that process be dead, `recover` takes over after one lease ttl")
}

fn died(operation: &Operation) -> Error {
    let step = operation.last().map_or_else(String::new, |entry| format!(" in step {}", entry.step));
    Error::new(
        ErrorKind::Conflict,
        format!("the {} {} of {} did not end: it stopped{step}", operation.kind, operation.id, operation.by),
    )
    .trying("claim the lease")
    .not_applied()
    .advice("run `recover` first: it finds out what there is and brings it to an end")
}
