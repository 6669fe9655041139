//! From cumulative counters to what happened between two readings.

use std::collections::BTreeMap;

use crate::metric::Counters;

/// Remembers the last reading of each series of one slot.
#[derive(Debug, Default)]
pub(super) struct Tally {
    last: BTreeMap<String, Counters>,
}

impl Tally {
    /// What was counted since the last reading; `None` for the first one, which only says where counting begins.
    ///
    /// A series counts from its own first reading on: what it counted before that may be older than the window.
    pub(super) fn read(&mut self, now: &BTreeMap<String, Counters>) -> Option<Counters> {
        let first = self.last.is_empty();
        let mut sum = Counters::default();
        for (series, counters) in now {
            if let Some(before) = self.last.insert(series.clone(), *counters) {
                sum.add(since(before, *counters));
            }
        }
        (!first).then_some(sum)
    }
}

/// A counter that went down was set back by a restart, so that all it shows came since then.
fn since(before: Counters, now: Counters) -> Counters {
    if now.requests < before.requests || now.bad < before.bad {
        return now;
    }
    Counters { requests: now.requests - before.requests, bad: now.bad - before.bad }
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
        assert_eq!(tally.read(&reading(&[("a", 1000, 30)])), None);
        assert_eq!(tally.read(&reading(&[("a", 1010, 31)])), Some(counters(10, 1)));
    }

    #[test]
    fn a_restart_counts_from_zero_and_leaves_the_other_series_alone() {
        let mut tally = Tally::default();
        tally.read(&reading(&[("a", 1000, 30), ("b", 500, 0)]));
        assert_eq!(tally.read(&reading(&[("a", 7, 2), ("b", 510, 1)])), Some(counters(17, 3)));
        assert_eq!(tally.read(&reading(&[("a", 9, 1), ("b", 510, 1)])), Some(counters(9, 1)), "by the bad ones alone");
    }

    #[test]
    fn a_series_that_appears_later_never_brings_in_what_it_counted_before() {
        let mut tally = Tally::default();
        tally.read(&reading(&[("a", 10, 0)]));
        assert_eq!(tally.read(&reading(&[("a", 11, 0), ("b", 9000, 90)])), Some(counters(1, 0)));
        assert_eq!(tally.read(&reading(&[("a", 11, 0), ("b", 9001, 91)])), Some(counters(1, 1)));
    }

    #[test]
    fn a_series_that_is_missing_for_a_while_is_neither_a_restart_nor_lost() {
        let mut tally = Tally::default();
        tally.read(&reading(&[("a", 10, 0), ("b", 10, 0)]));
        assert_eq!(tally.read(&reading(&[("a", 12, 0)])), Some(counters(2, 0)));
        assert_eq!(tally.read(&reading(&[("a", 12, 0), ("b", 15, 1)])), Some(counters(5, 1)));
    }
}
