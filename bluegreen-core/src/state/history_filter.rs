use crate::state::HistoryEntry;
use crate::types::{Timestamp, Version};

/// Which operations of a history are wanted. What is not set does not matter.
///
/// ```
/// use bluegreen_core::state::HistoryFilter;
///
/// let mut filter = HistoryFilter::default();
/// filter.by = Some("ann".to_owned());
/// filter.outcome = Some("rolled-back".to_owned());
/// # let history: Vec<bluegreen_core::state::HistoryEntry> = Vec::new();
/// for entry in history.iter().filter(|entry| filter.matches(entry)) {
///     println!("{entry}");
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryFilter {
    /// The version that it was about.
    pub version: Option<Version>,
    /// The person who ran it: all of [`HistoryEntry::by`], or its part before the `@`.
    pub by: Option<String>,
    /// How it ended, by one of [`Outcome::NAMES`](crate::state::Outcome::NAMES).
    pub outcome: Option<String>,
    /// The moment since which it began.
    pub since: Option<Timestamp>,
}

impl HistoryFilter {
    /// Whether this one is wanted.
    pub fn matches(&self, entry: &HistoryEntry) -> bool {
        let person = entry.by.split('@').next().unwrap_or_default();
        self.version.as_ref().is_none_or(|version| entry.version.as_ref() == Some(version))
            && self.by.as_ref().is_none_or(|by| *by == entry.by || by == person)
            && self.outcome.as_ref().is_none_or(|outcome| outcome == entry.outcome.name())
            && self.since.is_none_or(|since| entry.started >= since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::Map;

    use super::*;
    use crate::state::{OperationKind, Outcome};
    use crate::types::OperationId;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_system(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn each_condition_holds_by_itself_and_all_hold_together() {
        let entry = HistoryEntry {
            id: OperationId::new("deploy-1").unwrap(),
            kind: OperationKind::Deploy,
            by: "ann@web1 (pid 7)".to_owned(),
            version: Some(Version::new("2.0").unwrap()),
            slot: None,
            started: at(1000),
            millis: 5,
            outcome: Outcome::RolledBack { cause: "bad".to_owned() },
            unknown: Map::new(),
        };
        type Set = fn(&mut HistoryFilter);
        let wanted: [Set; 5] = [
            |filter| filter.version = Some(Version::new("2.0").unwrap()),
            |filter| filter.by = Some("ann".to_owned()),
            |filter| filter.by = Some("ann@web1 (pid 7)".to_owned()),
            |filter| filter.outcome = Some("rolled-back".to_owned()),
            |filter| filter.since = Some(at(1000)),
        ];
        let unwanted: [Set; 4] = [
            |filter| filter.version = Some(Version::new("2.1").unwrap()),
            |filter| filter.by = Some("an".to_owned()),
            |filter| filter.outcome = Some("succeeded".to_owned()),
            |filter| filter.since = Some(at(1001)),
        ];
        let mut all = HistoryFilter::default();
        assert!(all.matches(&entry));
        for set in wanted {
            let mut filter = HistoryFilter::default();
            set(&mut filter);
            assert!(filter.matches(&entry), "{filter:?}");
            set(&mut all);
            assert!(all.matches(&entry), "{all:?}");
        }
        for set in unwanted {
            let mut filter = all.clone();
            set(&mut filter);
            assert!(!filter.matches(&entry), "{filter:?}");
        }
    }
}
