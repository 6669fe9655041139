//! Polling: how one look becomes a verdict.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::builder::{Parts, Settings};
use super::course::{Course, is_known};
use super::defaults::{OBSERVE_LIMIT, WAY_BACK_ATTEMPTS};
use super::narrator::Narrator;
use super::observe;
use super::session::{Halt, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::event::What;
use crate::health::{Health, HealthCheck};
use crate::state::Step;
use crate::types::{Instance, Target};

/// How many log lines an error carries; the report has more.
const LINES_IN_ERROR: usize = 5;

/// How many different reasons an error names.
const REASONS_IN_ERROR: usize = 3;

/// Waits until the target is healthy, several times in a row, as the version it should be.
pub(super) async fn step(session: &mut Session, target: &Target) -> Result<(), Halt> {
    let (parts, narrator) = (session.parts.clone(), session.narrator.clone());
    // The poll has its own deadline, whose error says more; the limit of the step is only its safety net.
    let limit = parts.settings.start_deadline + parts.settings.check_timeout * 2 + OBSERVE_LIMIT;
    session.step(Step::Health, limit, await_healthy(&parts, &narrator, target)).await
}

/// Runs each smoke test once.
pub(super) async fn smoke_step(session: &mut Session, target: &Target) -> Result<(), Halt> {
    let (parts, narrator) = (session.parts.clone(), session.narrator.clone());
    let work = async {
        let instance = parts.runtime.inspect(target.slot).await?;
        for test in &parts.smoke {
            if let Health::Unhealthy { reason } = test.check(target, &instance).await? {
                return Err(Error::new(ErrorKind::Unhealthy, reason).with("test", test));
            }
        }
        narrator.detail(format!("{} passed", parts.smoke.len()));
        Ok(())
    };
    session.step(Step::Smoke, parts.settings.smoke_limit, work).await
}

/// Checks that the old slot is alive and well before traffic is moved away from it.
pub(super) async fn way_back_step(session: &mut Session, course: &Course, percent: u8) -> Result<(), Halt> {
    let Some(old) = course.old.clone() else { return Ok(()) };
    let parts = session.parts.clone();
    let Settings { check_interval, check_timeout, .. } = parts.settings;
    let limit = (check_interval + check_timeout) * WAY_BACK_ATTEMPTS + OBSERVE_LIMIT;
    let work = async {
        match sick(&parts, &old).await {
            None => Ok(()),
            Some(reason) => Err(Error::new(ErrorKind::Unhealthy, format!("the way back is not safe: {reason}"))
                .not_applied()
                .advice("to replace a live release that is sick, build the pipeline with `.require_way_back(false)`")),
        }
    };
    session.step(Step::CheckWayBack(percent), limit, work).await
}

/// Why the old slot is no way back, if it is none.
pub(super) async fn way_back_is_sick(parts: &Parts, course: &Course) -> Option<String> {
    sick(parts, course.old.as_ref()?).await
}

/// Looks a few times: one lost packet must not stop a deploy.
async fn sick(parts: &Parts, old: &Target) -> Option<String> {
    let mut attempt = 1;
    loop {
        let (running, reason) = match observe::inspect(parts, old.slot).await {
            Err(error) => (true, error.chain()),
            Ok(instance) => match look(&*parts.health, parts.settings.check_timeout, old, &instance).await {
                Looked::Well => return None,
                Looked::Ill(reason) => (instance.is_running(), format!("{} is {instance}: {reason}", old.slot)),
            },
        };
        if attempt == WAY_BACK_ATTEMPTS || !running {
            return Some(reason);
        }
        attempt += 1;
        sleep(parts.settings.check_interval).await;
    }
}

async fn await_healthy(parts: &Parts, narrator: &Narrator, target: &Target) -> Result<()> {
    let Settings { check_interval, check_timeout, healthy_streak: needed, start_deadline, .. } = parts.settings;
    let deadline = Instant::now() + start_deadline;
    let (mut streak, mut looks) = (0, 0);
    let mut reasons: Vec<String> = Vec::new();
    loop {
        let instance = parts.runtime.inspect(target.slot).await?;
        if !instance.is_running() {
            let what = format!("it ended while it was waited for: {instance}");
            return Err(with_logs(parts, target, Error::new(ErrorKind::Unhealthy, what)).await);
        }
        looks += 1;
        let reason = match look(&*parts.health, check_timeout, target, &instance).await {
            Looked::Well => None,
            Looked::Ill(reason) => Some(reason),
        };
        streak = if reason.is_none() { streak + 1 } else { 0 };
        narrator.say(What::Checked { streak, needed, reason: reason.clone() });
        if streak == needed {
            narrator.detail(format!("{needed} healthy answers in a row, {looks} looks"));
            return Ok(());
        }
        if let Some(reason) = reason {
            reasons.retain(|known| *known != reason);
            reasons.push(reason);
        }
        if Instant::now() + check_interval > deadline {
            let what = match &reasons[reasons.len().saturating_sub(REASONS_IN_ERROR)..] {
                [] => format!("{streak} healthy answers in a row within {start_deadline:?}, {needed} are needed"),
                last => format!("not healthy within {start_deadline:?}: {}", last.join("; before that: ")),
            };
            return Err(with_logs(parts, target, Error::new(ErrorKind::Timeout, what)).await);
        }
        sleep(check_interval).await;
    }
}

/// What one look found.
pub(super) enum Looked {
    /// Healthy, and not as another version than expected.
    Well,
    /// Not, and why.
    Ill(String),
}

/// Looks once, within the time that a look may take. A look that could not be made counts as ill, with its reason; so
/// does what runs in part only, whichever part the check asks.
pub(super) async fn look(check: &dyn HealthCheck, limit: Duration, target: &Target, instance: &Instance) -> Looked {
    if let Instance::Degraded { reason, .. } = instance {
        return Looked::Ill(format!("it runs in part only: {reason}"));
    }
    match timeout(limit, check.check(target, instance)).await {
        Err(_) => Looked::Ill(format!("no answer within {limit:?}")),
        Ok(Err(error)) => Looked::Ill(error.chain()),
        Ok(Ok(Health::Unhealthy { reason })) => Looked::Ill(reason),
        Ok(Ok(Health::Healthy { version: Some(version) }))
            if version != *target.version() && is_known(target.version()) =>
        {
            Looked::Ill(format!("it answers as {version}, and should be {}", target.version()))
        }
        Ok(Ok(Health::Healthy { .. })) => Looked::Well,
    }
}

async fn with_logs(parts: &Parts, target: &Target, error: Error) -> Error {
    let lines = parts.runtime.logs(target.slot, LINES_IN_ERROR).await.unwrap_or_default();
    let last = lines.join(" | ");
    let said = if last.is_empty() { "it wrote nothing".to_owned() } else { format!("its last lines: {last}") };
    let full = format!("{}; {said}", error.message());
    Error::new(error.kind(), full)
}
