//! Bringing the members of a fleet that were left behind to the live release.

use std::sync::Arc;

use super::context::{Context, Settings};
use super::route::{holds, recorded, refuse_divided, refused};
use super::session::{Halt, Session};
use super::steps::attach;
use super::verify;
use crate::error::{Error, ErrorKind, Reason};
use crate::fleet::{CatchUp, Fleet};
use crate::state::Step;
use crate::types::{Release, Target};

/// Brings up those that are behind, and sees the public address answer. Nothing is undone when that fails: the others serve.
pub(super) async fn resume(session: &mut Session, release: &Release) -> Result<(), Halt> {
    let context = session.context.clone();
    let Some(fleet) = &context.fleet else {
        return Err(Halt::Refused(Error::config(
            "only a fleet has members to bring up: build the pipeline with `.fleet(...)`",
        )));
    };
    let seen = session.observe().await?;
    let state = session.lease.state().await;
    refuse_divided(&state, &seen).map_err(Halt::Refused)?;
    let version = release.version();
    let live = seen.live.filter(|live| holds(&seen, &state, *live).as_ref() == Some(version));
    let Some(slot) = live else {
        let what = format!("{version} is not live, so no member is behind it");
        return Err(Halt::Refused(refused(Reason::NothingToRollBackTo, what, "`deploy` brings it to all members")));
    };
    let mut release_on_record = recorded(&state, slot, version.clone());
    if let Some(artifact) = release.artifact() {
        release_on_record = release_on_record.with_artifact(artifact);
    }
    let target = Target::new(context.service.clone(), slot, release_on_record, session.id.clone());
    session.aim(slot, Some(version), None).await;
    if fleet.is_behind() {
        step(session, &target).await?;
        if !fleet.has_routers() {
            attach(session, slot).await?;
        }
        verify::confirm(session, &target).await?;
    }
    still_behind(fleet).map_or(Ok(()), |error| Err(Halt::Failed(error)))
}

/// Brings up those that are behind the release `live`.
pub(super) async fn step(session: &mut Session, live: &Target) -> Result<(), Halt> {
    let context = session.context.clone();
    let Some(fleet) = &context.fleet else { return Ok(()) };
    let reporter = session.reporter.clone();
    let work = async {
        let count = fleet.catch_up(how(&context, live)).await?;
        let members = if count == 1 { "member" } else { "members" };
        reporter.detail(format!("{count} {members} brought to {}", live.version()));
        Ok(())
    };
    session.step(Step::CatchUp, work).await
}

fn how(context: &Context, live: &Target) -> CatchUp {
    let Settings { healthy_streak, check_interval, check_timeout, start_deadline, stop_grace, .. } = context.settings;
    let health = Arc::clone(&context.health);
    CatchUp { live: live.clone(), health, healthy_streak, check_interval, check_timeout, start_deadline, stop_grace }
}

fn still_behind(fleet: &Fleet) -> Option<Error> {
    let aside = fleet.set_aside();
    if aside.is_empty() {
        return None;
    }
    let error = Error::new(ErrorKind::Unhealthy, format!("still behind: {}", aside.join(", ")));
    Some(error.with_hint("the report says why; `resume` tries it again"))
}
