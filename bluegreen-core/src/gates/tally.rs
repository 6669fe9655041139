//! From cumulative counters to what happened between two readings.

use std::collections::BTreeMap;

use crate::continuity::{Continuity, Doubt};
use crate::metric::Counters;

/// Remembers the last reading of each series of one slot.
#[derive(Debug, Default)]
pub(super) struct Tally(Continuity);

impl Tally {
    /// What was counted since the last reading, `None` for the first one, which only says where counting begins; and why
    /// that cannot be trusted, if so.
    ///
    /// A series counts from its own first reading on: what it counted before that may be older than the window.
    pub(super) fn read(&mut self, now: &BTreeMap<String, Counters>) -> (Option<Counters>, Option<Doubt>) {
        let first = self.0.is_new();
        let growth = self.0.read(now, None);
        let mut sum = Counters::default();
        growth.grown.into_values().flatten().for_each(|grown| sum.add(grown));
        ((!first).then_some(sum), growth.doubt)
    }
}

/// Sums of counts.
pub(super) trait Sum {
    fn add(&mut self, more: Counters);
}

impl Sum for Counters {
    fn add(&mut self, more: Counters) {
        self.requests = self.requests.saturating_add(more.requests);
        self.bad = self.bad.saturating_add(more.bad);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(series: &[(&str, u64, u64)]) -> BTreeMap<String, Counters> {
        series.iter().map(|(name, requests, bad)| ((*name).into(), counters(*requests, *bad))).collect()
    }

    fn counters(requests: u64, bad: u64) -> Counters {
        Counters { requests, bad }
    }

    #[test]
    fn the_first_reading_counts_nothing() {
        let mut tally = Tally::default();
        assert_eq!(tally.read(&reading(&[("a", 1000, 30)])), (None, None));
        assert_eq!(tally.read(&reading(&[("a", 1010, 31)])).0, Some(counters(10, 1)));
    }

    #[test]
    fn a_restart_counts_from_zero_under_doubt_and_leaves_the_other_series_alone() {
        let mut tally = Tally::default();
        tally.read(&reading(&[("a", 1000, 30), ("b", 500, 0)]));
        let (counted, doubt) = tally.read(&reading(&[("a", 7, 2), ("b", 510, 1)]));
        assert_eq!(counted, Some(counters(17, 3)));
        assert!(matches!(doubt, Some(Doubt::Restart { .. })));
    }

    #[test]
    fn a_series_that_appears_later_never_brings_in_what_it_counted_before() {
        let mut tally = Tally::default();
        tally.read(&reading(&[("a", 10, 0)]));
        assert_eq!(tally.read(&reading(&[("a", 11, 0), ("b", 9000, 90)])).0, Some(counters(1, 0)));
        assert_eq!(tally.read(&reading(&[("a", 11, 0), ("b", 9001, 91)])).0, Some(counters(1, 1)));
    }

    #[test]
    fn a_series_that_is_missing_for_a_while_is_neither_a_restart_nor_lost() {
        let mut tally = Tally::default();
        tally.read(&reading(&[("a", 10, 0), ("b", 10, 0)]));
        assert_eq!(tally.read(&reading(&[("a", 12, 0)])).0, Some(counters(2, 0)));
        assert_eq!(tally.read(&reading(&[("a", 12, 0), ("b", 15, 1)])).0, Some(counters(5, 1)));
    }
}
