use std::collections::BTreeMap;

use bluegreen_core::{Continuity, Counters, Doubt};

/// Counts of one page that only ever grow, made from readings of its series.
///
/// A series that is new on a page that was read before counts from zero: labels such as `status="500"` appear with the
/// first request that has them, and that first one must count.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    series: Continuity,
    total: Counters,
    doubt: Option<Doubt>,
}

impl Growth {
    /// What was counted so far.
    pub(crate) fn total(&self) -> Counters {
        self.total
    }

    /// Why it cannot be trusted, if so.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Whether nothing was entered yet.
    pub(crate) fn is_new(&self) -> bool {
        self.series.is_new()
    }

    /// Enters a reading, and when the process started, if the page says so.
    pub(crate) fn enter(&mut self, mut reading: BTreeMap<String, Counters>, started: Option<f64>) {
        let growth = self.series.read(&reading, started);
        self.doubt = growth.doubt;
        for (series, grown) in growth.grown {
            let more = grown.or_else(|| reading.remove(&series)).unwrap_or_default();
            self.total.requests = self.total.requests.saturating_add(more.requests);
            self.total.bad = self.total.bad.saturating_add(more.bad);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entered(growth: &mut Growth, reading: BTreeMap<String, Counters>) -> Counters {
        growth.enter(reading, None);
        growth.total()
    }

    fn reading(series: &[(&str, u64, u64)]) -> BTreeMap<String, Counters> {
        let counters = |requests, bad| Counters { requests, bad };
        series.iter().map(|(name, requests, bad)| ((*name).to_owned(), counters(*requests, *bad))).collect()
    }

    #[test]
    fn the_first_request_of_a_new_series_counts() {
        let mut growth = Growth::default();
        assert_eq!(entered(&mut growth, reading(&[("200", 10, 0)])), Counters { requests: 10, bad: 0 });
        assert_eq!(entered(&mut growth, reading(&[("200", 10, 0), ("500", 1, 1)])), Counters { requests: 11, bad: 1 });
    }

    #[test]
    fn the_restart_of_one_worker_counts_from_zero_and_leaves_the_others_alone() {
        let mut growth = Growth::default();
        entered(&mut growth, reading(&[("worker 1", 1000, 30), ("worker 2", 500, 5)]));
        let after = entered(&mut growth, reading(&[("worker 1", 7, 2), ("worker 2", 510, 5)]));
        assert_eq!(after, Counters { requests: 1500 + 7 + 10, bad: 35 + 2 });
    }

    #[test]
    fn a_series_that_is_missing_for_a_while_is_not_counted_twice() {
        let mut growth = Growth::default();
        entered(&mut growth, reading(&[("a", 10, 1), ("b", 10, 1)]));
        entered(&mut growth, reading(&[("a", 10, 1)]));
        assert_eq!(entered(&mut growth, reading(&[("a", 10, 1), ("b", 11, 1)])), Counters { requests: 21, bad: 2 });
    }

    proptest! {
        /// Traffic on three series of a process that restarts now and then, and says when it started.
        #[test]
        fn every_request_is_counted_once_whatever_restarts(steps in prop::collection::vec((0..3_usize, 1..5_u64, prop::bool::ANY, prop::bool::weighted(0.2)), 1..60)) {
            let (mut growth, mut now, mut sent) = (Growth::default(), [Counters::default(); 3], Counters::default());
            let mut started = 10.0;
            for (series, requests, bad, restart) in steps {
                if restart {
                    started += 30.0;
                    now = Default::default();
                }
                let counters = &mut now[series];
                let bad = if bad { requests } else { 0 };
                *counters = Counters { requests: counters.requests + requests, bad: counters.bad + bad };
                sent = Counters { requests: sent.requests + requests, bad: sent.bad + bad };
                let named = now.iter().enumerate().filter(|(_, counters)| counters.requests > 0);
                growth.enter(named.map(|(index, counters)| (index.to_string(), *counters)).collect(), Some(started));
                prop_assert_eq!((growth.total(), growth.doubt()), (sent, None));
            }
        }
    }
}
