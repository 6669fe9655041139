use bluegreen_core::{Error, Result, Slot};

/// The numbers by which a cloud knows the server of each slot.
///
/// ```
/// use bluegreen_floatingip::Servers;
///
/// assert!(Servers::new(3164444, 3164445).is_ok());
/// assert!(Servers::new(3164444, 3164444).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Servers {
    blue: u64,
    green: u64,
}

impl Servers {
    /// The numbers of the blue and of the green server.
    ///
    /// # Errors
    /// `Config` when they are the same one, or 0.
    pub fn new(blue: u64, green: u64) -> Result<Self> {
        if blue == green || blue == 0 || green == 0 {
            return Err(Error::config(format!("blue and green must be two servers, not {blue} and {green}")));
        }
        Ok(Self { blue, green })
    }

    /// The number of a slot's server.
    pub fn of(self, slot: Slot) -> u64 {
        match slot {
            Slot::Blue => self.blue,
            Slot::Green => self.green,
        }
    }

    /// The slot of a server, if it is one of the two.
    pub fn slot_of(self, server: u64) -> Option<Slot> {
        Slot::BOTH.into_iter().find(|slot| self.of(*slot) == server)
    }
}
