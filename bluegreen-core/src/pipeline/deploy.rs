//! The deploy, from top to bottom: [`set_out`] decides, [`stage`] brings a release up without traffic, [`promote`] moves
//! the traffic, [`settle`] makes it final. Each step is journalled before and after; an error goes to `unwind`.

use std::time::Duration;

use super::builder::Parts;
use super::course::Course;
use super::defaults::OBSERVE_LIMIT;
use super::session::{Halt, Session};
use super::strategy::{Contract, Retention};
use super::{drain, health, soak, verify};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::migrator::{Phase, When};
use crate::state::{SlotStatus, State, Step};
use crate::types::{Release, Slot, Split, Target};

/// Stage and promote.
pub(super) async fn deploy(session: &mut Session, release: &Release) -> Result<(), Halt> {
    let course = set_out(session, release).await?;
    stage(session, &course).await?;
    if session.parts.strategy.auto_promote {
        promote(session, &course).await?;
        settle(session, &course).await?;
    }
    Ok(())
}

/// Decides where the release goes, and refuses what must not be done, before anything is done.
pub(super) async fn set_out(session: &mut Session, release: &Release) -> Result<Course, Halt> {
    let parts = session.parts.clone();
    let seen = session.observe().await?;
    let state = session.ledger.state().await;
    let course = Course::into_idle(&parts, &session.id, &state, &seen, release.clone()).map_err(Halt::Refused)?;
    if let Some(old) = &course.old {
        verify::can_tell(&parts, old, seen.slot(old.slot)).await.map_err(Halt::Refused)?;
    }
    session.set_course(course.clone()).await;
    Ok(course)
}

/// Brings the release up in the idle slot, tested, without traffic.
pub(super) async fn stage(session: &mut Session, course: &Course) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let target = session.narrator.watch(course.target.clone());
    let slot = target.slot;
    let limits = &parts.settings;

    session.step(Step::Prepare, limits.prepare_limit, parts.runtime.prepare(&target)).await?;
    expand(session, course, When::BeforeStart, Step::ExpandBeforeStart).await?;
    if course.occupied {
        stop(session, Step::StopOccupant, slot).await?;
    }
    let starting = |state: &mut State| starting(state, course, &parts);
    session.begun_step(Step::Start, start_limit(&parts), starting, parts.runtime.start(&target)).await?;
    health::step(session, &target).await?;
    expand(session, course, When::AfterStart, Step::ExpandAfterStart).await?;
    if !parts.smoke.is_empty() {
        health::smoke_step(session, &target).await?;
    }
    session.record(move |state| state.slot_mut(slot).status = SlotStatus::Staged).await;
    Ok(())
}

/// Moves the traffic to the staged release, step by step, and sees it answer at the public address.
pub(super) async fn promote(session: &mut Session, course: &Course) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let target = &course.target;
    let slot = target.slot;

    attach(session, slot).await?;

    let mut split = course.split;
    let course = &way_back_or_none(session, course).await;
    for traffic in course.traffic_steps(&parts) {
        let next = Split::toward(slot, traffic.percent)?;
        if course.can_go_back {
            check_way_back(session, course, split, traffic.percent).await?;
        }
        shift(session, Step::Shift(traffic.percent), split, next).await?;
        split = Some(next);
        if !traffic.soak.is_zero() {
            let (soak, max) = (traffic.soak, traffic.max_soak_or_default());
            soak::step(session, course, Step::Soak(traffic.percent), next, soak, max).await?;
        }
    }
    verify::step(session, course).await
}

/// With a live release that is sick, and a pipeline that may replace it all the same, there is no way back.
async fn way_back_or_none(session: &mut Session, course: &Course) -> Course {
    let mut course = course.clone();
    if !course.can_go_back || session.parts.require_way_back {
        return course;
    }
    if let Some(reason) = health::way_back_is_sick(&session.parts, &course).await {
        session.narrator.note(format!("there is no way back: {reason}"));
        course.can_go_back = false;
        session.course = Some(course.clone());
    }
    course
}

/// Before any traffic has moved, a sick way back ends the deploy. Later it holds it: the new release is well, and traffic
/// must not be sent back to one that is not.
async fn check_way_back(session: &mut Session, course: &Course, split: Option<Split>, percent: u8) -> Result<(), Halt> {
    let moved = split.is_some_and(|split| split.routes_to(course.target.slot));
    match health::way_back_step(session, course, percent).await {
        Err(Halt::Failed(error)) if moved && error.kind() == ErrorKind::Unhealthy => Err(Halt::Held(error.chain())),
        result => result,
    }
}

/// Makes it final: drains the old slot, watches the new one, and decides what becomes of the old one.
///
/// Also where a recovery goes on; what the journal holds as done is not done again.
pub(super) async fn settle(session: &mut Session, course: &Course) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let old = course.old.as_ref().map(|old| old.slot);
    let is_done = |journal: Option<crate::state::Operation>, step| journal.is_some_and(|journal| journal.done(step));

    if let Some(old) = old.filter(|_| course.can_go_back)
        && !is_done(session.operation().await, Step::Drain)
    {
        drain::step(session, Step::Drain, old).await?;
    }
    if !parts.strategy.bake.is_zero() && !is_done(session.operation().await, Step::Bake) {
        let (bake, max) = (parts.strategy.bake, parts.strategy.max_bake_or_default());
        soak::step(session, course, Step::Bake, Split::all(course.target.slot), bake, max).await?;
    }
    let begun = session.ledger.state().await.contract_begun();
    let contracts = begun || (parts.contract == Contract::AfterBake && parts.migrator.is_some());
    if contracts && !is_done(session.operation().await, Step::Contract) {
        match contract(session, course).await {
            Err(Halt::Failed(error)) if session.contract_refused().await => return Err(Halt::Stands(error)),
            result => result?,
        }
    }
    let Some(old) = old.filter(|_| course.can_go_back) else { return Ok(()) };
    // The deploy is done; what becomes of the old slot is no reason to undo it.
    session.no_more_cancelling();
    match parts.retention {
        // After the contract phase the old release cannot run any more.
        _ if contracts => stop(session, Step::Retire, old).await,
        Retention::Retire => stop(session, Step::Retire, old).await,
        Retention::For(duration) => retain(session, old, Some(duration)).await,
        Retention::UntilNextDeploy => retain(session, old, None).await,
    }
}

/// Tells the router where the slot listens.
pub(super) async fn attach(session: &mut Session, slot: Slot) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let work = async {
        let instance = parts.runtime.inspect(slot).await?;
        parts.router.attach(slot, &instance).await
    };
    session.step(Step::Attach, OBSERVE_LIMIT, work).await
}

/// Moves traffic, and records the split that the router confirmed.
pub(super) async fn shift(session: &mut Session, step: Step, from: Option<Split>, to: Split) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let work = parts.router.shift(from, to);
    // Traffic that goes back to where it was confirmed before needs no other confirmation.
    let gains = |slot: Slot| step != Step::ShiftBack && to.share(slot) > from.map_or(0, |from| from.share(slot));
    let unconfirmed = |state: &mut State| {
        let gaining = Slot::BOTH.into_iter().filter(|slot| gains(*slot));
        gaining.for_each(|slot| state.slot_mut(slot).confirmed = None);
    };
    let moved = |state: &mut State, (): &()| state.split = Some(to);
    session.recorded_step(step, parts.settings.shift_limit, unconfirmed, work, moved).await?;
    session.narrator.say(crate::event::What::Shifted { from, to });
    Ok(())
}

/// Stops a slot, after asking the router once more that it sends nothing there.
pub(super) async fn stop(session: &mut Session, step: Step, slot: Slot) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let grace = parts.settings.stop_grace;
    let work = async {
        let split = parts.router.current().await?;
        if let Some(split) = split.filter(|split| split.routes_to(slot)) {
            return Err(super::course::refused(
                format!("{slot} is not stopped, because the router sends traffic to it: {split}"),
                "move the traffic away first",
            ));
        }
        parts.runtime.stop(slot, grace).await
    };
    let emptied = |state: &mut State, (): &()| state.slot_mut(slot).clear();
    session.recorded_step(step, grace + OBSERVE_LIMIT, |_| {}, work, emptied).await
}

/// Runs the contract phase. From the moment it starts there is no way back, so that is written first. A migrator that
/// says that it has applied nothing leaves the way back as it was, and that is written too.
pub(super) async fn contract(session: &mut Session, course: &Course) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let Some(migrator) = &parts.migrator else {
        return Err(Halt::Refused(Error::config(
            "a contract phase has begun, and the pipeline has no migrator to end it",
        )));
    };
    let target = session.narrator.watch(course.target.clone());
    let work = migrator.migrate(Phase::Contract, &target);
    // It says that of this call alone: a phase that was cut off before may have applied something.
    let was_safe = session.ledger.state().await.rollback_safe;
    let no_way_back = |state: &mut State| state.rollback_safe = false;
    let result = session.begun_step(Step::Contract, parts.settings.migrate_limit, no_way_back, work).await;
    if let Err(Halt::Failed(error)) = &result
        && was_safe
        && error.effect() == Effect::NotApplied
    {
        session.ledger.update(|state| state.rollback_safe = true).await.map_err(Halt::Lost)?;
    }
    result
}

async fn expand(session: &mut Session, course: &Course, when: When, step: Step) -> Result<(), Halt> {
    let parts = session.parts.clone();
    let Some(migrator) = parts.migrator.as_ref().filter(|migrator| migrator.when() == when) else { return Ok(()) };
    let target = session.narrator.watch(course.target.clone());
    session.step(step, parts.settings.migrate_limit, migrator.migrate(Phase::Expand, &target)).await
}

pub(super) async fn retain(session: &mut Session, old: Slot, keep: Option<Duration>) -> Result<(), Halt> {
    let until = keep.map(|keep| session.parts.clock.now().plus(keep));
    let detail = until.map_or_else(|| "until the next deploy".to_owned(), |until| format!("until {until}"));
    let narrator = session.narrator.clone();
    let work = async {
        narrator.detail(format!("{old} is kept warm {detail}"));
        Ok(())
    };
    let retained = |state: &mut State, (): &()| {
        let record = state.slot_mut(old);
        record.status = SlotStatus::Retained;
        record.retain_until = until;
    };
    session.recorded_step(Step::Retain, OBSERVE_LIMIT, |_| {}, work, retained).await
}

/// A runtime that watches its start itself says more than that the time is up: it is left to end it.
pub(super) fn start_limit(parts: &Parts) -> Duration {
    let own = parts.runtime.start_limit().map_or(Duration::ZERO, |limit| limit.saturating_add(OBSERVE_LIMIT));
    parts.settings.start_deadline.max(own)
}

fn starting(state: &mut State, course: &Course, parts: &Parts) {
    // From now on the way back is the release that is live, which has lived with the data as they are.
    state.rollback_safe = true;
    let Target { slot, release, .. } = &course.target;
    let record = state.slot_mut(*slot);
    record.clear();
    record.version = Some(release.version().clone());
    record.settings = release.settings().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    record.since = Some(parts.clock.now());
    record.status = SlotStatus::Starting;
}
