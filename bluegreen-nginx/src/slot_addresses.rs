//! [`SlotAddresses`]: where each slot listens.

use bluegreen_core::{Error, ErrorKind, Result, Slot, Version};
use serde::{Deserialize, Serialize};

/// Begins the line of a generated site that holds the addresses of the slots.
pub(crate) const MARKER: &str = "# slots: ";

/// Where each slot listens, as seen from nginx.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotAddresses {
    blue: Vec<String>,
    green: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blue_version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    green_version: Option<Version>,
}

impl SlotAddresses {
    pub(crate) fn of(&self, slot: Slot) -> &[String] {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    pub(crate) fn of_mut(&mut self, slot: Slot) -> &mut Vec<String> {
        match slot {
            Slot::Blue => &mut self.blue,
            Slot::Green => &mut self.green,
        }
    }

    /// The version in a slot, where the site names it.
    pub(crate) fn version(&self, slot: Slot) -> Option<&Version> {
        match slot {
            Slot::Blue => self.blue_version.as_ref(),
            Slot::Green => self.green_version.as_ref(),
        }
    }

    pub(crate) fn set_version(&mut self, slot: Slot, version: Option<Version>) {
        match slot {
            Slot::Blue => self.blue_version = version,
            Slot::Green => self.green_version = version,
        }
    }

    /// The addresses a generated site was made with; `None` when the line is not there, or not readable any more.
    pub(crate) fn in_site(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(MARKER))?;
        let slots: Self = serde_json::from_str(line).ok()?;
        let sound =
            Slot::BOTH.iter().flat_map(|slot| slots.of(*slot)).all(|text| crate::config::address_of(text).is_ok());
        sound.then_some(slots)
    }

    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the addresses cannot be written as JSON").with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_was_damaged_by_hand_has_no_addresses() {
        let of = |line: &str| SlotAddresses::in_site(&format!("# Generated\n{line}\nserver {{}}\n"));
        let whole = of(r##"# slots: {"blue":["127.0.0.1:1"],"green":[]}"##).unwrap();
        assert_eq!((whole.of(Slot::Blue), whole.of(Slot::Green).len()), (&["127.0.0.1:1".to_owned()][..], 0));
        assert_eq!(of(""), None);
        assert_eq!(of(r##"# slots: {"blue":["127.0.0.1:1"]"##), None);
        assert_eq!(of(r##"# slots: {"blue":["127.0.0.1:1; return 200"],"green":[]}"##), None);
    }
}
