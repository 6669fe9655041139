//! [`Members`]: which servers of a backend are whose.

use bluegreen_core::{PerSlot, Slot};

use crate::name::Name;

#[derive(Debug, Clone)]
pub(crate) enum Members {
    /// `blue`, `blue1`, `blue-1`, ...: as a generated backend has them.
    ByName,
    Listed(PerSlot<Vec<Name>>),
}

impl Members {
    pub(crate) fn slot_of(&self, server: &Name) -> Option<Slot> {
        Slot::BOTH.into_iter().find(|slot| match self {
            Self::Listed(servers) => servers[*slot].contains(server),
            Self::ByName => server.as_str().strip_prefix(slot.as_str()).is_some_and(|rest| {
                let number = rest.strip_prefix(['-', '_', '.']).unwrap_or(rest);
                rest.is_empty() || (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            }),
        })
    }

    /// The listed servers; none where they are found by their names.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Name> {
        let listed = match self {
            Self::Listed(servers) => Some(servers.iter().flatten()),
            Self::ByName => None,
        };
        listed.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_belongs_to_the_slot_in_its_name() {
        let of = |name: &str| Members::ByName.slot_of(&Name::new("server", name).unwrap());
        for name in ["blue", "blue1", "blue-12", "blue_3", "blue.4"] {
            assert_eq!(of(name), Some(Slot::Blue), "{name}");
        }
        assert_eq!(of("green7"), Some(Slot::Green));
        for name in ["bluebird", "blue-", "blue1a", "web1", "Blue1", "greenblue"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
