//! The new slot against the old one, under the same traffic at the same time.
//!
//! Of the bad requests of an interval, `x_new` on the new slot and `x_old` on the old one, the new slot's share is
//! binomial with `theta_0 = n_new / (n_new + n_old)` when both have the same rate, and with
//! `theta_j = r_j n_new / (r_j n_new + n_old)` when the new slot's rate is `r_j` times the old one's. The evidence is
//!
//! ```text
//! E = sum_j w_j  product over intervals of  (theta_j / theta_0)^x_new ((1 - theta_j) / (1 - theta_0))^x_old
//! ```
//!
//! Whatever befalls both slots alike cancels out, and the split may change from interval to interval. It is divided,
//! as a logarithm, by the dispersion of the data: bad requests that come in bursts are less independent than they look
//! (quasi-likelihood; McCullagh and Nelder, "Generalized Linear Models", section 4.5).

use std::time::Duration;

use crate::gates::evidence::log_sum_exp;
use crate::gates::tally::Sum;
use crate::metric::Counters;

/// How many times worse than the old slot the alternatives are.
const RATIOS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];

/// A period for the estimate of the dispersion lasts at least this long: shorter ones would cut bursts into pieces that
/// look independent.
const PERIOD: Duration = Duration::from_secs(15);

/// ... and holds at least this many bad requests, since fewer tell nothing about how they are spread.
const BAD_PER_PERIOD: u64 = 5;

/// The dispersion is not estimated from fewer periods than this.
const PERIODS: usize = 5;

/// What is taken for the dispersion until then: bursty errors are common, and a false alarm costs more than a delay.
const ASSUMED_DISPERSION: f64 = 2.0;

/// The counts of both slots over the same time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pair {
    pub(super) new: Counters,
    pub(super) old: Counters,
}

impl Pair {
    pub(super) fn add(&mut self, more: Pair) {
        self.new.add(more.new);
        self.old.add(more.old);
    }

    fn bad(self) -> u64 {
        self.new.bad.saturating_add(self.old.bad)
    }

    fn has_both(self) -> bool {
        self.new.requests > 0 && self.old.requests > 0
    }

    /// The new slot's expected share of the bad requests, if its rate is `ratio` times the old one's.
    fn share(self, ratio: f64) -> f64 {
        let new = ratio * self.new.requests as f64;
        new / (new + self.old.requests as f64)
    }
}

/// Collects evidence that the new slot is worse than the old one.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    total: Pair,
    logs: [f64; RATIOS.len()],
    periods: Vec<Pair>,
    open: Pair,
    open_for: Duration,
}

impl Comparison {
    /// Adds what both slots counted in the same interval, which lasted `span`.
    pub(super) fn add(&mut self, interval: Pair, span: Duration) {
        self.total.add(interval);
        self.open_for += span;
        if interval.has_both() {
            self.open.add(interval);
            let (bad_new, bad_old) = (interval.new.bad as f64, interval.old.bad as f64);
            let equal = interval.share(1.0);
            for (log, ratio) in self.logs.iter_mut().zip(RATIOS) {
                let worse = interval.share(ratio);
                *log += bad_new * (worse / equal).ln() + bad_old * ((1.0 - worse) / (1.0 - equal)).ln();
            }
        }
        if self.open_for >= PERIOD && self.open.bad() >= BAD_PER_PERIOD {
            self.periods.push(std::mem::take(&mut self.open));
            self.open_for = Duration::ZERO;
        }
    }

    /// What both slots counted in all.
    pub(super) fn total(&self) -> Pair {
        self.total
    }

    /// The natural logarithm of the evidence that the new slot is worse; 0 without any bad request.
    pub(super) fn log_evidence(&self) -> f64 {
        let weight = -(RATIOS.len() as f64).ln();
        (weight + log_sum_exp(self.logs.iter().copied())) / self.dispersion()
    }

    /// Pearson's chi-squared of the periods about the rate ratio that fits them best, by its degrees of freedom. About
    /// the fitted ratio and not about 1, since a release that is steadily worse is not bursty.
    fn dispersion(&self) -> f64 {
        if self.periods.len() < PERIODS {
            return ASSUMED_DISPERSION;
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

    fn pair(new: (u64, u64), old: (u64, u64)) -> Pair {
        let counters = |(requests, bad)| Counters { requests, bad };
        Pair { new: counters(new), old: counters(old) }
    }

    fn evidence(intervals: impl IntoIterator<Item = Pair>) -> f64 {
        let mut comparison = Comparison::default();
        intervals.into_iter().for_each(|interval| comparison.add(interval, PERIOD));
        comparison.log_evidence()
    }

    #[test]
    fn what_befalls_both_slots_alike_is_no_evidence() {
        assert!(evidence((0..20).map(|_| pair((100, 10), (900, 90)))) < 0.0);
        assert!(evidence([]).abs() < 1e-12);
        assert!(evidence([pair((100, 0), (900, 0))]).abs() < 1e-12);
    }

    #[test]
    fn a_rate_four_times_as_high_becomes_evidence_also_when_the_split_changes() {
        let tenth = (0..5).map(|_| pair((200, 4), (1800, 9)));
        let half = (0..5).map(|_| pair((1000, 20), (1000, 5)));
        assert!(evidence(tenth.clone()) > 3.0);
        assert!(evidence(tenth.chain(half)) > 10.0);
    }

    #[test]
    fn an_interval_without_requests_on_both_slots_compares_nothing() {
        assert!(evidence([pair((0, 0), (100, 5)), pair((100, 100), (0, 0)), pair((0, 0), (0, 0))]).abs() < 1e-12);
    }

    #[test]
    fn bursts_count_less_than_the_same_number_of_even_errors() {
        let even = (0..10).map(|_| pair((500, 10), (500, 5)));
        let bursts = (0..10).map(|at| if at % 2 == 0 { pair((500, 20), (500, 0)) } else { pair((500, 0), (500, 10)) });
        assert!(evidence(even) > 3.0);
        assert!(evidence(bursts) < 3.0);
    }

    #[test]
    fn errors_on_the_new_slot_alone_are_evidence_at_any_length() {
        for periods in 1..20 {
            let found = evidence((0..periods).map(|_| pair((100, 10), (900, 0))));
            assert!(found.is_finite() && found > 3.0, "{periods}: {found}");
        }
    }
}
