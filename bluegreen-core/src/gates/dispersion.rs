//! How much more the bad requests vary between the slots than independent ones would.

use std::time::Duration;

use crate::gates::comparison::Pair;

/// A period lasts at least this long: shorter ones would cut bursts into pieces that look independent.
pub(super) const PERIOD: Duration = Duration::from_secs(15);

/// ... and holds at least this many bad requests, since fewer tell nothing about how they are spread.
const BAD_PER_PERIOD: u64 = 5;

/// The dispersion is not estimated from fewer periods than this.
const PERIODS: usize = 5;

/// What is taken for the dispersion until then: bursty errors are common, and a false alarm costs more than a delay.
const ASSUMED: f64 = 2.0;

/// Estimates the dispersion from periods of the whole operation.
#[derive(Debug, Default)]
pub(super) struct Dispersion {
    periods: Vec<Pair>,
    open: Pair,
    open_for: Duration,
}

impl Dispersion {
    /// Adds what both slots counted in the same interval, which lasted `span`.
    pub(super) fn add(&mut self, interval: Pair, span: Duration) {
        self.open_for += span;
        if interval.has_both() {
            self.open.add(interval);
        }
        if self.open_for >= PERIOD && self.open.bad() >= BAD_PER_PERIOD {
            self.periods.push(std::mem::take(&mut self.open));
            self.open_for = Duration::ZERO;
        }
    }

    /// Pearson's chi-squared of the periods about the rate ratio that fits them best, by its degrees of freedom; at
    /// least 1. About the fitted ratio and not about 1, since a release that is steadily worse is not bursty.
    pub(super) fn estimate(&self) -> f64 {
        if self.periods.len() < PERIODS {
            return ASSUMED;
        }
        let mut sum = Pair::default();
        self.periods.iter().for_each(|period| sum.add(*period));
        let ratio = sum.new.bad as f64 * sum.old.requests as f64 / (sum.old.bad as f64 * sum.new.requests as f64);
        let chi_squared: f64 = self
            .periods
            .iter()
            .filter_map(|period| {
                let (all, share) = (period.bad() as f64, period.share(ratio));
                let variance = all * share * (1.0 - share);
                // All bad requests on one slot: there is nothing that could vary.
                (variance > 0.0).then(|| (period.new.bad as f64 - all * share).powi(2) / variance)
            })
            .sum();
        (chi_squared / (self.periods.len() - 1) as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Counters;

    fn estimate(bad: impl IntoIterator<Item = (u64, u64)>) -> f64 {
        let mut dispersion = Dispersion::default();
        for (new, old) in bad {
            let counters = |bad| Counters { requests: 500, bad };
            dispersion.add(Pair { new: counters(new), old: counters(old) }, PERIOD);
        }
        dispersion.estimate()
    }

    #[test]
    fn few_periods_are_taken_for_bursty() {
        assert!((estimate([(5, 5); 4]) - ASSUMED).abs() < 1e-12);
        assert!((estimate([(1, 0); 24]) - ASSUMED).abs() < 1e-12, "too few bad requests for five periods");
    }

    #[test]
    fn even_errors_are_not_bursty_however_much_worse_the_new_slot_is() {
        for even in [[(10, 10); 10], [(20, 2); 10], [(20, 0); 10], [(0, 20); 10]] {
            assert!((estimate(even) - 1.0).abs() < 1e-12, "{even:?}");
        }
    }

    #[test]
    fn errors_that_come_on_one_slot_at_a_time_are_bursty() {
        assert!(estimate((0..10).map(|at| if at % 2 == 0 { (12, 0) } else { (0, 12) })) > 10.0);
    }
}
