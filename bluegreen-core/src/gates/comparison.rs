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
//! as a logarithm, by the [dispersion](super::dispersion) of the data: bad requests that come in bursts are less
//! independent than they look (quasi-likelihood; McCullagh and Nelder, "Generalized Linear Models", section 4.5).

use crate::gates::evidence::log_sum_exp;
use crate::gates::tally::Sum;
use crate::metric::Counters;

/// How many times worse than the old slot the alternatives are.
const RATIOS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];

/// Two standard errors: chance alone is beyond that once in 44 looks.
const SEEMS_WORSE: f64 = 2.0;

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

    pub(super) fn bad(self) -> u64 {
        self.new.bad.saturating_add(self.old.bad)
    }

    /// Whether there is anything to compare.
    pub(super) fn has_both(self) -> bool {
        self.new.requests > 0 && self.old.requests > 0
    }

    /// The new slot's expected share of the bad requests, if its rate is `ratio` times the old one's.
    pub(super) fn share(self, ratio: f64) -> f64 {
        let new = ratio * self.new.requests as f64;
        new / (new + self.old.requests as f64)
    }
}

/// Collects evidence that the new slot is worse than the old one.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    total: Pair,
    logs: [f64; RATIOS.len()],
    surplus: f64,
    variance: f64,
}

impl Comparison {
    /// Adds what both slots counted in the same interval.
    pub(super) fn add(&mut self, interval: Pair) {
        self.total.add(interval);
        if !interval.has_both() {
            return;
        }
        let (bad_new, bad_old, equal) = (interval.new.bad as f64, interval.old.bad as f64, interval.share(1.0));
        for (log, ratio) in self.logs.iter_mut().zip(RATIOS) {
            let worse = interval.share(ratio);
            *log += bad_new * (worse / equal).ln() + bad_old * ((1.0 - worse) / (1.0 - equal)).ln();
        }
        let all = bad_new + bad_old;
        self.surplus += bad_new - all * equal;
        self.variance += all * equal * (1.0 - equal);
    }

    /// What both slots counted in all.
    pub(super) fn total(&self) -> Pair {
        self.total
    }

    /// The natural logarithm of the evidence that the new slot is worse; 0 without any bad request.
    pub(super) fn log_evidence(&self, dispersion: f64) -> f64 {
        let weight = -(RATIOS.len() as f64).ln();
        (weight + log_sum_exp(self.logs.iter().copied())) / dispersion
    }

    /// Whether it looks as if the new slot were worse: the score test, at this one moment. It is no evidence to act upon
    /// by itself.
    pub(super) fn seems_worse(&self) -> bool {
        self.surplus > SEEMS_WORSE * self.variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(new: (u64, u64), old: (u64, u64)) -> Pair {
        let counters = |(requests, bad)| Counters { requests, bad };
        Pair { new: counters(new), old: counters(old) }
    }

    fn compared(intervals: impl IntoIterator<Item = Pair>) -> Comparison {
        let mut comparison = Comparison::default();
        intervals.into_iter().for_each(|interval| comparison.add(interval));
        comparison
    }

    fn evidence(intervals: impl IntoIterator<Item = Pair>) -> f64 {
        compared(intervals).log_evidence(1.0)
    }

    #[test]
    fn what_befalls_both_slots_alike_is_no_evidence() {
        let alike = compared([pair((100, 10), (900, 90)); 20]);
        assert!(alike.log_evidence(1.0) < 0.0 && !alike.seems_worse());
        assert!(evidence([]).abs() < 1e-12 && !compared([]).seems_worse());
        assert!(evidence([pair((100, 0), (900, 0))]).abs() < 1e-12);
    }

    #[test]
    fn a_rate_four_times_as_high_becomes_evidence_also_when_the_split_changes() {
        let tenth = [pair((200, 4), (1800, 9)); 5];
        let half = [pair((1000, 20), (1000, 5)); 5];
        assert!(evidence(tenth) > 6.0);
        assert!(evidence(tenth.into_iter().chain(half)) > 20.0);
        assert!(compared(tenth).seems_worse());
    }

    #[test]
    fn a_better_new_slot_is_no_evidence() {
        let better = compared([pair((1000, 1), (1000, 20)); 5]);
        assert!(better.log_evidence(1.0) < 0.0 && !better.seems_worse());
    }

    #[test]
    fn an_interval_without_requests_on_both_slots_compares_nothing() {
        assert!(evidence([pair((0, 0), (100, 5)), pair((100, 100), (0, 0)), pair((0, 0), (0, 0))]).abs() < 1e-12);
    }

    #[test]
    fn errors_on_the_new_slot_alone_are_evidence_that_stays_a_number() {
        for intervals in [1, 10, 100_000] {
            let found = evidence((0..intervals).map(|_| pair((100, 10), (900, 0))));
            assert!(found.is_finite() && found > 3.0, "{intervals}: {found}");
        }
    }

    #[test]
    fn dispersion_weakens_the_evidence() {
        let comparison = compared([pair((200, 8), (1800, 9)); 5]);
        assert!((comparison.log_evidence(2.0) * 2.0 - comparison.log_evidence(1.0)).abs() < 1e-9);
    }
}
