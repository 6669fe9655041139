//! What the proxy is told to do, as a value: the split and where the slots listen.

use bluegreen_core::{Error, ErrorKind, Ownership, Result, ServiceName, Slot, Split, Version, split_changed};
use serde::{Deserialize, Serialize};

use super::address::Address;

/// The routes of one service. Changing them is a pure function, so that the new ones can be stored before they apply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Routes {
    pub(super) split: Option<Split>,
    /// Counts the times that traffic became divided. A sticky cookie holds for one of them.
    pub(super) round: u64,
    blue: Option<Address>,
    green: Option<Address>,
    /// The service that wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<ServiceName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blue_version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    green_version: Option<Version>,
}

impl Routes {
    pub(super) fn address(&self, slot: Slot) -> Option<&Address> {
        match slot {
            Slot::Blue => self.blue.as_ref(),
            Slot::Green => self.green.as_ref(),
        }
    }

    pub(super) fn routes_to(&self, slot: Slot) -> bool {
        self.split.is_some_and(|split| split.routes_to(slot))
    }

    pub(super) fn version(&self, slot: Slot) -> Option<&Version> {
        match slot {
            Slot::Blue => self.blue_version.as_ref(),
            Slot::Green => self.green_version.as_ref(),
        }
    }

    /// Refuses routes of another service.
    pub(super) fn verify(&self, ownership: &Ownership) -> Result<()> {
        ownership.check(self.owner.as_ref().map(ServiceName::as_str), "the proxy")
    }

    /// As the service's own, if they are nobody's yet.
    pub(super) fn claimed(&self, ownership: &Ownership) -> Result<Self> {
        self.verify(ownership)?;
        let owner = self.owner.clone().or_else(|| ownership.service().cloned());
        Ok(Self { owner, ..self.clone() })
    }

    pub(super) fn attached(&self, slot: Slot, address: Address, version: Option<Version>) -> Self {
        let mut next = self.clone();
        match slot {
            Slot::Blue => (next.blue, next.blue_version) = (Some(address), version),
            Slot::Green => (next.green, next.green_version) = (Some(address), version),
        }
        next
    }

    /// The routes after a shift; `None` when `to` is there already.
    pub(super) fn shifted(&self, from: Option<Split>, to: Split) -> Result<Option<Self>> {
        if self.split == Some(to) {
            return Ok(None);
        }
        if self.split != from {
            return Err(split_changed(from, self.split));
        }
        let mut next = self.clone();
        next.split = Some(to);
        if to.sole().is_none() && self.split.is_none_or(|split| split.sole().is_some()) {
            next.round += 1;
        }
        match next.slot_without_address() {
            None => Ok(Some(next)),
            Some(slot) => Err(Error::new(ErrorKind::NotFound, format!("the proxy knows no address of {slot}"))
                .not_applied()
                .with_hint("attach the slot's instance first")),
        }
    }

    /// A slot that gets traffic and has no address.
    pub(super) fn slot_without_address(&self) -> Option<Slot> {
        Slot::BOTH.into_iter().find(|slot| self.routes_to(*slot) && self.address(*slot).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> Routes {
        let address = |port: u16| Address::new(format!("127.0.0.1:{port}")).unwrap();
        Routes::default().attached(Slot::Blue, address(1), None).attached(Slot::Green, address(2), None)
    }

    fn green(percent: u8) -> Split {
        Split::toward(Slot::Green, percent).unwrap()
    }

    #[test]
    fn a_shift_from_another_split_than_the_present_one_is_a_conflict() {
        let blue = routes().shifted(None, green(0)).unwrap().unwrap();
        for from in [None, Some(green(10))] {
            let error = blue.shifted(from, green(50)).unwrap_err();
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, bluegreen_core::Effect::NotApplied));
        }
        assert_eq!(blue.shifted(Some(green(10)), green(0)).unwrap(), None);
        assert_eq!(blue.shifted(Some(green(0)), green(10)).unwrap().unwrap().split, Some(green(10)));
    }

    #[test]
    fn no_traffic_goes_to_a_slot_without_an_address() {
        let only_blue = Routes::default().attached(Slot::Blue, Address::new("127.0.0.1:1").unwrap(), None);
        assert!(only_blue.shifted(None, green(0)).unwrap().is_some());
        for percent in [1, 100] {
            assert_eq!(only_blue.shifted(None, green(percent)).unwrap_err().kind(), ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_round_begins_when_traffic_becomes_divided_and_lasts_until_it_is_whole_again() {
        let mut routes = routes();
        let mut rounds = Vec::new();
        for percent in [0, 10, 50, 100, 0, 1] {
            routes = routes.shifted(routes.split, green(percent)).unwrap().unwrap();
            rounds.push(routes.round);
        }
        assert_eq!(rounds, [0, 1, 1, 1, 1, 2]);
    }
}
