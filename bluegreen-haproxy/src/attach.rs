//! Telling HAProxy where a slot listens.

use bluegreen_core::{Error, ErrorKind, Instance, Reason, Result, Slot};

use crate::addresses::addresses_of;
use crate::balancer::Balancer;
use crate::before;
use crate::command::{Command, State};
use crate::lock::Lock;
use crate::place::{Place, assign, places_of};
use crate::plan::plan;
use crate::seen::Seen;

pub(crate) async fn attach(balancer: &Balancer, slot: Slot, instance: &Instance) -> Result<()> {
    let addresses = addresses_of(balancer, instance)?;
    let key = before::key(instance);
    let (lock, answers) = Lock::take(&balancer.socket).await?;
    let planned = balancer.read(&answers).and_then(|seen| {
        let wanted = assign(&seen, slot, &addresses)?;
        can_move(balancer, &seen, slot, &wanted)?;
        let commands = commands(balancer, &seen, slot, &wanted)?;
        Ok((seen, wanted, commands))
    });
    let (seen, wanted, commands) = match planned {
        Ok(planned) => planned,
        Err(error) => {
            lock.release().await;
            return Err(error);
        }
    };
    if commands.is_empty() {
        lock.release().await;
        balancer.keep(&seen).await;
        return before::unchanged(balancer, slot, &key).await;
    }
    if let Err(error) = before::keep(balancer, slot, &key, &places_of(&seen, slot), &wanted).await {
        lock.release().await;
        return Err(error.not_applied());
    }
    carry_out(balancer, lock, &seen, slot, &wanted, &commands).await
}

/// Puts back what the last attach of a slot has changed.
pub(crate) async fn detach(balancer: &Balancer, slot: Slot) -> Result<()> {
    let Some(kept) = before::read(balancer, slot).await? else { return Ok(()) };
    let (lock, answers) = Lock::take(&balancer.socket).await?;
    let planned = balancer.read(&answers).and_then(|seen| {
        let present = places_of(&seen, slot);
        if present != kept.before && present != kept.written {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the servers of {slot} were changed since, and stay as they are"),
            )
            .with_reason(Reason::ChangedElsewhere)
            .not_applied());
        }
        let commands = commands(balancer, &seen, slot, &kept.before)?;
        Ok((seen, commands))
    });
    match planned {
        Ok((seen, commands)) if !commands.is_empty() => {
            carry_out(balancer, lock, &seen, slot, &kept.before, &commands).await?;
        }
        unchanged => {
            lock.release().await;
            unchanged?;
        }
    }
    before::forget(balancer, slot).await
}

async fn carry_out(
    balancer: &Balancer,
    lock: Lock<'_>,
    seen: &Seen,
    slot: Slot,
    wanted: &[Place],
    commands: &[Command],
) -> Result<()> {
    let changed = lock.change(commands).await?;
    let after = balancer.read(&changed.answers).map_err(Error::maybe_applied)?;
    if after.split() == seen.split() && is_as(&after, slot, wanted) {
        balancer.keep(&after).await;
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, format!("HAProxy has other servers for {slot} than it was told"))
        .with_reason(Reason::ChangedElsewhere)
        .maybe_applied()
        .retryable(!changed.is_ours)
        .with_hint("HAProxy was reloaded, or somebody else changes servers of this backend at the same time"))
}

/// Unused servers may lead anywhere.
fn is_as(seen: &Seen, slot: Slot, wanted: &[Place]) -> bool {
    let used = |places: Vec<Place>| places.into_iter().filter(|place| place.is_used).collect::<Vec<_>>();
    used(places_of(seen, slot)) == used(wanted.to_vec())
}

/// Refuses to move what the configuration would move back at the next reload, without anybody noticing.
fn can_move(balancer: &Balancer, seen: &Seen, slot: Slot, wanted: &[Place]) -> Result<()> {
    for (server, place) in seen.of(slot).zip(wanted) {
        if server.address() == place.address {
            continue;
        }
        let moved = |why: &str, hint: &str| {
            let to = place.address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
            Err(Error::config(format!("{} cannot be moved to {to}: {why}", server.name)).with_hint(hint.to_owned()))
        };
        if !server.is_disabled_in_configuration() {
            return moved(
                "a reload would send its requests to the address in the configuration again",
                "write `disabled` behind the server in HAProxy's configuration, or give the slot a fixed address",
            );
        }
        if balancer.keeps_state && !server.is_named && server.ip != place.address.map(|address| address.ip()) {
            return moved(
                "HAProxy takes the IP address of a server from its state file only where the configuration has a name",
                "write `<slot>.invalid:1 init-addr last,127.0.0.1` instead of the address, as the generated backend does",
            );
        }
    }
    Ok(())
}

/// The commands that make the servers of a slot what is wanted, and leave the split as it is.
fn commands(balancer: &Balancer, seen: &Seen, slot: Slot, wanted: &[Place]) -> Result<Vec<Command>> {
    let split = seen.split();
    let has_share = split.is_some_and(|split| split.routes_to(slot));
    let (mut first, mut last, mut then) = (Vec::new(), Vec::new(), seen.clone());
    for (server, place) in then.servers.iter_mut().filter(|server| server.slot == Some(slot)).zip(wanted) {
        let name = || server.name.clone();
        if place.is_used && server.weight == 0 {
            // With a weight it would get requests at once.
            if !has_share && server.state() == State::Ready {
                first.push(Command::SetState(name(), balancer.park.state()));
            }
            first.extend(
                place
                    .address
                    .filter(|address| server.address() != Some(*address))
                    .map(|address| Command::SetAddress(name(), address)),
            );
            first.push(Command::SetWeight(name(), 1));
            server.weight = 1;
        } else if place.is_used {
            first.extend(
                place
                    .address
                    .filter(|address| server.address() != Some(*address))
                    .map(|address| Command::SetAddress(name(), address)),
            );
        } else if server.weight > 0 {
            last.push(Command::SetWeight(name(), 0));
            server.weight = 0;
        }
    }
    let between = match has_share {
        true => plan(&then, split, balancer.park)?,
        false => Vec::new(),
    };
    Ok([first, between, last].concat())
}
