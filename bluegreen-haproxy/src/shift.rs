//! Moving traffic: look, compare, change and look again, under the lock.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Reason, Result, Slot, Split, split_changed};
use tokio::time::Instant;

use crate::balancer::Balancer;
use crate::lock::Lock;
use crate::plan::plan;
use crate::seen::Seen;

/// A reload in the middle of a shift makes it begin anew; so often in a row, something is wrong with HAProxy.
const ATTEMPTS: usize = 3;

/// Between two looks while HAProxy warms servers up.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

pub(crate) async fn shift(balancer: &Balancer, from: Option<Split>, to: Split) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let (lock, answers) = Lock::take(&balancer.socket).await?;
        let planned = balancer.read(&answers).and_then(|seen| {
            let now = seen.split();
            if now != Some(to) && now != from {
                let error = split_changed(from, now);
                // An attempt before this one has changed something, in a process that is gone or going.
                return Err(if attempt == 0 { error } else { error.maybe_applied() });
            }
            let commands = plan(&seen, Some(to), balancer.park)?;
            has_servers_up(&seen, to)?;
            Ok((seen, commands))
        });
        let commands = match planned {
            Ok((_, commands)) if !commands.is_empty() => commands,
            Ok((seen, _)) => {
                lock.release().await;
                warmed_up(balancer, &seen, to).await?;
                balancer.keep(&seen).await;
                return Ok(());
            }
            Err(error) => {
                lock.release().await;
                return Err(error);
            }
        };
        let changed = lock.change(&commands).await?;
        let seen = balancer.read(&changed.answers).map_err(Error::maybe_applied)?;
        if !changed.is_ours {
            continue;
        }
        is_in_force(balancer, &seen, to)?;
        if let Some(slot) = Slot::BOTH.into_iter().find(|slot| seen.is_down(*slot)) {
            return Err(take_back(balancer, from, to, is_down(&seen, slot)).await);
        }
        warmed_up(balancer, &seen, to).await?;
        balancer.keep(&seen).await;
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, format!("HAProxy was replaced during each of {ATTEMPTS} attempts"))
        .maybe_applied()
        .retryable(true)
        .with_hint("something reloads HAProxy all the time"))
}

/// Whether what was read back is what was wanted, server by server.
fn is_in_force(balancer: &Balancer, seen: &Seen, to: Split) -> Result<()> {
    if seen.split() == Some(to) && plan(seen, Some(to), balancer.park)?.is_empty() {
        return Ok(());
    }
    let found = seen.split().map_or_else(|| "nothing routed".to_owned(), |split| split.to_string());
    Err(Error::new(ErrorKind::Conflict, format!("HAProxy was told {to}, and has {found}"))
        .with_reason(Reason::ChangedElsewhere)
        .maybe_applied()
        .with_hint("somebody else changes servers of this backend at the same time"))
}

/// Refuses to give a slot its first share when HAProxy's own check holds all its servers down. In maintenance nothing is checked.
fn has_servers_up(seen: &Seen, to: Split) -> Result<()> {
    let is_gaining = |slot: &Slot| to.routes_to(*slot) && !seen.of(*slot).any(|server| server.is_routed());
    let is_known_down = |slot: &Slot| {
        let known = |server: &crate::server::Server| server.state() == crate::command::State::Drain && !server.is_up;
        seen.attached(*slot).all(known)
    };
    match Slot::BOTH.into_iter().find(|slot| is_gaining(slot) && is_known_down(slot)) {
        Some(slot) => Err(is_down(seen, slot).not_applied()),
        None => Ok(()),
    }
}

fn is_down(seen: &Seen, slot: Slot) -> Error {
    let what = format!("HAProxy's own check holds every server of {slot} down: {}", seen.down(slot));
    Error::new(ErrorKind::Unhealthy, what)
        .with_hint("compare the `check` of these servers with what the release answers")
}

/// Waits until `slowstart` gives each server its whole share, which matters where both slots have one.
async fn warmed_up(balancer: &Balancer, seen: &Seen, to: Split) -> Result<()> {
    let is_warming = |seen: &Seen| seen.servers.iter().any(|server| server.is_routed() && server.is_throttled);
    if to.sole().is_some() || !is_warming(seen) {
        return Ok(());
    }
    let begin = Instant::now();
    while begin.elapsed() < balancer.confirm_deadline {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        let seen = balancer.look().await.map_err(Error::maybe_applied)?;
        is_in_force(balancer, &seen, to)?;
        if !is_warming(&seen) {
            return Ok(());
        }
    }
    let limit = balancer.confirm_deadline;
    Err(Error::new(ErrorKind::Timeout, format!("HAProxy still warms servers up after {limit:?}"))
        .maybe_applied()
        .with_hint("set `.confirm_deadline(..)` above the `slowstart` of the servers"))
}

/// Puts the split of before back, and says with the error whether it is.
async fn take_back(balancer: &Balancer, from: Option<Split>, to: Split, error: Error) -> Error {
    let back = async {
        let (lock, answers) = Lock::take(&balancer.socket).await?;
        let seen = balancer.read(&answers)?;
        if seen.split() != Some(to) {
            lock.release().await;
            return Ok(seen.split() == from);
        }
        let commands = plan(&seen, from, balancer.park)?;
        let changed = lock.change(&commands).await?;
        Ok::<_, Error>(balancer.read(&changed.answers)?.split() == from)
    };
    match back.await {
        Ok(true) => error.not_applied(),
        _ => error.maybe_applied(),
    }
}
