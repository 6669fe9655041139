//! [`plan`]: the commands that make a split.

use std::collections::VecDeque;

use bluegreen_core::{Error, ErrorKind, PerSlot, Result, Slot, Split};

use crate::command::{Command, State};
use crate::park::Park;
use crate::seen::Seen;
use crate::server::Server;
use crate::weights::weights_for;

/// The commands that are missing between what was seen and the split; `None` routes nothing. What gets more traffic comes
/// first, what gets less comes later, and what gets none any more comes last: between any two commands somebody takes the
/// requests.
///
/// # Errors
/// `NotFound` when a slot with a share uses no server.
pub(crate) fn plan(seen: &Seen, to: Option<Split>, park: Park) -> Result<Vec<Command>> {
    let shares = PerSlot::from_fn(|slot| to.is_some_and(|to| to.routes_to(slot)));
    if let Some(slot) = Slot::BOTH.into_iter().find(|slot| shares[*slot] && seen.attached(*slot).next().is_none()) {
        return Err(Error::new(ErrorKind::NotFound, format!("nothing is attached to {slot}"))
            .not_applied()
            .with_hint("all its servers have weight 0: `attach` the slot, or give them a weight"));
    }
    let weights = match to {
        Some(to) => weights_for(to, PerSlot::from_fn(|slot| seen.attached(slot).count())),
        None => PerSlot::default(),
    };
    let mut weights = weights.map(VecDeque::from);
    let (mut more, mut less, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for slot in Slot::BOTH {
        for server in seen.of(slot) {
            let weight = if shares[slot] && server.is_attached() { weights[slot].pop_front() } else { None };
            match weight {
                Some(weight) if server.is_routed() && weight < server.weight => {
                    less.push(Command::SetWeight(server.name.clone(), weight));
                }
                Some(weight) => {
                    if weight != server.weight {
                        more.push(Command::SetWeight(server.name.clone(), weight));
                    }
                    if !server.is_routed() {
                        more.push(Command::SetState(server.name.clone(), State::Ready));
                    }
                }
                None if !is_parked(server, park) => none.push(Command::SetState(server.name.clone(), park.state())),
                None => {}
            }
        }
    }
    Ok([more, less, none].concat())
}

/// What is never used needs no check, and so stays out altogether.
fn is_parked(server: &Server, park: Park) -> bool {
    server.state() == park.state() || (!server.is_attached() && server.state() == State::Maintenance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Members;
    use crate::name::Name;

    /// A backend as HAProxy shows it, with these servers: name, administrative state, weight.
    fn seen(servers: &[(&str, u32, u16)]) -> Seen {
        let columns = "srv_name srv_addr srv_port srv_op_state srv_admin_state srv_uweight srv_fqdn";
        let mut states = format!("1\n# {columns}\n");
        let mut stat = "# svname,qcur,scur,status,bck,throttle,algo\n".to_owned();
        for (name, state, weight) in servers {
            states += &format!("{name} 127.0.0.1 80 2 {state} {weight} -\n");
            stat += &format!("{name},0,0,UP,0,,\n");
        }
        Seen::read(&[states, stat], &Name::new("backend", "shop").unwrap(), &Members::ByName).unwrap()
    }

    fn carry_out(seen: &mut Seen, command: &Command) {
        let (Command::SetWeight(name, _) | Command::SetState(name, _)) = command else { panic!("{command:?}") };
        let server = seen.servers.iter_mut().find(|server| server.name == *name).unwrap();
        match command {
            Command::SetWeight(_, weight) => server.weight = *weight,
            Command::SetState(_, State::Ready) => server.admin_state = 0,
            Command::SetState(_, State::Drain) => server.admin_state = 8,
            _ => server.admin_state = 1,
        }
    }

    fn splits() -> Vec<Option<Split>> {
        let percents = [0, 1, 10, 33, 50, 90, 99, 100];
        let split = |percent| Split::toward(Slot::Green, percent).unwrap();
        std::iter::once(None).chain(percents.map(split).map(Some)).collect()
    }

    #[test]
    fn from_any_split_to_any_other_some_server_is_routed_at_every_moment_and_the_end_is_the_split() {
        let servers = [("blue1", 1, 1), ("blue2", 1, 1), ("blue3", 5, 0), ("green1", 1, 1)];
        for park in [Park::Maintenance, Park::Drain] {
            for (from, to) in splits().into_iter().flat_map(|from| splits().into_iter().map(move |to| (from, to))) {
                let mut backend = seen(&servers);
                for command in plan(&backend, from, park).unwrap() {
                    carry_out(&mut backend, &command);
                }
                assert_eq!(backend.split(), from, "{park:?}");
                let commands = plan(&backend, to, park).unwrap();
                assert_eq!(commands.is_empty(), from == to, "{from:?} to {to:?}: {commands:?}");
                for command in &commands {
                    carry_out(&mut backend, command);
                    let is_in_between = from.is_some() && to.is_some();
                    assert!(!is_in_between || backend.split().is_some(), "{from:?} to {to:?}: {commands:?}");
                }
                assert_eq!(backend.split(), to, "{commands:?}");
                assert_eq!(backend.servers[2].weight, 0, "a server that is not used stays out");
            }
        }
    }

    #[test]
    fn what_was_done_of_a_plan_is_not_planned_again() {
        let mut backend = seen(&[("blue1", 0, 100), ("green1", 1, 1)]);
        let to = Some(Split::all(Slot::Green));
        let commands = plan(&backend, to, Park::Maintenance).unwrap();
        for done in 0..commands.len() {
            assert_eq!(plan(&backend, to, Park::Maintenance).unwrap(), commands[done..]);
            carry_out(&mut backend, &commands[done]);
        }
    }
}
