//! Bringing members that were left behind to the release that is live on the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::defaults::PREPARE_DEADLINE;
use super::member::Member;
use super::shared::{Shared, is_away};
use crate::error::{Error, ErrorKind, Result};
use crate::health::HealthCheck;
use crate::probe::{Probe, look};
use crate::types::{Instance, Slot, Split, Target};

/// How a member is brought up: the release that is live, and when it is healthy.
#[derive(Clone)]
pub(crate) struct CatchUp {
    pub(crate) live: Target,
    pub(crate) health: Arc<dyn HealthCheck>,
    pub(crate) healthy_streak: u32,
    pub(crate) check_interval: Duration,
    pub(crate) check_timeout: Duration,
    pub(crate) start_deadline: Duration,
    pub(crate) stop_grace: Duration,
}

impl Shared {
    /// Members that were set aside and are as the others are take part again.
    pub(super) async fn look_at_aside(&self, live: Option<&Target>) {
        let looks = self.look(self.roster.aside(), |member| {
            let (member, live) = (self.members[member].clone(), live.cloned());
            Box::pin(async move {
                match live {
                    Some(live) => is_up_to_date(&member, &live).await,
                    None => member.runtime.inspect(Slot::Blue).await.map(|_| true),
                }
            })
        });
        for (member, look) in looks.await {
            self.roster.set_away(member, look.as_ref().is_err_and(is_away));
            if let Ok(true) = look {
                self.roster.confirmed(member, live.map(|live| Split::all(live.slot)).filter(|_| self.have_routers()));
                self.roster.rejoin(member);
            }
        }
        if self.roster.active().is_empty() {
            // Then none is behind another.
            self.all().into_iter().for_each(|member| self.roster.rejoin(member));
        }
    }

    /// Brings up those that are behind and in reach. What fails stays set aside, for a new reason.
    ///
    /// # Errors
    /// That says which members failed, when more are left behind than may be.
    pub(super) async fn catch_up(&self, how: CatchUp) -> Result<usize> {
        let behind = self.behind();
        let limit = PREPARE_DEADLINE + how.start_deadline;
        let results = self.each(behind, limit, |member| {
            let mut how = how.clone();
            if let Some(own) = &self.members[member].health {
                how.health = own.clone();
            }
            Box::pin(bring_up(self.members[member].clone(), how))
        });
        let (mut done, mut failed) = (0, Vec::new());
        for (member, result) in results.await {
            match result {
                Ok(()) => {
                    done += 1;
                    self.roster.confirmed(member, Some(Split::all(how.live.slot)).filter(|_| self.have_routers()));
                    self.roster.rejoin(member);
                }
                Err(error) => failed.push((member, error)),
            }
        }
        for (member, error) in &failed {
            self.roster.set_aside(*member, error.summary());
        }
        let left = self.roster.aside().len();
        if left > self.may_fail() && !failed.is_empty() {
            return Err(self.failure(failed, true));
        }
        Ok(done)
    }

    /// Those that were left behind, and are in reach.
    pub(super) fn behind(&self) -> Vec<usize> {
        let away = self.roster.away();
        self.roster.aside().into_iter().filter(|member| !away.contains(member)).collect()
    }
}

async fn is_up_to_date(member: &Member, live: &Target) -> Result<bool> {
    let found = member.runtime.inspect(live.slot).await?;
    let routed = match &member.router {
        Some(router) => router.current().await? == Some(Split::all(live.slot)),
        // The shared router is told of it only when it is brought up.
        None => false,
    };
    Ok(routed && runs(&found, live))
}

fn runs(found: &Instance, live: &Target) -> bool {
    matches!(found, Instance::Running { .. }) && found.version() == Some(live.version())
}

async fn bring_up(member: Member, how: CatchUp) -> Result<()> {
    let (live, slot) = (&how.live, how.live.slot);
    let found = member.runtime.inspect(slot).await?;
    let routed = match &member.router {
        Some(router) => router.current().await?,
        None => None,
    };
    if !runs(&found, live) {
        if found.is_running() {
            if routed.is_some_and(|split| split.routes_to(slot)) {
                let what =
                    format!("{slot} has its traffic and is {found}, where the other members run {}", live.version());
                return Err(Error::new(ErrorKind::Conflict, what)
                    .not_applied()
                    .with_hint("somebody changed it by hand: direct its traffic to the other slot, then `resume`"));
            }
            member.runtime.stop(slot, how.stop_grace).await?;
        }
        prepare_and_start(&member, live).await?;
    }
    let instance = await_healthy(&member, &how).await?;
    if let Some(router) = &member.router {
        router.attach(slot, &instance).await?;
        router.shift(routed, Split::all(slot)).await?;
    }
    member.runtime.promoted(slot).await
}

/// The artifact of a release that is live may be gone; then it may be there from before.
async fn prepare_and_start(member: &Member, live: &Target) -> Result<()> {
    let prepared = member.runtime.prepare(live).await;
    if live.release.artifact().is_some() {
        prepared?;
        return member.runtime.start(live).await.map(|_| ());
    }
    match (prepared, member.runtime.start(live).await) {
        (_, Ok(_)) => Ok(()),
        (Ok(()), Err(error)) => Err(error),
        (Err(error), Err(_)) => Err(error.with_hint("`resume` with the artifact of the live release brings it up")),
    }
}

async fn await_healthy(member: &Member, how: &CatchUp) -> Result<Instance> {
    let deadline = Instant::now() + how.start_deadline;
    let mut streak = 0;
    loop {
        let instance = member.runtime.inspect(how.live.slot).await?;
        if !instance.is_running() {
            let what = format!("it ended while it was waited for: {instance}");
            return Err(Error::new(ErrorKind::Unhealthy, what).maybe_applied());
        }
        match look(&*how.health, how.check_timeout, &how.live, &instance).await {
            Probe::Healthy => streak += 1,
            Probe::Unhealthy(reason) if Instant::now() + how.check_interval > deadline => {
                let what = format!("not healthy within {:?}: {reason}", how.start_deadline);
                return Err(Error::new(ErrorKind::Unhealthy, what).retryable(false));
            }
            Probe::Unhealthy(_) => streak = 0,
        }
        if streak == how.healthy_streak {
            return Ok(instance);
        }
        sleep(how.check_interval).await;
    }
}
