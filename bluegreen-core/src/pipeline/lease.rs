//! The holder's side of the lease: keeps it alive, and writes the state document only while it is held.

use std::pin::pin;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Reason, Result};
use crate::state::State;
use crate::store::{StateStore, Versioned};
use crate::types::{OperationId, ServiceName};

/// The first pause between two tries of a write, as a part of the ttl; each pause is twice the one before.
const FIRST_PAUSE: u32 = 60;

/// The longest pause between two tries of a write, as a part of the ttl.
const LONGEST_PAUSE: u32 = 15;

/// A lease that this process holds, with the document as this process last wrote it.
pub(super) struct LeaseGuard {
    store: Arc<dyn StateStore>,
    service: ServiceName,
    id: OperationId,
    ttl: Duration,
    held: Mutex<Held>,
    confirmed: StdMutex<Moment>,
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

/// Why a write did not succeed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Another holds the lease, or may: not one more side effect.
    Lost(Error),
    /// The store did not take it, and the lease is still held.
    Failed(Error),
}

impl WriteError {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Lost(error) | Self::Failed(error) => error,
        }
    }
}

/// Keeps the lease alive until it is dropped.
pub(super) struct Heartbeat(JoinHandle<()>);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LeaseGuard {
    /// The guard of a lease that was claimed by writing `state` at `revision`; the write was begun at `asked`.
    pub(super) fn new(
        store: Arc<dyn StateStore>,
        ttl: Duration,
        id: OperationId,
        written: Versioned<State>,
        asked: Moment,
    ) -> (Arc<Self>, Heartbeat) {
        let guard = Arc::new(Self {
            store,
            service: written.value.service.clone(),
            id,
            ttl,
            held: Mutex::new(Held { written, deferred: Vec::new() }),
            confirmed: StdMutex::new(asked),
            lost: CancellationToken::new(),
        });
        let heartbeat = Heartbeat(tokio::spawn(keep_alive(guard.clone())));
        (guard, heartbeat)
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

    /// Changes the document. A write that fails is tried again for half of the time for which the lease is still certain, so
    /// that the other half is left for an undo.
    ///
    /// `change` may be called more than once: when another write came between, it is applied to what is there now.
    pub(super) async fn update(&self, change: impl Fn(&mut State) + Send) -> Result<(), WriteError> {
        self.update_until(self.part_of_what_is_left(2), change).await
    }

    /// Changes the document. A write that fails is tried again for as long as the lease is certain.
    pub(super) async fn update_at_last(&self, change: impl Fn(&mut State) + Send) -> Result<(), WriteError> {
        self.update_until(self.deadline(), change).await
    }

    /// Changes the document, or defers the change when the store does not take it at once: for an undo, which must not wait for
    /// its journal. What it does is what a recovery would do.
    pub(super) async fn update_or_defer(&self, change: Change) -> Result<(), WriteError> {
        let mut held = self.held.lock().await;
        match self.write(&mut held, self.part_of_what_is_left(4), &change).await {
            Err(WriteError::Failed(error)) => {
                tracing::warn!(service = %self.service, error = %error.chain(), "the journal of an undo was not written");
                held.deferred.push(change);
                Ok(())
            }
            result => result,
        }
    }

    /// An error, when the lease is not certain any more.
    pub(super) fn ensure_held(&self) -> Result<(), Error> {
        match self.is_over() || self.lost.is_cancelled() {
            true => Err(self.gone("its holder was silent for too long, or another took over")),
            false => Ok(()),
        }
    }

    /// Completes when the lease is lost. The clock is asked at each poll: a process that was stopped and goes on must find out
    /// before it finishes what it was doing, whichever of its timers and answers is seen first.
    pub(super) async fn lost(&self) {
        let mut wait = pin!(async {
            loop {
                tokio::select! {
                    () = self.lost.cancelled() => return,
                    () = sleep_until(self.deadline()) => if self.is_over() { return },
                }
            }
        });
        std::future::poll_fn(|context| match self.is_over() {
            true => Poll::Ready(()),
            false => wait.as_mut().poll(context),
        })
        .await;
        self.lost.cancel();
    }

    /// The error of a lost lease.
    pub(super) fn gone(&self, why: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("the lease is lost: {why}"))
            .with_reason(Reason::LeaseLost)
            .with("service", &self.service)
            .with_hint("once nobody else holds it, as `status` tells, `recover` brings what is left to an end")
    }

    async fn update_until(&self, give_up: Instant, change: impl Fn(&mut State) + Send) -> Result<(), WriteError> {
        let mut held = self.held.lock().await;
        let mut pause = self.ttl / FIRST_PAUSE;
        loop {
            match self.write(&mut held, give_up, &change).await {
                Err(WriteError::Failed(error)) if Instant::now() + pause >= give_up => {
                    return Err(WriteError::Failed(error));
                }
                Err(WriteError::Failed(_)) => sleep(pause).await,
                result => return result,
            }
            pause = (pause * 2).min(self.ttl / LONGEST_PAUSE);
        }
    }

    /// Tries one write, and finds out what became of it when it fails. One that met another write of our own is repeated.
    async fn write(
        &self,
        held: &mut MutexGuard<'_, Held>,
        give_up: Instant,
        change: &(impl Fn(&mut State) + Send),
    ) -> Result<(), WriteError> {
        loop {
            self.ensure_held().map_err(WriteError::Lost)?;
            let asked = Moment::now();
            let mut next = held.now();
            change(&mut next);
            let commit = self.store.commit(&self.service, Some(&held.written.revision), &next);
            let error = match self.in_time(give_up, commit).await {
                Ok(revision) => {
                    **held = Held { written: Versioned { value: next, revision }, deferred: Vec::new() };
                    self.confirm(asked);
                    return Ok(());
                }
                Err(error) => error,
            };
            match self.in_time(give_up, self.store.load(&self.service)).await {
                // The last write of all takes the lease away, so this is looked at before whose lease it is.
                Ok(Some(found)) if found.value == next => {
                    **held = Held { written: found, deferred: Vec::new() };
                    self.confirm(asked);
                    return Ok(());
                }
                Ok(Some(found)) if found.value.lease.as_ref().is_some_and(|lease| lease.id == self.id) => {
                    let moved_on = found.revision != held.written.revision;
                    held.written = found;
                    if error.kind() == ErrorKind::Conflict && moved_on {
                        continue;
                    }
                }
                Ok(found) => {
                    self.lost.cancel();
                    return Err(WriteError::Lost(self.gone(&taken_by(found))));
                }
                Err(_) => {}
            }
            return Err(WriteError::Failed(error.with_operation("write the journal")));
        }
    }

    /// No single call may outlast the time in which the lease must be confirmed.
    async fn in_time<T>(&self, give_up: Instant, call: impl Future<Output = Result<T>>) -> Result<T> {
        let left = give_up.saturating_duration_since(Instant::now());
        in_time(left.min(self.ttl / 3), call).await
    }

    /// The end of one of so many parts of the time for which the lease is still certain.
    fn part_of_what_is_left(&self, parts: u32) -> Instant {
        let now = Instant::now();
        now + self.deadline().saturating_duration_since(now) / parts
    }

    fn confirm(&self, asked: Moment) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    fn confirmed(&self) -> Moment {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long after a confirmed write the lease is certain: no other may take it over before.
    fn certain_for(&self) -> Duration {
        self.ttl / 4 * 3
    }

    /// When this process must count the lease as lost.
    fn deadline(&self) -> Instant {
        self.confirmed().process + self.certain_for()
    }

    fn is_over(&self) -> bool {
        self.confirmed().elapsed() >= self.certain_for()
    }
}

/// A moment by two clocks: tokio's, and the one that also counts while the machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    process: Instant,
    machine: Duration,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { process: Instant::now(), machine: since_boot() }
    }

    fn elapsed(&self) -> Duration {
        self.process.elapsed().max(since_boot().saturating_sub(self.machine))
    }
}

fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// Bounds one call of the store.
pub(super) async fn in_time<T>(limit: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Timeout, format!("the state store did not answer within {limit:?}")));
    timeout(limit, call).await.unwrap_or_else(late)
}

async fn keep_alive(guard: Arc<LeaseGuard>) {
    // Should this end in any other way than by its holder, as by a store that panics, then nobody speaks for the lease.
    let _lost = guard.lost.clone().drop_guard();
    let beat = async {
        loop {
            sleep(guard.ttl / 3).await;
            // One try holds the document for a moment only: a step that waits to write has its own tries.
            while let Err(WriteError::Failed(error)) = beat_once(&guard).await {
                tracing::warn!(service = %guard.service, error = %error.chain(), "a heartbeat was not written");
                sleep(guard.ttl / LONGEST_PAUSE).await;
            }
        }
    };
    tokio::select! {
        () = beat => {}
        () = guard.lost() => {}
    }
}

async fn beat_once(guard: &LeaseGuard) -> Result<(), WriteError> {
    let mut held = guard.held.lock().await;
    let beat = |state: &mut State| {
        if let Some(lease) = &mut state.lease {
            lease.heartbeat += 1;
        }
    };
    guard.write(&mut held, guard.part_of_what_is_left(4), &beat).await
}

fn taken_by(found: Option<Versioned<State>>) -> String {
    match found.map(|found| found.value.lease) {
        None => "the state document is gone".to_owned(),
        Some(None) => "the lease was taken away".to_owned(),
        Some(Some(lease)) => format!("{} holds it now", lease.holder),
    }
}
