use bluegreen_core::{Error, PerSlot, Result, Slot};

/// The numbers by which a cloud knows the server of each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Servers(PerSlot<u64>);

impl Servers {
    /// # Errors
    /// `Config` when they are the same one, or 0.
    pub(crate) fn new(servers: PerSlot<u64>) -> Result<Self> {
        let PerSlot { blue, green } = servers;
        if blue == green || blue == 0 || green == 0 {
            return Err(Error::config(format!("blue and green must be two servers, not {blue} and {green}")));
        }
        Ok(Self(servers))
    }

    /// The number of a slot's server.
    pub(crate) fn of(self, slot: Slot) -> u64 {
        self.0[slot]
    }

    /// The slot of a server, if it is one of the two.
    pub(crate) fn slot_of(self, server: u64) -> Option<Slot> {
        Slot::BOTH.into_iter().find(|slot| self.of(*slot) == server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_belongs_to_one_slot() {
        assert!(Servers::new((3164444, 3164445).into()).is_ok());
        assert!(Servers::new((3164444, 3164444).into()).is_err());
    }
}
