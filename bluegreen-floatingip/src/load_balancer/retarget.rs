//! Switching by ports: read, transform, write, and read again.

use bluegreen_core::{Effect, Error, Result, Slot, Split, split_changed};
use serde_json::Value;

use super::balancer::{Accepted, Balancer, Seen};
use super::change::Change;
use super::ports::Ports;
use super::switch::{BalancerSession, interfered};

/// What a switch to this slot changes.
///
/// # Errors
/// `Config` when it would be refused.
pub(super) fn plan(balancer: &dyn Balancer, ports: &Ports, seen: &Seen, to: Slot) -> Result<Change> {
    let change = change(balancer, ports, seen, to);
    if !change.is_empty() {
        balancer.check_writable(&seen.settings)?;
    }
    Ok(change)
}

fn change(balancer: &dyn Balancer, ports: &Ports, seen: &Seen, to: Slot) -> Change {
    let wanted = balancer.retargeted(&seen.settings, &|port| ports.moved(port, to));
    Change::between(&balancer.judged(&seen.settings), &balancer.judged(&wanted))
}

/// Has every rule to a port of ours lead to this slot's port. Once a write was asked for, rules that lead to the one or
/// to the other slot are no conflict: where each service is a call of its own, some may be changed and some not yet.
pub(super) async fn switch(session: BalancerSession<'_>, ports: &Ports, from: Option<Split>, to: Slot) -> Result<()> {
    // Whether an answer was lost, and whether anything may have been changed.
    let (mut lost, mut unknown) = (false, false);
    let (mut original, mut said): (Option<Value>, Option<Error>) = (None, None);
    let balancer = session.balancer;
    let wanted_of = |settings: &Value| balancer.retargeted(settings, &|port| ports.moved(port, to));
    let failed = |error: Error, said, unknown| match unknown {
        true => session.said_before(said, error).maybe_applied(),
        false => session.said_before(said, error).not_applied(),
    };
    loop {
        let led_to = |seen: &Seen, asked| change(balancer, ports, seen, asked).is_empty();
        let before = session.await_consistent(led_to).await.map_err(|error| failed(error, said.take(), unknown))?;
        let now = Some(ports.split(&balancer.target_ports(&before.settings))?);
        let changes = change(balancer, ports, &before, to);
        if changes.is_empty() {
            return Ok(());
        }
        match &original {
            Some(old) if is_under_way(balancer, old, &wanted_of(old), &before.settings) => {
                unknown |= !lost_between(balancer, old, &before.settings).is_empty();
            }
            _ if now == Some(Split::all(to)) || now == from => original = Some(before.settings.clone()),
            Some(old) => {
                let error = interfered(balancer, &wanted_of(old), &wanted_of(&before.settings));
                return Err(effect(error.not_applied(), unknown));
            }
            None => return Err(effect(split_changed(from, now), unknown)),
        }
        // There is no compare-and-set: a change by somebody else is seen if it came before this look, and else after.
        let again = session.idle().await.map_err(|error| failed(error, said.take(), unknown))?;
        if !lost_between(balancer, &before.settings, &again.settings).is_empty() {
            return Err(effect(interfered(balancer, &before.settings, &again.settings).not_applied(), unknown));
        }
        balancer.check_writable(&again.settings).map_err(|error| effect(error.not_applied(), unknown))?;
        tracing::info!(%balancer, change = %changes, "switching ports");
        // What came in addition is written back like the rest.
        let wanted = wanted_of(&again.settings);
        let error = match session.ask(to, balancer.write(&again.settings, &wanted)).await {
            Ok(Accepted::Yes) => return shown(session, &wanted).await,
            Ok(Accepted::Busy(why)) => session.late(why),
            Ok(Accepted::Partly(why)) => {
                unknown = true;
                session.late(why)
            }
            Err(error) if error.effect() == Effect::Unknown && !lost => {
                (lost, unknown) = (true, true);
                session.still_late(error)
            }
            Err(error) if error.effect() == Effect::NotApplied && error.is_retryable() => session.still_late(error),
            Err(error) => return Err(effect(error, unknown)),
        };
        let error = failed(error, said.take(), unknown);
        if !session.polling.pause(session.deadline).await {
            return Err(error);
        }
        said = Some(error);
    }
}

/// Returns when the balancer shows what was written.
async fn shown(session: BalancerSession<'_>, wanted: &Value) -> Result<()> {
    let after = session.idle().await.map_err(Error::maybe_applied)?;
    if lost_between(session.balancer, wanted, &after.settings).is_empty() {
        Ok(())
    } else {
        Err(interfered(session.balancer, wanted, &after.settings).maybe_applied())
    }
}

fn lost_between(balancer: &dyn Balancer, old: &Value, new: &Value) -> Change {
    Change::lost_between(&balancer.judged(old), &balancer.judged(new))
}

fn is_under_way(balancer: &dyn Balancer, old: &Value, new: &Value, now: &Value) -> bool {
    Change::is_under_way(&balancer.judged(old), &balancer.judged(new), &balancer.judged(now))
}

/// Once an answer was lost, no later error can say that nothing happened.
fn effect(error: Error, unknown: bool) -> Error {
    if unknown { error.maybe_applied() } else { error }
}
