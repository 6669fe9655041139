use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::types::Slot;

/// The share of traffic of each slot, in percent; the two shares always add up to 100.
///
/// ```
/// use bluegreen_core::{Slot, Split};
///
/// let split = Split::toward(Slot::Green, 10)?;
/// assert_eq!(split.share(Slot::Blue), 90);
/// assert_eq!(split.to_string(), "90 % blue / 10 % green");
/// assert_eq!(Split::all(Slot::Blue).sole(), Some(Slot::Blue));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Shares", into = "Shares")]
pub struct Split {
    green: u8,
}

#[derive(Serialize, Deserialize)]
struct Shares {
    blue: u8,
    green: u8,
}

impl Split {
    /// All traffic to one slot.
    #[must_use]
    pub const fn all(slot: Slot) -> Self {
        match slot {
            Slot::Blue => Self { green: 0 },
            Slot::Green => Self { green: 100 },
        }
    }

    /// `percent` of the traffic to `slot`, the rest to the other one.
    ///
    /// # Errors
    /// `Config` when `percent` is above 100.
    pub fn toward(slot: Slot, percent: u8) -> Result<Self> {
        if percent > 100 {
            return Err(Error::config(format!("a share of {percent} % is more than all traffic")));
        }
        Ok(match slot {
            Slot::Blue => Self { green: 100 - percent },
            Slot::Green => Self { green: percent },
        })
    }

    /// The share of a slot, 0 to 100.
    pub const fn share(self, slot: Slot) -> u8 {
        match slot {
            Slot::Blue => 100 - self.green,
            Slot::Green => self.green,
        }
    }

    /// Whether the slot gets any traffic.
    pub const fn routes_to(self, slot: Slot) -> bool {
        self.share(slot) > 0
    }

    /// The slot that gets all traffic, or `None` while traffic is divided.
    pub const fn sole(self) -> Option<Slot> {
        match self.green {
            0 => Some(Slot::Blue),
            100 => Some(Slot::Green),
            _ => None,
        }
    }

    /// The slot with the larger share; blue at 50 / 50.
    pub const fn majority(self) -> Slot {
        if self.green > 50 { Slot::Green } else { Slot::Blue }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sole() {
            Some(slot) => write!(f, "100 % {slot}"),
            None => write!(f, "{} % blue / {} % green", self.share(Slot::Blue), self.share(Slot::Green)),
        }
    }
}

impl TryFrom<Shares> for Split {
    type Error = Error;

    fn try_from(shares: Shares) -> Result<Self> {
        if u16::from(shares.blue) + u16::from(shares.green) != 100 {
            return Err(Error::config(format!("shares of {} and {} do not add up to 100", shares.blue, shares.green)));
        }
        Self::toward(Slot::Green, shares.green)
    }
}

impl From<Split> for Shares {
    fn from(split: Split) -> Self {
        Self { blue: split.share(Slot::Blue), green: split.share(Slot::Green) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_always_add_up_to_100() {
        for percent in 0..=100 {
            let split = Split::toward(Slot::Blue, percent).unwrap();
            assert_eq!(split.share(Slot::Blue) + split.share(Slot::Green), 100);
            let json = serde_json::to_string(&split).unwrap();
            assert_eq!(serde_json::from_str::<Split>(&json).unwrap(), split);
        }
        assert!(Split::toward(Slot::Blue, 101).is_err());
        assert!(serde_json::from_str::<Split>(r#"{"blue":50,"green":60}"#).is_err());
    }

    #[test]
    fn sole_is_none_while_traffic_is_divided() {
        assert_eq!(Split::all(Slot::Green).sole(), Some(Slot::Green));
        assert_eq!(Split::toward(Slot::Green, 99).unwrap().sole(), None);
    }
}
