//! Switching by ports: read, transform, write, and read again.

use bluegreen_core::{Effect, Error, Result, Slot, Split};
use serde_json::Value;

use super::balancer::{Accepted, Balancer, Seen};
use super::change::Change;
use super::ports::Ports;
use super::switch::{Desk, conflict, interfered};

/// What a switch to this slot changes.
pub(super) fn change(balancer: &dyn Balancer, ports: &Ports, seen: &Seen, to: Slot) -> Change {
    let wanted = balancer.retargeted(&seen.settings, &|port| ports.moved(port, to));
    Change::between(&seen.settings, &wanted)
}

/// Has every rule to a port of ours lead to this slot's port. Once a write was asked for, rules that lead to the one or
/// to the other slot are no conflict: where each service is a call of its own, some may be changed and some not yet.
pub(super) async fn switch(desk: Desk<'_>, ports: &Ports, from: Option<Split>, to: Slot) -> Result<()> {
    // Whether an answer was lost, and whether anything may have been changed.
    let (mut lost, mut unknown) = (false, false);
    let mut original: Option<Value> = None;
    let wanted_of = |settings: &Value| desk.balancer.retargeted(settings, &|port| ports.moved(port, to));
    loop {
        let led_to = |seen: &Seen, asked| change(desk.balancer, ports, seen, asked).is_empty();
        let before = desk.settled(led_to).await.map_err(|error| effect(error, unknown))?;
        let now = Some(ports.split(&desk.balancer.target_ports(&before.settings))?);
        let wanted = wanted_of(&before.settings);
        if before.settings == wanted {
            return Ok(());
        }
        match &original {
            Some(old) if Change::is_under_way(old, &wanted_of(old), &before.settings) => {
                unknown |= *old != before.settings;
            }
            _ if now == Some(Split::all(to)) || now == from => original = Some(before.settings.clone()),
            Some(old) => {
                return Err(effect(interfered(desk.balancer, &wanted_of(old), &wanted).not_applied(), unknown));
            }
            None => return Err(effect(conflict(from, now), unknown)),
        }
        tracing::info!(balancer = %desk.balancer, change = %Change::between(&before.settings, &wanted), "switching ports");
        // There is no compare-and-set: a change by somebody else is seen if it came before this look, and else after.
        let again = desk.idle().await.map_err(|error| effect(error, unknown))?;
        if again.settings != before.settings {
            return Err(effect(interfered(desk.balancer, &before.settings, &again.settings).not_applied(), unknown));
        }
        let why = match desk.ask(to, desk.balancer.write(&before.settings, &wanted)).await {
            Ok(Accepted::Yes) => return shown(desk, &wanted).await,
            Ok(Accepted::Busy(why)) => why,
            Ok(Accepted::Partly(why)) => {
                unknown = true;
                why
            }
            Err(error) if error.effect() == Effect::Unknown && !lost => {
                (lost, unknown) = (true, true);
                error.to_string()
            }
            Err(error) if error.effect() == Effect::NotApplied && error.is_retryable() => error.to_string(),
            Err(error) => return Err(effect(error, unknown)),
        };
        if !desk.patience.pause(desk.deadline).await {
            return Err(effect(desk.late(why).not_applied(), unknown));
        }
    }
}

/// Returns when the balancer shows what was written.
async fn shown(desk: Desk<'_>, wanted: &Value) -> Result<()> {
    let after = desk.idle().await.map_err(Error::maybe_applied)?;
    if Change::lost_between(wanted, &after.settings).is_empty() {
        Ok(())
    } else {
        Err(interfered(desk.balancer, wanted, &after.settings).maybe_applied())
    }
}

/// Once an answer was lost, no later error can say that nothing happened.
fn effect(error: Error, unknown: bool) -> Error {
    if unknown { error.maybe_applied() } else { error }
}
