use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::state::{HookName, HookPlace};

/// A step of an operation, by name: journals outlive versions of the code, so they never hold an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Step {
    /// Ask the router and both slots what there is.
    Observe,
    /// Bring the members of a fleet that were left behind to the live version.
    CatchUp,
    /// Bring the release's content to where it will run.
    Prepare,
    /// Run the expand phase before the release is started.
    ExpandBeforeStart,
    /// Stop what is still in the idle slot.
    StopOccupant,
    /// Start the release in the idle slot.
    Start,
    /// Wait until it is healthy, several times in a row, as the right version.
    Health,
    /// Run the expand phase inside the release that is up.
    ExpandAfterStart,
    /// Run the smoke tests against the idle slot.
    Smoke,
    /// Tell the router where the slot listens.
    Attach,
    /// Check, before this share of traffic moves, that the slot that gains it is healthy, and the slot to go back to too.
    CheckSlots(u8),
    /// Move traffic: this many percent to the new slot.
    Shift(u8),
    /// Hold that share of traffic under the gates.
    Soak(u8),
    /// See the new version answer at the public address.
    Verify,
    /// Wait for the requests in flight on the slot that lost its traffic.
    Drain,
    /// Hold all traffic on the new slot under the gates, still ready to go back.
    Bake,
    /// Run the contract phase. From here on there is no way back.
    Contract,
    /// Keep the old slot warm for a rollback.
    Retain,
    /// Stop the old slot.
    Retire,
    /// Move all traffic back to the old slot.
    ShiftBack,
    /// Read the last lines of the failed slot's log.
    CollectLogs,
    /// Wait for the requests in flight on the failed slot.
    DrainFailed,
    /// Stop the failed slot.
    StopFailed,
    /// Have the router put back what telling it of the failed slot has changed.
    Detach,
    /// Start what was in the slot before the failed release, as it was.
    StartOccupant,
    /// Run a migration phase on its own.
    Migrate,
    /// Run a hook of the user. Its text is `<place>:<name>`, such as `before-shift-50:clear-cache`.
    Hook(HookPlace, HookName),
}

/// By these words a reader of documents tells a step of a later version from damage.
pub(super) const UNKNOWN_STEP: &str = "is not a step that this version knows";

const NAMES: &[(Step, &str)] = &[
    (Step::Observe, "observe"),
    (Step::CatchUp, "catch-up"),
    (Step::Prepare, "prepare"),
    (Step::ExpandBeforeStart, "expand-before-start"),
    (Step::StopOccupant, "stop-occupant"),
    (Step::Start, "start"),
    (Step::Health, "health"),
    (Step::ExpandAfterStart, "expand-after-start"),
    (Step::Smoke, "smoke"),
    (Step::Attach, "attach"),
    (Step::Verify, "verify"),
    (Step::Drain, "drain"),
    (Step::Bake, "bake"),
    (Step::Contract, "contract"),
    (Step::Retain, "retain"),
    (Step::Retire, "retire"),
    (Step::ShiftBack, "shift-back"),
    (Step::CollectLogs, "collect-logs"),
    (Step::DrainFailed, "drain-failed"),
    (Step::StopFailed, "stop-failed"),
    (Step::Detach, "detach"),
    (Step::StartOccupant, "start-occupant"),
    (Step::Migrate, "migrate"),
];

type Numbered = fn(u8) -> Step;

const NUMBERED: &[(Numbered, &str)] =
    &[(Step::Shift, "shift-"), (Step::Soak, "soak-"), (Step::CheckSlots, "check-slots-")];

impl Step {
    /// Whether it changes nothing anywhere.
    pub(crate) fn only_looks(self) -> bool {
        use Step::{CheckSlots, CollectLogs, Drain, DrainFailed, Health, Observe, Verify};
        matches!(self, Observe | Health | CheckSlots(_) | Verify | Drain | DrainFailed | CollectLogs)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shift(percent) => f.pad(&format!("shift-{percent}")),
            Self::Soak(percent) => f.pad(&format!("soak-{percent}")),
            Self::CheckSlots(percent) => f.pad(&format!("check-slots-{percent}")),
            Self::Hook(place, name) => f.pad(&format!("{place}:{name}")),
            named => {
                let name = NAMES.iter().find(|(step, _)| step == named).map_or("unnamed", |(_, name)| name);
                f.pad(name)
            }
        }
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = NAMES.iter().find(|(_, name)| *name == text).map(|(step, _)| *step);
        let numbered = || {
            NUMBERED.iter().find_map(|(step, prefix)| {
                let percent = text.strip_prefix(prefix)?.parse().ok().filter(|percent| *percent <= 100)?;
                Some(step(percent))
            })
        };
        let hook = || {
            let (place, name) = text.split_once(':')?;
            Some(Self::Hook(place.parse().ok()?, name.parse().ok()?))
        };
        named
            .or_else(numbered)
            .or_else(hook)
            .ok_or_else(|| Error::config(format!("`{text}` {UNKNOWN_STEP}: use a name like start, shift-10 or bake")))
    }
}

impl TryFrom<String> for Step {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Step> for String {
    fn from(step: Step) -> String {
        step.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_stored_by_name_and_read_back() {
        let hook = Step::Hook(HookPlace::BeforeShift(50), HookName::new("clear-cache").unwrap());
        assert_eq!(hook.to_string(), "before-shift-50:clear-cache");
        let with_more = [Step::Shift(10), Step::Soak(100), Step::CheckSlots(50), hook];
        for step in NAMES.iter().map(|(step, _)| *step).chain(with_more) {
            assert_ne!(step.to_string(), "unnamed");
            assert_eq!(step.to_string().parse::<Step>().unwrap(), step);
        }
        assert!("shift-101".parse::<Step>().is_err());
        assert!("7".parse::<Step>().is_err());
        assert!("before-lunch:clear-cache".parse::<Step>().is_err());
        assert!("before-deploy:".parse::<Step>().is_err());
    }
}
