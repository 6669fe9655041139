use std::collections::BTreeMap;

use bluegreen_core::Counters;

/// Counts of one page that only ever grow, made from readings of its series.
///
/// Each series is followed by itself, so that the restart of one worker is not lost in a sum. And a series that is new
/// on a page that was read before counts from zero: labels such as `status="500"` appear with the first request that
/// has them, and that first one must count.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    last: BTreeMap<String, Counters>,
    total: Counters,
}

impl Growth {
    /// What was counted so far.
    pub(crate) fn total(&self) -> Counters {
        self.total
    }

    /// Enters a reading, and returns what was counted in all.
    pub(crate) fn enter(&mut self, reading: BTreeMap<String, Counters>) -> Counters {
        for (series, now) in reading {
            let before = self.last.insert(series, now).unwrap_or_default();
            // What went down was set back by a restart, so all it shows came since then.
            let restarted = now.requests < before.requests || now.bad < before.bad;
            let before = if restarted { Counters::default() } else { before };
            self.total.requests = self.total.requests.saturating_add(now.requests - before.requests);
            self.total.bad = self.total.bad.saturating_add(now.bad - before.bad);
        }
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(series: &[(&str, u64, u64)]) -> BTreeMap<String, Counters> {
        let counters = |requests, bad| Counters { requests, bad };
        series.iter().map(|(name, requests, bad)| ((*name).to_owned(), counters(*requests, *bad))).collect()
    }

    #[test]
    fn the_first_request_of_a_new_series_counts() {
        let mut growth = Growth::default();
        assert_eq!(growth.enter(reading(&[("200", 10, 0)])), Counters { requests: 10, bad: 0 });
        assert_eq!(growth.enter(reading(&[("200", 10, 0), ("500", 1, 1)])), Counters { requests: 11, bad: 1 });
    }

    #[test]
    fn the_restart_of_one_worker_counts_from_zero_and_leaves_the_others_alone() {
        let mut growth = Growth::default();
        growth.enter(reading(&[("worker 1", 1000, 30), ("worker 2", 500, 5)]));
        let after = growth.enter(reading(&[("worker 1", 7, 2), ("worker 2", 510, 5)]));
        assert_eq!(after, Counters { requests: 1500 + 7 + 10, bad: 35 + 2 });
    }

    #[test]
    fn a_series_that_is_missing_for_a_while_is_not_counted_twice() {
        let mut growth = Growth::default();
        growth.enter(reading(&[("a", 10, 1), ("b", 10, 1)]));
        growth.enter(reading(&[("a", 10, 1)]));
        assert_eq!(growth.enter(reading(&[("a", 10, 1), ("b", 11, 1)])), Counters { requests: 21, bad: 2 });
    }

    proptest! {
        /// Traffic on three series of two workers, each of which restarts now and then; whatever is counted between
        /// two readings is below what a counter had before, so every restart can be seen.
        #[test]
        fn every_request_is_counted_once_whatever_restarts(steps in prop::collection::vec((0..3_usize, 1..5_u64, prop::bool::ANY, prop::bool::weighted(0.2)), 1..60)) {
            let (mut growth, mut now, mut sent) = (Growth::default(), [Counters::default(); 3], Counters::default());
            for (series, requests, bad, restart) in steps {
                let counters = &mut now[series];
                if restart && counters.requests > 5 {
                    *counters = Counters::default();
                }
                let bad = if bad { requests } else { 0 };
                *counters = Counters { requests: counters.requests + requests, bad: counters.bad + bad };
                sent = Counters { requests: sent.requests + requests, bad: sent.bad + bad };
                let named = now.iter().enumerate().filter(|(_, counters)| counters.requests > 0);
                let read = growth.enter(named.map(|(index, counters)| (index.to_string(), *counters)).collect());
                prop_assert_eq!(read, sent);
            }
        }
    }
}
