//! The public address has the last word.

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::context::{Context, Settings};
use super::health;
use super::route::Route;
use super::session::{Halt, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventKind;
use crate::health::Health;
use crate::state::{State, Step};
use crate::types::Target;

/// What to do about a public address that does not tell its version.
pub(super) const CANNOT_TELL: &str = "have the service answer with its version, and say on the check where it is found, as by \
     `version_from_header`; where the program cannot be changed, have the router name it: `release_headers(true)` on the \
     router, and `version_from_router` on the check";

/// Sees the new version answer at the public address, several times in a row. From then on the new slot is live, and the
/// way back is the one that had the traffic, which has lived with the data as they are.
pub(super) async fn step(session: &mut Session, route: &Route) -> Result<(), Halt> {
    see(session, &route.target, |state| state.rollback_safe = true).await
}

/// The same for a slot that has had all traffic for some time, and was never seen to answer. Whether there is a way back
/// from it is not known any better afterwards.
pub(super) async fn confirm(session: &mut Session, target: &Target) -> Result<(), Halt> {
    see(session, target, |_| {}).await
}

async fn see(
    session: &mut Session,
    target: &Target,
    then: impl Fn(&mut State) + Send + Sync + 'static,
) -> Result<(), Halt> {
    let (context, reporter) = (session.context.clone(), session.reporter.clone());
    let target = target.clone();
    let Settings { verify_streak: needed, verify_deadline, check_timeout, .. } = context.settings;
    let work = async {
        let mut deadline = Instant::now() + verify_deadline;
        let instance = context.runtime.inspect(target.slot).await?;
        let mut streak = 0;
        while streak < needed {
            // Where one answer is well, the others are asked for at once, each over a connection of its own.
            let at_once = if streak == 0 { 1 } else { needed - streak };
            let ask = || timeout(check_timeout, context.verify.check(&target, &instance));
            let mut last = None;
            for answer in join_all((0..at_once).map(|_| ask())).await {
                let reason = match answer {
                    Err(_) => Some(format!("no answer within {check_timeout:?}")),
                    Ok(Err(error)) => Some(error.chain()),
                    Ok(Ok(health)) => ill(&context, &target, health)?,
                };
                streak = if reason.is_none() { streak + 1 } else { 0 };
                reporter.say(EventKind::Checked { streak, needed, reason: reason.clone() });
                last = reason.or(last);
            }
            if let Some(reason) = last {
                if Instant::now() >= deadline {
                    if health::without_the_unwell(&context, target.slot).await {
                        // Those that are left have answered until now.
                        deadline += check_timeout;
                        continue;
                    }
                    let what = format!(
                        "the public address did not answer as {} {needed} times in a row within \
                         {verify_deadline:?}; last: {reason}",
                        target.version()
                    );
                    return Err(Error::new(ErrorKind::Unhealthy, what).with("address", &context.verify));
                }
                sleep(context.settings.check_interval.min(verify_deadline / 10)).await;
            }
        }
        reporter.detail(format!("{needed} answers in a row as {} from the public address", target.version()));
        Ok(())
    };
    let (slot, clock) = (target.slot, context.clone());
    let live = move |state: &mut State| {
        state.live = Some(slot);
        state.slot_mut(slot).confirmed = Some(clock.clock.now());
        then(state);
    };
    session.step_with_result(Step::Verify, |_| {}, work, live).await
}

/// Refuses, before anything is done, to begin what could never be confirmed: a public address that answers and cannot
/// tell its version.
pub(super) async fn can_tell(context: &Context, live: &Target, instance: &crate::Instance) -> Result<()> {
    let check = context.verify.check(live, instance);
    match timeout(context.settings.check_timeout, check).await {
        Ok(Ok(Health::Healthy { version: None })) => Err(cannot_tell(context)),
        _ => Ok(()),
    }
}

fn ill(context: &Context, target: &Target, health: Health) -> Result<Option<String>> {
    match health {
        Health::Unhealthy { reason } => Ok(Some(reason)),
        Health::Healthy { version: None } => Err(cannot_tell(context)),
        Health::Healthy { version: Some(version) } if version != *target.version() => {
            Ok(Some(format!("it answers as {version}")))
        }
        Health::Healthy { .. } => Ok(None),
    }
}

fn cannot_tell(context: &Context) -> Error {
    Error::config("the check of the public address does not report a version, so no deploy could be confirmed by it")
        .with("address", &context.verify)
        .with_hint(CANNOT_TELL)
}
