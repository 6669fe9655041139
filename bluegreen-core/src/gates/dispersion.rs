//! How much more the bad requests vary from block to block than independent ones would.

use std::time::Duration;

use crate::gates::tally::Sum;
use crate::metric::Counters;

/// Blocks are put together to so long ones, to see what swings more slowly than a block lasts.
const LONG: Duration = Duration::from_secs(30);

/// Fewer long blocks tell nothing.
const LONG_BLOCKS: u64 = 5;

/// Estimates the dispersion of one slot from its blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Dispersion {
    blocks: Squares,
    long: Squares,
    open: Counters,
    open_for: Duration,
}

/// Pearson's chi-squared about the common rate, in sums.
#[derive(Debug, Clone, Default)]
struct Squares {
    blocks: u64,
    requests: f64,
    bad: f64,
    /// The sum of squares of bad requests, each by the requests of its block.
    squares: f64,
}

impl Dispersion {
    /// Adds a block, which lasted `span`.
    pub(super) fn add(&mut self, block: Counters, span: Duration) {
        self.blocks.add(block);
        self.open.add(block);
        self.open_for += span;
        if self.open_for >= LONG {
            self.long.add(std::mem::take(&mut self.open));
            self.open_for = Duration::ZERO;
        }
    }

    /// Pearson's chi-squared of the blocks about their common rate, by its degrees of freedom; at least 1, and 1 while
    /// there is nothing to learn from. A likelihood is divided by it, as a logarithm: quasi-likelihood (McCullagh and
    /// Nelder, "Generalized Linear Models", section 9.2). Of bursts it is their size.
    pub(super) fn estimate(&self) -> f64 {
        self.blocks.dispersion()
    }

    /// How many times more long blocks vary than short ones do; at least 1. It is 1 as long as blocks are independent of
    /// each other, bursts or not, and more when the rate swings: the method of batch means (Law, "Simulation Modeling and
    /// Analysis", section 9.5).
    pub(super) fn swing(&self) -> f64 {
        if self.long.blocks < LONG_BLOCKS { 1.0 } else { (self.long.dispersion() / self.blocks.dispersion()).max(1.0) }
    }
}

impl Squares {
    fn add(&mut self, block: Counters) {
        if block.requests == 0 {
            return;
        }
        let (requests, bad) = (block.requests as f64, block.bad as f64);
        self.blocks += 1;
        self.requests += requests;
        self.bad += bad;
        self.squares += bad * bad / requests;
    }

    fn dispersion(&self) -> f64 {
        if self.blocks < 2 || self.bad == 0.0 {
            return 1.0;
        }
        let chi_squared = self.squares * self.requests / self.bad - self.bad;
        (chi_squared / (self.blocks - 1) as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bad: impl IntoIterator<Item = u64>) -> Dispersion {
        let mut dispersion = Dispersion::default();
        let span = Duration::from_secs(3);
        bad.into_iter().for_each(|bad| dispersion.add(Counters { requests: 500, bad }, span));
        dispersion
    }

    fn estimate(bad: impl IntoIterator<Item = u64>) -> f64 {
        of(bad).estimate()
    }

    #[test]
    fn nothing_to_learn_from_is_taken_for_independent() {
        for bad in [&[][..], &[5], &[0; 50]] {
            assert!((estimate(bad.iter().copied()) - 1.0).abs() < 1e-12, "{bad:?}");
        }
    }

    #[test]
    fn even_errors_are_not_bursty_however_many() {
        for bad in [1, 10, 500] {
            assert!((estimate([bad; 20]) - 1.0).abs() < 1e-12, "{bad}");
        }
    }

    #[test]
    fn a_rate_that_rises_and_falls_swings_and_bursts_do_not() {
        let waves = of((0..100).map(|at| if at / 10 % 2 == 0 { 10 } else { 2 }));
        assert!(waves.swing() > 5.0, "{}", waves.swing());
        let mut rng = fastrand::Rng::with_seed(1);
        let bursts = of((0..1000).map(|_| if rng.u8(..20) == 0 { 20 } else { 0 }));
        assert!(bursts.estimate() > 15.0 && bursts.swing() < 1.5, "{}", bursts.swing());
        assert!((of([10, 2, 2, 2]).swing() - 1.0).abs() < 1e-12, "too few to tell");
    }

    #[test]
    fn the_dispersion_of_bursts_is_their_size() {
        for size in [5, 20] {
            let bursts = (0..200).map(|at| if at % 20 == 0 { size } else { 0 });
            assert!((estimate(bursts) / size as f64 - 1.0).abs() < 0.1, "{size}");
        }
    }
}
