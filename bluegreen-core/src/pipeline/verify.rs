//! The public address has the last word.

use tokio::time::{Instant, sleep, timeout};

use super::builder::{Parts, Settings};
use super::course::Course;
use super::defaults::OBSERVE_LIMIT;
use super::session::{Halt, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::event::What;
use crate::health::Health;
use crate::state::{State, Step};
use crate::types::Target;

/// Sees the new version answer at the public address, several times in a row. From then on the new slot is live, and the
/// way back is the one that had the traffic, which has lived with the data as they are.
pub(super) async fn step(session: &mut Session, course: &Course) -> Result<(), Halt> {
    see(session, &course.target, |state| state.rollback_safe = true).await
}

/// The same for a slot that has had all traffic for some time, and was never seen to answer. Whether there is a way back
/// from it is not known any better afterwards.
pub(super) async fn confirm(session: &mut Session, target: &Target) -> Result<(), Halt> {
    see(session, target, |_| {}).await
}

async fn see(session: &mut Session, target: &Target, then: impl Fn(&mut State) + Send + Sync) -> Result<(), Halt> {
    let (parts, narrator) = (session.parts.clone(), session.narrator.clone());
    let target = target.clone();
    let Settings { verify_streak: needed, verify_deadline, check_timeout, .. } = parts.settings;
    let limit = verify_deadline + check_timeout * 2 + OBSERVE_LIMIT;
    let work = async {
        let deadline = Instant::now() + verify_deadline;
        let instance = parts.runtime.inspect(target.slot).await?;
        let mut streak = 0;
        while streak < needed {
            let reason = match timeout(check_timeout, parts.verify.check(&target, &instance)).await {
                Err(_) => Some(format!("no answer within {check_timeout:?}")),
                Ok(Err(error)) => Some(error.chain()),
                Ok(Ok(health)) => ill(&parts, &target, health)?,
            };
            streak = if reason.is_none() { streak + 1 } else { 0 };
            narrator.say(What::Checked { streak, needed, reason: reason.clone() });
            if let Some(reason) = reason {
                if Instant::now() >= deadline {
                    let what = format!(
                        "the public address did not answer as {} {needed} times in a row within \
                         {verify_deadline:?}; last: {reason}",
                        target.version()
                    );
                    return Err(Error::new(ErrorKind::Unhealthy, what).with("address", &parts.verify));
                }
                sleep(parts.settings.check_interval.min(verify_deadline / 10)).await;
            }
        }
        narrator.detail(format!("{needed} answers in a row as {} from the public address", target.version()));
        Ok(())
    };
    let live = |state: &mut State, (): &()| {
        state.live = Some(target.slot);
        state.slot_mut(target.slot).confirmed = Some(parts.clock.now());
        then(state);
    };
    session.recorded_step(Step::Verify, limit, |_| {}, work, live).await
}

/// Refuses, before anything is done, to begin what could never be confirmed: a public address that answers and cannot
/// tell its version.
pub(super) async fn can_tell(parts: &Parts, live: &Target, instance: &crate::Instance) -> Result<()> {
    let check = parts.verify.check(live, instance);
    match timeout(parts.settings.check_timeout, check).await {
        Ok(Ok(Health::Healthy { version: None })) => Err(cannot_tell(parts)),
        _ => Ok(()),
    }
}

fn ill(parts: &Parts, target: &Target, health: Health) -> Result<Option<String>> {
    match health {
        Health::Unhealthy { reason } => Ok(Some(reason)),
        Health::Healthy { version: None } => Err(cannot_tell(parts)),
        Health::Healthy { version: Some(version) } if version != *target.version() => {
            Ok(Some(format!("it answers as {version}")))
        }
        Health::Healthy { .. } => Ok(None),
    }
}

fn cannot_tell(parts: &Parts) -> Error {
    Error::config("the check of the public address does not report a version, so no deploy could be confirmed by it")
        .with("address", &parts.verify)
        .advice("have the service answer with its version, and say on the check where it is found")
}
