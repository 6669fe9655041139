use std::collections::BTreeSet;

use bluegreen_core::{Error, Result, Slot, Split};

/// The ports of blue and green on the servers behind a load balancer; several pairs where a service has several.
///
/// ```
/// use bluegreen_floatingip::Ports;
///
/// // A web server and an API, each with a port per slot.
/// let ports = Ports::new(3000, 3001)?.and(4000, 4001)?;
/// assert!(ports.and(3001, 5000).is_err(), "3001 is green's already");
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    pairs: Vec<(u16, u16)>,
}

impl Ports {
    /// The port of blue and that of green.
    ///
    /// # Errors
    /// `Config` when they are the same one, or 0.
    pub fn new(blue: u16, green: u16) -> Result<Self> {
        Self { pairs: Vec::new() }.and(blue, green)
    }

    /// One more pair.
    ///
    /// # Errors
    /// `Config` when one of them is 0 or in use already.
    pub fn and(mut self, blue: u16, green: u16) -> Result<Self> {
        self.pairs.push((blue, green));
        let all: Vec<u16> = self.pairs.iter().flat_map(|(blue, green)| [*blue, *green]).collect();
        let distinct: BTreeSet<u16> = all.iter().copied().collect();
        if distinct.len() < all.len() || distinct.contains(&0) {
            return Err(Error::config(format!("each slot needs ports of its own, not {blue} and {green}")));
        }
        Ok(self)
    }

    /// The port of `to` for a port of ours; any other port as it is.
    pub(super) fn moved(&self, port: u64, to: Slot) -> u64 {
        let ours = self.pairs.iter().find(|(blue, green)| [u64::from(*blue), u64::from(*green)].contains(&port));
        match (ours, to) {
            (Some((blue, _)), Slot::Blue) => u64::from(*blue),
            (Some((_, green)), Slot::Green) => u64::from(*green),
            (None, _) => port,
        }
    }

    /// Which slot the balancer's target ports stand for. Divided when some are blue's and some green's.
    pub(super) fn split(&self, targets: &[u64]) -> Result<Split> {
        let ours =
            targets.iter().filter(|port| self.pairs.iter().any(|(b, g)| [u64::from(*b), u64::from(*g)].contains(port)));
        let slots: Vec<Slot> =
            ours.map(|port| if self.moved(*port, Slot::Blue) == *port { Slot::Blue } else { Slot::Green }).collect();
        let green = slots.iter().filter(|slot| **slot == Slot::Green).count();
        match super::share::share(green, slots.len()) {
            Some(split) => Ok(split),
            None => Err(Error::config(format!(
                "the load balancer has no rule to any of the ports {:?}; its target ports are {:?}",
                self.pairs,
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
        let ports = Ports::new(3000, 3001).unwrap().and(4000, 4001).unwrap();
        let moved = |port| (ports.moved(port, Slot::Blue), ports.moved(port, Slot::Green));
        assert_eq!(moved(3000), (3000, 3001));
        assert_eq!(moved(4001), (4000, 4001));
        assert_eq!(moved(22), (22, 22));
        assert_eq!(ports.split(&[3001, 22, 4001]).unwrap(), Split::all(Slot::Green));
        assert_eq!(ports.split(&[3000, 4001]).unwrap().sole(), None);
        assert!(ports.split(&[22]).is_err());
        for (blue, green) in [(0, 1), (1, 0), (7, 7)] {
            assert!(Ports::new(blue, green).is_err());
        }
    }
}
