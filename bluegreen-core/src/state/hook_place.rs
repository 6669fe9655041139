use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::types::Slot;

/// Where in an operation a hook runs.
///
/// Its text is what a journal holds, what [`CommandHook`](crate::hook::CommandHook) passes as `PLACE`, and what events and
/// reports show: `before-deploy`, `before-shift-50`, `before-retire-blue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HookPlace {
    /// Before a deploy or a stage does anything.
    BeforeDeploy,
    /// After the release's content is where it will run.
    AfterPrepare,
    /// After the new release was seen to be healthy, before it gets any traffic.
    AfterHealth,
    /// Before this many percent of the traffic go to the new slot.
    BeforeShift(u8),
    /// After this many percent of the traffic went to the new slot.
    AfterShift(u8),
    /// After a deploy or a promotion has done all that it is there for.
    AfterSuccess,
    /// After a deploy, a stage, a promotion or a rollback ended in any other way, and was undone as far as it is.
    AfterFailure,
    /// After a rollback has done all that it is there for.
    AfterRollback,
    /// Before the release in this slot is stopped, because its time is over or another one takes its slot.
    BeforeRetire(Slot),
}

const PLAIN: [(HookPlace, &str); 6] = [
    (HookPlace::BeforeDeploy, "before-deploy"),
    (HookPlace::AfterPrepare, "after-prepare"),
    (HookPlace::AfterHealth, "after-health"),
    (HookPlace::AfterSuccess, "after-success"),
    (HookPlace::AfterFailure, "after-failure"),
    (HookPlace::AfterRollback, "after-rollback"),
];

const BEFORE_SHIFT: &str = "before-shift-";
const AFTER_SHIFT: &str = "after-shift-";
const BEFORE_RETIRE: &str = "before-retire-";

impl HookPlace {
    /// The share of traffic, where it is a place before or after a shift.
    pub fn percent(self) -> Option<u8> {
        match self {
            Self::BeforeShift(percent) | Self::AfterShift(percent) => Some(percent),
            _ => None,
        }
    }
}

impl fmt::Display for HookPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeShift(percent) => write!(f, "{BEFORE_SHIFT}{percent}"),
            Self::AfterShift(percent) => write!(f, "{AFTER_SHIFT}{percent}"),
            Self::BeforeRetire(slot) => write!(f, "{BEFORE_RETIRE}{slot}"),
            plain => f.write_str(PLAIN.iter().find(|(place, _)| place == plain).map_or("unnamed", |(_, text)| text)),
        }
    }
}

impl FromStr for HookPlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let percent = |rest: &str| rest.parse().ok().filter(|percent| (1..=100).contains(percent));
        let plain = PLAIN.iter().find(|(_, name)| *name == text).map(|(place, _)| *place);
        plain
            .or_else(|| text.strip_prefix(BEFORE_SHIFT).and_then(percent).map(Self::BeforeShift))
            .or_else(|| text.strip_prefix(AFTER_SHIFT).and_then(percent).map(Self::AfterShift))
            .or_else(|| text.strip_prefix(BEFORE_RETIRE)?.parse().ok().map(Self::BeforeRetire))
            .ok_or_else(|| Error::config(format!("`{text}` is no place for a hook")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_read_back_from_its_text() {
        let numbered = [HookPlace::BeforeShift(1), HookPlace::AfterShift(100), HookPlace::BeforeRetire(Slot::Green)];
        for place in PLAIN.iter().map(|(place, _)| *place).chain(numbered) {
            assert_ne!(place.to_string(), "unnamed");
            assert_eq!(place.to_string().parse::<HookPlace>().unwrap(), place);
        }
        for bad in ["before-shift-0", "before-shift-101", "after-shift-", "before-retire-red", "before-lunch"] {
            assert!(bad.parse::<HookPlace>().is_err(), "{bad}");
        }
    }
}
