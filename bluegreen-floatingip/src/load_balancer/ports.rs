use std::collections::BTreeSet;

use bluegreen_core::{Error, PerSlot, Result, Slot, Split};

/// The ports of blue and green on the servers behind a load balancer; several pairs where a service has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ports {
    pairs: Vec<PerSlot<u16>>,
}

impl Ports {
    /// # Errors
    /// `Config` when one of them is 0 or there twice.
    pub(super) fn new(pairs: Vec<PerSlot<u16>>) -> Result<Self> {
        let mut seen = BTreeSet::from([0]);
        match pairs.iter().find(|pair| !pair.iter().all(|port| seen.insert(*port))) {
            Some(PerSlot { blue, green }) => {
                Err(Error::config(format!("each slot needs ports of its own, not {blue} and {green}")))
            }
            None => Ok(Self { pairs }),
        }
    }

    fn pair_of(&self, port: u64) -> Option<PerSlot<u16>> {
        self.pairs.iter().copied().find(|pair| pair.iter().any(|ours| u64::from(*ours) == port))
    }

    /// The port of `to` for a port of ours; any other port as it is.
    pub(super) fn moved(&self, port: u64, to: Slot) -> u64 {
        self.pair_of(port).map_or(port, |pair| u64::from(pair[to]))
    }

    /// Which slot the balancer's target ports stand for. Divided when some are blue's and some green's.
    pub(super) fn split(&self, targets: &[u64]) -> Result<Split> {
        let ours = targets.iter().filter(|port| self.pair_of(**port).is_some());
        let slots: Vec<Slot> =
            ours.map(|port| if self.moved(*port, Slot::Blue) == *port { Slot::Blue } else { Slot::Green }).collect();
        let green = slots.iter().filter(|slot| **slot == Slot::Green).count();
        match super::share::share(green, slots.len()) {
            Some(split) => Ok(split),
            None => Err(Error::config(format!(
                "the load balancer has no rule to any of the ports {:?}; its target ports are {:?}",
                self.pairs.iter().map(|pair| pair.into_array()).collect::<Vec<_>>(),
                targets.iter().collect::<BTreeSet<_>>()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_ours_move_and_others_stay() {
        let ports = Ports::new(vec![(3000, 3001).into(), (4000, 4001).into()]).unwrap();
        let moved = |port| (ports.moved(port, Slot::Blue), ports.moved(port, Slot::Green));
        assert_eq!(moved(3000), (3000, 3001));
        assert_eq!(moved(4001), (4000, 4001));
        assert_eq!(moved(22), (22, 22));
        assert_eq!(ports.split(&[3001, 22, 4001]).unwrap(), Split::all(Slot::Green));
        assert_eq!(ports.split(&[3000, 4001]).unwrap().sole(), None);
        assert!(ports.split(&[22]).is_err());
        for pair in [(0, 1), (1, 0), (7, 7)] {
            assert!(Ports::new(vec![pair.into()]).is_err());
        }
    }
}
