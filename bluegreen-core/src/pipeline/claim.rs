//! The contender's side of the lease: takes it when it is free, and takes it over when its holder is dead.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::context::Context;
use super::defaults::{LONGEST_LEASE_TTL, STORE_TIMEOUT};
use super::lease::{Heartbeat, LeaseGuard, Moment, in_time};
use super::reporter::Reporter;
use crate::duration_text::short;
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::process_id::ProcessId;
use crate::state::{Lease, Operation, State};
use crate::store::{Revision, Versioned};
use crate::types::OperationId;

/// What a claim does about a lease that someone else has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IfHeld {
    /// Refuse at once, and refuse an operation whose process died too.
    Refuse,
    /// Take over as soon as the holder is certainly dead: at once where its process is seen to be gone on this machine, or
    /// else when its heartbeat stood still for a whole ttl.
    TakeOver,
}

/// Takes the lease and, in the same write, notes the operation that `begin` makes of the document. Before each try, `free` is told
/// that nobody holds it: what is seen from then on nobody has changed under a lease, if the claim succeeds.
pub(super) async fn claim(
    context: &Context,
    reporter: &Reporter,
    if_held: IfHeld,
    begin: impl Fn(&mut State) + Send,
    mut free: impl FnMut() + Send,
) -> Result<(Arc<LeaseGuard>, Heartbeat)> {
    let Context { store, service, settings, .. } = context;
    let id = OperationId::new(format!("lease-{:016x}", fastrand::u64(..)))?;
    loop {
        let (mut state, revision) = load(context).await?;
        if let Some(lease) = &state.lease {
            if if_held == IfHeld::Refuse {
                return Err(held_by(lease, &state).with("service", service));
            }
            await_death(context, reporter, lease).await?;
        } else if let (Some(operation), IfHeld::Refuse) = (&state.operation, if_held) {
            return Err(unfinished(operation).with("service", service));
        }
        if if_held == IfHeld::Refuse {
            free();
        }
        let asked = Moment::now();
        state.epoch = state.epoch.saturating_add(1);
        state.lease = Some(Lease {
            id: id.clone(),
            holder: context.holder.clone(),
            process: ProcessId::current(),
            epoch: state.epoch,
            heartbeat: 0,
            ttl_millis: u64::try_from(settings.lease_ttl.as_millis()).unwrap_or(u64::MAX),
            since: context.clock.now(),
            unknown: serde_json::Map::new(),
        });
        begin(&mut state);
        let commit = store.commit(service, revision.as_ref(), &state);
        let revision = match in_time(limit(context), commit).await {
            Ok(revision) => revision,
            Err(error) if error.kind() == ErrorKind::Conflict => continue,
            Err(error) => match arrived(context, &id).await {
                Some(revision) => revision,
                None => return Err(error.with_operation("claim the lease")),
            },
        };
        let written = Versioned { value: state, revision };
        return Ok(LeaseGuard::new(store.clone(), settings.lease_ttl, id, written, asked));
    }
}

async fn load(context: &Context) -> Result<(State, Option<Revision>)> {
    let load = in_time(limit(context), context.store.load(&context.service));
    let loaded = load.await.map_err(|error| error.with_operation("read the state").not_applied())?;
    Ok(match loaded {
        None => (State::new(context.service.clone()), None),
        Some(found) => (found.value, Some(found.revision)),
    })
}

/// How long the store may take: nothing has been begun yet, and what it says itself is worth more than that it was late.
fn limit(context: &Context) -> Duration {
    context.settings.lease_ttl.max(STORE_TIMEOUT)
}

/// The revision, if the document in the store is the one that this very claim wrote.
async fn arrived(context: &Context, id: &OperationId) -> Option<Revision> {
    let (state, revision) = load(context).await.ok()?;
    revision.filter(|_| state.lease.is_some_and(|lease| lease.id == *id))
}

/// Returns when the holder of the lease is certainly dead, or has given it back.
async fn await_death(context: &Context, reporter: &Reporter, lease: &Lease) -> Result<()> {
    if lease.process.as_ref().is_some_and(ProcessId::is_gone) {
        reporter.note(format!("{} is gone from this machine: the lease is taken over at once", lease.holder));
        return Ok(());
    }
    // A document that says more is not to be believed: nobody could ever take over.
    let ttl = Duration::from_millis(lease.ttl_millis).min(LONGEST_LEASE_TTL);
    reporter.note(format!(
        "waiting {} to see whether {}, who holds the lease, is dead: its heartbeat must stand still for that long",
        short(ttl),
        lease.holder
    ));
    let since = Instant::now();
    while since.elapsed() < ttl {
        sleep((ttl / 10).max(Duration::from_millis(10))).await;
        let (state, _) = load(context).await?;
        match &state.lease {
            None => return Ok(()),
            Some(now) if now == lease => {}
            Some(now) => {
                let alive = "it is alive: wait for it to end; `unlock` stops it before its next step, and `recover` then \
                             brings what it left to an end";
                return Err(held_by(now, &state).with("service", &context.service).with_hint(alive));
            }
        }
    }
    Ok(())
}

/// The refusal of what another holds.
pub(super) fn held_by(lease: &Lease, state: &State) -> Error {
    let doing = state.operation.as_ref().map_or_else(String::new, |operation| {
        let version = operation.version.as_ref().map(|version| format!(" of {version}")).unwrap_or_default();
        let step = operation.last().map_or_else(String::new, |entry| format!(", in step {}", entry.step));
        format!(", for a {}{version}{step}", operation.kind)
    });
    Error::new(ErrorKind::Conflict, format!("{} holds the lease since {}{doing}", lease.holder, lease.since))
        .with_reason(Reason::LeaseHeld)
        .not_applied()
        .with_hint("wait for it to end; should that process be dead, `recover` takes over after one lease ttl")
}

/// The refusal of what a dead process left.
pub(super) fn unfinished(operation: &Operation) -> Error {
    let step = operation.last().map_or_else(String::new, |entry| format!(" in step {}", entry.step));
    Error::new(
        ErrorKind::Conflict,
        format!("the {} {} of {} did not end: it stopped{step}", operation.kind, operation.id, operation.by),
    )
    .with_reason(Reason::Unfinished)
    .not_applied()
    .with_hint("run `recover` first: it finds out what there is and brings it to an end")
}
