//! The steps that several verbs share.

use std::sync::OnceLock;

use super::context::Context;
use super::observe;
use super::route::refused;
use super::session::{Halt, Session};
use crate::error::{Effect, Error, ErrorKind, Reason};
use crate::migrator::Phase;
use crate::state::{SlotStatus, State, Step};
use crate::types::{Instance, Slot, Split, Target};

/// Whether a release that was up before is to be started again: it does not run, or not on all members of a fleet. Those on which
/// it runs are left alone.
pub(super) fn is_to_be_started(context: &Context, found: &Instance) -> bool {
    !found.is_running() || (found.is_degraded() && context.fleet.as_ref().is_some_and(|fleet| fleet.sole().is_none()))
}

/// Starts a prepared release; `starting` changes the record as it begins.
pub(super) async fn start(
    session: &mut Session,
    step: Step,
    target: &Target,
    starting: impl Fn(&mut State) + Send + Sync + 'static,
) -> Result<(), Halt> {
    let context = session.context.clone();
    let instance = session.step_with_start(step, starting, context.runtime.start(target)).await?;
    session.saw(target.slot, &instance);
    Ok(())
}

/// Tells the router where the slot listens. A slot that does not run listens nowhere.
pub(super) async fn attach(session: &mut Session, slot: Slot) -> Result<(), Halt> {
    let (context, seen, begun) = (session.context.clone(), session.seen(slot), session.looks_first());
    let inspect = async {
        let instance = context.runtime.inspect(slot).await?;
        if !instance.is_running() {
            let error = Error::new(ErrorKind::Unhealthy, format!("{slot} is {instance}, so it gets no traffic"));
            return Err(error.not_applied());
        }
        Ok(instance)
    };
    let work = async {
        let Some(seen) = seen else {
            return context.router.attach_after(slot, &inspect.await?, Box::pin(begun.wait())).await;
        };
        // The router looks by what was seen last, and changes nothing before that is seen to be so still.
        let other = OnceLock::new();
        let is_so_still = async {
            let (instance, begun) = tokio::join!(inspect, begun.wait());
            begun?;
            match instance? {
                instance if instance == seen => Ok(()),
                instance => Err(other.get_or_init(|| instance)).map_err(|other| {
                    Error::new(ErrorKind::Conflict, format!("{slot} is {other} by now")).not_applied()
                }),
            }
        };
        let attached = context.router.attach_after(slot, &seen, Box::pin(is_so_still)).await;
        match other.get() {
            Some(instance) => context.router.attach(slot, instance).await,
            None => attached,
        }
    };
    session.step(Step::Attach, work).await
}

/// Moves traffic, and records the split that the router confirmed.
pub(super) async fn shift(session: &mut Session, step: Step, from: Option<Split>, to: Split) -> Result<(), Halt> {
    let (context, begun) = (session.context.clone(), session.looks_first());
    let work = async {
        context.router.shift_after(from, to, Box::pin(begun.wait())).await?;
        match to.sole() {
            Some(live) => context.runtime.promoted(live).await.map_err(Error::maybe_applied),
            None => Ok(()),
        }
    };
    // Traffic that goes back to where it was confirmed before needs no other confirmation.
    let gains = move |slot: Slot| step != Step::ShiftBack && to.share(slot) > from.map_or(0, |from| from.share(slot));
    let unconfirmed = move |state: &mut State| {
        let gaining = Slot::BOTH.into_iter().filter(|slot| gains(*slot));
        gaining.for_each(|slot| state.slot_mut(slot).confirmed = None);
    };
    let moved = move |state: &mut State| state.split = Some(to);
    session.step_with_result(step, unconfirmed, work, moved).await?;
    session.reporter.say(crate::event::EventKind::Shifted { from, to });
    Ok(())
}

/// Stops a slot, after asking the router once more that it sends nothing there.
pub(super) async fn stop(session: &mut Session, step: Step, slot: Slot) -> Result<(), Halt> {
    stop_noting(session, step, slot, |_| {}).await
}

/// As [`stop`]; `before` changes the record as it begins.
pub(super) async fn stop_noting(
    session: &mut Session,
    step: Step,
    slot: Slot,
    before: impl Fn(&mut State) + Send + Sync + 'static,
) -> Result<(), Halt> {
    let context = session.context.clone();
    let grace = context.settings.stop_grace;
    // A runtime that cannot tell, says why when it is told to stop.
    let grace = observe::in_time(context.runtime.stop_grace(slot, grace)).await.unwrap_or(grace).max(grace);
    session.allow(grace);
    let begun = session.looks_first();
    let reporter = session.reporter.clone();
    let work = async {
        let split = context.router.current().await?;
        if let Some(split) = split.filter(|split| split.routes_to(slot)) {
            return Err(refused(
                Reason::ChangedElsewhere,
                format!("{slot} is not stopped, because the router sends traffic to it: {split}"),
                "somebody moved it there in the meantime: `status` shows where it goes now, and the next operation goes by that",
            ));
        }
        begun.wait().await?;
        let stopped = context.runtime.stop(slot, grace).await?;
        if !stopped.killed.is_empty() {
            reporter.detail(stopped.to_string());
            reporter.note(format!("{slot}: {stopped}"));
        }
        Ok(())
    };
    let emptied = move |state: &mut State| state.slot_mut(slot).clear();
    session.step_with_result(step, before, work, emptied).await
}

/// Runs the expand phase.
pub(super) async fn expand(session: &mut Session, target: &Target, step: Step) -> Result<(), Halt> {
    let context = session.context.clone();
    let migrator = context.migrator.as_ref().ok_or_else(no_migrator)?;
    session.step(step, migrator.migrate(Phase::Expand, target)).await
}

/// Runs the contract phase. From the moment it starts there is no way back, so that is written first. A migrator that
/// says that it has applied nothing leaves the way back as it was, and that is written too.
pub(super) async fn contract(session: &mut Session, target: &Target) -> Result<(), Halt> {
    let context = session.context.clone();
    // A pipeline without one gets here only where a contract phase had begun: it stays begun.
    let migrator = context.migrator.as_ref().ok_or_else(no_migrator)?;
    let work = migrator.migrate(Phase::Contract, target);
    // It says that of this call alone: a phase that was cut off before may have applied something.
    let was_safe = session.lease.state().await.rollback_safe;
    let no_way_back = |state: &mut State| state.rollback_safe = false;
    let result = session.step_with_start(Step::Contract, no_way_back, work).await;
    if let Err(Halt::Failed(error)) = &result
        && was_safe
        && error.effect() == Effect::NotApplied
    {
        let safe = Box::new(|state: &mut State| state.rollback_safe = true);
        session.lease.update_or_defer(safe).await.map_err(|lost| Halt::Lost(lost.into_error()))?;
    }
    result
}

pub(super) fn no_migrator() -> Error {
    Error::config("the pipeline has no migrator").with_hint("call `.migrator(...)` on the builder")
}

/// Keeps a slot warm for a rollback, for as long as the retention says.
pub(super) async fn retain(session: &mut Session, old: Slot) -> Result<(), Halt> {
    let until = session.context.retain_until();
    let detail = until.map_or_else(|| "until the next deploy".to_owned(), |until| format!("until {until}"));
    let retained = move |state: &mut State| {
        let record = state.slot_mut(old);
        record.status = SlotStatus::Retained;
        record.retain_until = until;
    };
    session.last_step_on_record(Step::Retain, format!("{old} is kept warm {detail}"), retained).await
}
