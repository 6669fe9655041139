//! Switching by servers: the new slot's are added, and when they are healthy, the old slot's removed.
//!
//! Nothing but the members is asked for, so nothing else is judged.

use std::collections::BTreeSet;

use bluegreen_core::{Error, ErrorKind, Result, Slot, Split, split_changed};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::balancer::{Balancer, Seen};
use super::change::Change;
use super::members::members;
use super::pools::{Pools, known, there};
use super::switch::{BalancerSession, Edit, interfered};
use super::waves::{Rollout, Wave, check_capacity, waves};
use crate::probe::Confirmation;

/// For bringing the old servers back: with the deadline of a switch it stays within what the pipeline gives a shift.
const UNDO_TIMEOUT: Duration = Duration::from_secs(90);

/// What a switch to this slot changes.
///
/// # Errors
/// `Config` when it would be refused.
pub(super) fn plan(balancer: &dyn Balancer, pools: &Pools, rollout: &Rollout, seen: &Seen, to: Slot) -> Result<Change> {
    known(&seen.members)?;
    check_capacity(balancer, seen, &waves(&there(seen), pools.of(to), rollout.at_a_time))?;
    let wanted = balancer.with_members(&seen.settings, pools.of(to))?;
    Ok(Change::between(&members(balancer, &seen.settings), &members(balancer, &wanted)))
}

/// Exchanges the servers. On an error the old ones are back, or the error says that it is unknown.
pub(super) async fn switch(
    session: BalancerSession<'_>,
    pools: &Pools,
    rollout: &Rollout,
    confirmation: &Confirmation,
    from: Option<Split>,
    to: Slot,
) -> Result<()> {
    let before = session.await_consistent(|seen, asked| there(seen) == *pools.of(asked)).await?;
    let now = pools.split(&before.members)?;
    let present = there(&before);
    if present == *pools.of(to) {
        return Ok(());
    }
    if now != Some(Split::all(to)) && now != from {
        return Err(split_changed(from, now));
    }
    let all = present.union(pools.of(to)).copied().collect();
    let all = &session.balancer.with_members(&before.settings, &all)?;
    let waves = waves(&present, pools.of(to), rollout.at_a_time);
    check_capacity(session.balancer, &before, &waves)?;
    let exchange = Exchange { session, rollout, confirmation, pools, to, before: &before, all };
    exchange.fits(waves.len())?;
    match exchange.run(waves).await {
        Ok(()) => Ok(()),
        Err(error) => Err(exchange.take_back(&present, error).await),
    }
}

struct Exchange<'a> {
    session: BalancerSession<'a>,
    rollout: &'a Rollout,
    confirmation: &'a Confirmation,
    pools: &'a Pools,
    to: Slot,
    before: &'a Seen,
    /// The settings of before, with the servers of both slots.
    all: &'a Value,
}

impl Exchange<'_> {
    /// Refuses what cannot end before the deadline, instead of half way.
    fn fits(&self, waves: usize) -> Result<()> {
        let waves = u32::try_from(waves).unwrap_or(u32::MAX);
        let within = self.given(self.before);
        // Each wave is looked at after what it adds, and after what it removes.
        let looks = self.session.polling.poll_every.1.saturating_mul(2);
        let pauses = self.rollout.pause.saturating_mul(waves - 1);
        let least = within.unwrap_or_default().saturating_add(looks).saturating_mul(waves).saturating_add(pauses);
        let (deadline, left) = (self.session.polling.deadline, self.session.left());
        if least <= left {
            return Ok(());
        }
        let kind = if least > deadline { ErrorKind::Config } else { ErrorKind::Timeout };
        let turns = match waves {
            1 => "at once".to_owned(),
            _ => format!("in {waves} turns with pauses of {:?} in between", self.rollout.pause),
        };
        let given = within.map(|within| format!(", given {within:?} to get well each time")).unwrap_or_default();
        let message = format!(
            "new servers would come {turns}{given}: that takes {least:?} at least, and {left:?} are left of the router's \
             deadline of {deadline:?}"
        );
        let whole = Duration::from_secs(least.as_secs().saturating_add(1));
        let shift = whole.saturating_add(whole.min(UNDO_TIMEOUT));
        Err(Error::new(kind, message).not_applied().with_hint(format!(
            "allow the router a `deadline` of {whole:?} or more, and the pipeline a `shift_timeout` of {shift:?} or more (five \
             minutes unless set); or exchange more servers at a time, or have the balancer check its servers more often"
        )))
    }

    /// How long new servers are given to get well, where the balancer does not say when they are.
    fn given(&self, seen: &Seen) -> Option<Duration> {
        seen.health_deadline.map(|checked| self.rollout.health_deadline.unwrap_or(checked))
    }

    async fn run(&self, waves: Vec<Wave>) -> Result<()> {
        let mut servers = there(self.before);
        let mut seen = self.before.clone();
        for (index, Wave { add, remove }) in waves.into_iter().enumerate() {
            if index > 0 {
                sleep(self.rollout.pause).await;
            }
            if !add.is_empty() {
                self.session.change(self.to, &self.adding(&add)?, &seen).await?;
                servers.extend(&add);
            }
            let coming: Vec<u64> = servers.intersection(self.pools.of(self.to)).copied().collect();
            self.await_health(self.session, self.to, &coming).await?;
            seen = self.confirmed(&servers).await?;
            if !remove.is_empty() {
                self.session.change(self.to, &Edit::Remove(&remove), &seen).await?;
                servers.retain(|server| !remove.contains(server));
                seen = self.confirmed(&servers).await?;
            }
        }
        Ok(())
    }

    /// These servers, as they are or would be behind the balancer.
    fn adding(&self, servers: &[u64]) -> Result<Edit<'static>> {
        Ok(Edit::Add(self.session.balancer.with_members(self.all, &set(servers))?))
    }

    /// Waits until the balancer calls these servers of a slot healthy; where it does not say, as long as its own health
    /// check needs. Then a probe, where there is one, must have met one of the slot's.
    async fn await_health(&self, session: BalancerSession<'_>, slot: Slot, servers: &[u64]) -> Result<()> {
        let began = Instant::now();
        let unhealthy =
            || Error::new(ErrorKind::Unhealthy, format!("the load balancer does not call {servers:?} healthy"));
        let mut looked = false;
        loop {
            let seen = match session.idle().await {
                Err(error) if looked && Instant::now() >= session.deadline => {
                    return Err(unhealthy().with_source(error));
                }
                seen => seen?,
            };
            looked = true;
            let there = known(&seen.members)?;
            let health: Vec<Option<bool>> =
                servers.iter().map(|id| there.get(id).copied().unwrap_or(Some(false))).collect();
            if health.iter().all(|health| *health != Some(false)) {
                if let Some(within) = self.given(&seen) {
                    if within > session.deadline.saturating_duration_since(began) {
                        let message =
                            format!("servers are given {within:?} to get well, which is longer than there is time");
                        return Err(Error::new(ErrorKind::Timeout, message)
                            .with_hint("allow the router a longer deadline, or exchange more servers at a time"));
                    }
                    sleep_until(began + within).await;
                }
                break;
            }
            if !session.polling.pause(session.deadline).await {
                return Err(unhealthy());
            }
        }
        let Some(probe) = self.confirmation.probe() else { return Ok(()) };
        while probe.answers().await? != Some(slot) {
            if !session.polling.pause(session.deadline).await {
                let message = format!("{slot} was added, and never answered at the public address");
                return Err(Error::new(ErrorKind::Unhealthy, message).with("probe", probe));
            }
        }
        Ok(())
    }

    /// Returns when the balancer shows these servers and no others, each as it was asked for.
    async fn confirmed(&self, servers: &BTreeSet<u64>) -> Result<Seen> {
        let balancer = self.session.balancer;
        let expected = members(balancer, &balancer.with_members(self.all, servers)?);
        loop {
            let seen = self.session.idle().await?;
            let shown = members(balancer, &seen.settings);
            let there = there(&seen);
            if there == *servers {
                if Change::lost_between(&expected, &shown).is_empty() {
                    return Ok(seen);
                }
                return Err(interfered(balancer, &expected, &shown));
            }
            self.pools.split(&seen.members)?;
            if !self.session.polling.pause(self.session.deadline).await {
                return Err(self.session.late(format!("it has the servers {there:?} instead of {servers:?}")));
            }
        }
    }

    /// Brings the old members back after an error, and says whether they are. Somebody else's change is left alone.
    async fn take_back(&self, present: &BTreeSet<u64>, error: Error) -> Error {
        let limit = self.session.polling.deadline.min(UNDO_TIMEOUT);
        let session = BalancerSession { deadline: Instant::now() + limit, ..self.session };
        let undo = async {
            let mut seen = session.idle().await?;
            self.pools.split(&seen.members)?;
            let there = self::there(&seen);
            let missing: Vec<u64> = present.difference(&there).copied().collect();
            let extra: Vec<u64> = there.difference(present).copied().collect();
            // Added first: the balancer must never be without servers.
            if !missing.is_empty() {
                session.change(self.to.other(), &self.adding(&missing)?, &seen).await?;
                self.await_health(session, self.to.other(), &missing).await?;
                seen = session.idle().await?;
            }
            if !extra.is_empty() && !present.is_empty() {
                session.change(self.to.other(), &Edit::Remove(&extra), &seen).await?;
            }
            let seen = session.idle().await?;
            let [before, now] =
                [&self.before.settings, &seen.settings].map(|settings| members(session.balancer, settings));
            Ok::<bool, Error>(self::there(&seen) == *present && Change::lost_between(&before, &now).is_empty())
        };
        match undo.await {
            Ok(true) => error.not_applied(),
            Ok(false) => error.maybe_applied(),
            Err(undo) => {
                error.maybe_applied().with_hint(format!("that the old servers are back is not certain: {undo}"))
            }
        }
    }
}

fn set(servers: &[u64]) -> BTreeSet<u64> {
    servers.iter().copied().collect()
}
