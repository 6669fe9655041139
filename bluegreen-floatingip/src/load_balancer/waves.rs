//! Which servers are exchanged in which order, and whether that is possible.

use std::collections::BTreeSet;
use std::time::Duration;

use bluegreen_core::{Error, Result};

use super::balancer::{Balancer, Seen};
use super::members::count;
use super::pools::there;

/// How a switch by servers goes about it.
#[derive(Debug, Clone)]
pub(super) struct Rollout {
    /// How many servers are exchanged at a time; `None`: all at once.
    pub(super) at_a_time: Option<usize>,
    /// Between two such exchanges.
    pub(super) pause: Duration,
    /// How long a new server is given, instead of what the balancer's health check says.
    pub(super) health_deadline: Option<Duration>,
}

/// Servers that are added together, and those that are removed when the new ones are healthy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wave {
    pub(super) add: Vec<u64>,
    pub(super) remove: Vec<u64>,
}

/// At least one wave: a switch that was cut off may have left nothing to add. The last wave removes all that is left, since
/// the slots need not be of the same size.
pub(super) fn waves(present: &BTreeSet<u64>, wanted: &BTreeSet<u64>, at_a_time: Option<usize>) -> Vec<Wave> {
    let coming: Vec<u64> = wanted.difference(present).copied().collect();
    let mut going: Vec<u64> = present.difference(wanted).copied().collect();
    let size = at_a_time.unwrap_or(coming.len()).max(1);
    let waves = coming.len().div_ceil(size).max(1);
    let wave = |index| {
        let add: Vec<u64> = coming.iter().skip(index * size).take(size).copied().collect();
        let leaving = if index + 1 == waves { going.len() } else { size.min(going.len()) };
        Wave { add, remove: going.drain(..leaving).collect() }
    };
    (0..waves).map(wave).collect()
}

/// Refuses an exchange during which the balancer would have more targets than it takes.
///
/// # Errors
/// `Config`, with the numbers.
pub(super) fn check_capacity(balancer: &dyn Balancer, seen: &Seen, waves: &[Wave]) -> Result<()> {
    let Some(max) = seen.max_targets else { return Ok(()) };
    let mut members = there(seen);
    for wave in waves {
        members.extend(&wave.add);
        let targets = count(&balancer.with_members(&seen.settings, &members)?);
        if targets > max {
            let message = format!(
                "{targets} targets would be behind it while servers are exchanged, and its type takes {max} at most"
            );
            return Err(Error::config(message).with_hint(
                "exchange fewer servers at a time (`at_a_time`), or choose a larger type of load balancer",
            ));
        }
        members.retain(|server| !wave.remove.contains(server));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(servers: &[u64]) -> BTreeSet<u64> {
        servers.iter().copied().collect()
    }

    fn wave(add: &[u64], remove: &[u64]) -> Wave {
        Wave { add: add.to_vec(), remove: remove.to_vec() }
    }

    #[test]
    fn all_servers_come_at_once_or_a_few_at_a_time_and_the_last_wave_removes_the_rest() {
        let (blue, green) = (set(&[1, 2, 3]), set(&[5, 6]));
        assert_eq!(waves(&blue, &green, None), [wave(&[5, 6], &[1, 2, 3])]);
        assert_eq!(waves(&blue, &green, Some(1)), [wave(&[5], &[1]), wave(&[6], &[2, 3])]);
        assert_eq!(waves(&green, &blue, Some(2)), [wave(&[1, 2], &[5, 6]), wave(&[3], &[])]);
        assert_eq!(waves(&set(&[]), &green, None), [wave(&[5, 6], &[])]);
        assert_eq!(waves(&set(&[1, 5, 6]), &green, None), [wave(&[], &[1])], "cut off before the removal");
    }
}
