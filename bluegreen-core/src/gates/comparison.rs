//! The new slot against the old one, under the same traffic at the same time.
//!
//! Of the bad requests of a block of time, let `s` be the share that the new slot had. When both have the same rate, its
//! mean is `theta_0 = n_new / (n_new + n_old)`, also when bad requests come in bursts, each on one slot, of any size; when
//! the new slot's rate is `r_j` times the old one's, it is `theta_j = r_j n_new / (r_j n_new + n_old)`. The evidence is
//!
//! ```text
//! E = sum_j w_j  product over blocks of  s theta_j / theta_0 + (1 - s) (1 - theta_j) / (1 - theta_0)
//! ```
//!
//! the capital of a gambler who bets on the new slot's share, as in [`evidence`](super::evidence). Whatever befalls both
//! slots alike cancels out, the split may change from block to block, and one block is one bet, whether it holds one bad
//! request or a thousand.

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
    /// Adds what both slots counted in the same block of time.
    pub(super) fn add(&mut self, block: Pair) {
        self.total.add(block);
        if !block.has_both() || block.bad() == 0 {
            return;
        }
        let (bad_new, bad_old, equal) = (block.new.bad as f64, block.old.bad as f64, block.share(1.0));
        let share = bad_new / (bad_new + bad_old);
        for (log, ratio) in self.logs.iter_mut().zip(RATIOS) {
            let worse = block.share(ratio);
            *log += (share * worse / equal + (1.0 - share) * (1.0 - worse) / (1.0 - equal)).ln();
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
    pub(super) fn log_evidence(&self) -> f64 {
        log_sum_exp(self.logs.iter().copied()) - (RATIOS.len() as f64).ln()
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

    fn compared(blocks: impl IntoIterator<Item = Pair>) -> Comparison {
        let mut comparison = Comparison::default();
        blocks.into_iter().for_each(|block| comparison.add(block));
        comparison
    }

    fn evidence(blocks: impl IntoIterator<Item = Pair>) -> f64 {
        compared(blocks).log_evidence()
    }

    #[test]
    fn what_befalls_both_slots_alike_is_no_evidence() {
        let alike = compared([pair((100, 10), (900, 90)); 20]);
        assert!(alike.log_evidence() < 1e-9 && !alike.seems_worse());
        assert!(evidence([]).abs() < 1e-12 && !compared([]).seems_worse());
        assert!(evidence([pair((100, 0), (900, 0))]).abs() < 1e-12);
    }

    #[test]
    fn a_rate_four_times_as_high_becomes_evidence_also_when_the_split_changes() {
        let tenth = [pair((200, 4), (1800, 9)); 15];
        let half = [pair((1000, 20), (1000, 5)); 15];
        assert!(evidence(tenth) > 5.0);
        assert!(evidence(tenth.into_iter().chain(half)) > 10.0);
        assert!(compared(tenth).seems_worse());
    }

    #[test]
    fn a_better_new_slot_is_no_evidence() {
        let better = compared([pair((1000, 1), (1000, 20)); 5]);
        assert!(better.log_evidence() < 0.0 && !better.seems_worse());
    }

    #[test]
    fn a_block_without_requests_on_both_slots_compares_nothing() {
        assert!(evidence([pair((0, 0), (100, 5)), pair((100, 100), (0, 0)), pair((0, 0), (0, 0))]).abs() < 1e-12);
    }

    #[test]
    fn errors_on_the_new_slot_alone_are_evidence_that_stays_a_number() {
        for intervals in [1, 10, 100_000] {
            let found = evidence((0..intervals).map(|_| pair((100, 10), (900, 0))));
            assert!(found.is_finite() && found > 1.0, "{intervals}: {found}");
        }
    }

    #[test]
    fn a_burst_is_one_piece_of_evidence_and_as_many_bad_requests_in_turn_are_more() {
        let burst = evidence([pair((200, 20), (1800, 0))]);
        assert!((burst - evidence([pair((200, 1), (1800, 0))])).abs() < 1e-9);
        assert!(evidence([pair((200, 1), (1800, 0)); 20]) > 10.0 * burst);
    }

    #[test]
    fn the_expected_evidence_of_a_burst_on_either_slot_is_one() {
        for (new, old) in [(200, 1800), (1000, 1000), (1800, 200)] {
            let share = new as f64 / (new + old) as f64;
            let on_new = evidence([pair((new, 20), (old, 0))]).exp();
            let on_old = evidence([pair((new, 0), (old, 20))]).exp();
            assert!((share * on_new + (1.0 - share) * on_old - 1.0).abs() < 1e-9);
        }
    }
}
