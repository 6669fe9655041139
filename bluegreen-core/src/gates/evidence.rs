//! How strongly counts speak against "the rate is at its limit", in a way that may be looked at at any time.
//!
//! Bad requests come in bursts, and pauses make all requests slow at once. So the unit of [`AboveLimit`] is not the
//! request but the block of time, and nothing is assumed about what happens within one. With `n_i` requests in a block,
//! `x_i` of them bad, a limit `L`, and stakes `g_j` of weight `w_j`:
//!
//! ```text
//! E = sum_j  w_j  product over blocks of  (1 + g_j x_i) / (1 + g_j L n_i)
//! ```
//!
//! It is the capital of a gambler who bets on the limit being exceeded. As long as the mean of each block is within the
//! limit, whatever came before, no bet is in his favour: the capital is a supermartingale that starts at 1, so by Ville's
//! inequality (1939) the probability that it *ever* reaches `1 / alpha` is at most `alpha`, however often one looks. See
//! Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B, 2024); only that counts
//! are not negative is needed here. A burst of any size counts once, since a bet is linear in `x_i`; for independent
//! requests it is close to the likelihood ratio `r^x e^(-(r - 1) L n)`, of which it is the first order, with
//! `g = r - 1`.
//!
//! [`BelowLimit`] cannot do without an assumption: no number of good requests rules out a burst that is rarer than that.
//! It is a mixture of likelihood ratios of independent requests,
//!
//! ```text
//! E(X, N) = sum_j  w_j (p_j / L)^X ((1 - p_j) / (1 - L))^(N - X)
//! ```
//!
//! (Robbins, "Statistical methods related to the law of the iterated logarithm", 1970), and
//! [`RateGate`](super::RateGate) divides its logarithm by the dispersion that was seen.

use crate::error::{Error, Result};
use crate::metric::Counters;

/// The alternatives by which a rate is shown to be above its limit, as multiples of the limit.
///
/// From slightly to grossly worse, so that whatever the true rate is, one of them is near it: a release at ten times
/// the limit is found after a handful of bad requests, one at twice the limit is found in the end.
pub const FAIL_GRID: [f64; 6] = [1.5, 2.0, 3.0, 5.0, 10.0, 20.0];

/// The alternatives by which a rate is shown to be below its limit, as multiples of the limit.
///
/// The first stands for "practically never": it makes a release without any bad request pass soonest.
pub const PASS_GRID: [f64; 5] = [1e-4, 0.1, 0.25, 0.5, 0.7];

/// The alternatives for a limit of several percent, such as that of slow requests, as multiples of the limit.
///
/// Rates just below such a limit are normal there and evidence comes quickly, so one alternative more lies close to it.
pub const PASS_GRID_LATENCY: [f64; 6] = [1e-4, 0.1, 0.25, 0.5, 0.7, 0.85];

/// The logarithm that evidence must reach, so that it does so by chance with at most this probability.
pub fn log_threshold(probability: f64) -> f64 {
    -probability.ln()
}

/// Evidence that a rate is above its limit, from blocks of time within which bad requests may depend on each other in any
/// way.
///
/// ```
/// use bluegreen_core::Counters;
/// use bluegreen_core::gates::{AboveLimit, log_threshold};
///
/// let errors = AboveLimit::new(0.001)?;
/// let block = |bad| Counters { requests: 200, bad };
/// assert!(errors.log_evidence([block(5)]) < log_threshold(0.05), "one burst");
/// assert!(errors.log_evidence([block(2), block(1), block(2)]) >= log_threshold(0.05), "again and again");
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AboveLimit {
    limit: f64,
}

impl AboveLimit {
    /// Evidence against rates up to `limit`, by the [`FAIL_GRID`].
    ///
    /// # Errors
    /// `Config` unless the limit is a number between 0 and 1, both excluded.
    pub fn new(limit: f64) -> Result<Self> {
        proper("the limit", limit)?;
        Ok(Self::at(limit))
    }

    /// For a limit that is known to be proper.
    pub(super) fn at(limit: f64) -> Self {
        Self { limit }
    }

    /// The natural logarithm of the evidence; 0 without any block.
    pub fn log_evidence(&self, blocks: impl IntoIterator<Item = Counters>) -> f64 {
        let mut capital = Capital::default();
        blocks.into_iter().for_each(|block| capital.add(self, block));
        capital.log_evidence()
    }

    /// What one block adds to the logarithm of each stake's capital.
    ///
    /// A stake for a likelihood ratio of `r` is `r - 1` per bad request. Where more than one is expected, it is as much
    /// per expected block: the capital then cannot be lost to one block that had none by chance.
    fn returns(&self, block: Counters) -> [f64; FAIL_GRID.len()] {
        let (bad, expected) = (block.bad as f64, self.limit * block.requests as f64);
        FAIL_GRID.map(|multiple| {
            let stake = (multiple - 1.0) / expected.max(1.0);
            (stake * bad).ln_1p() - (stake * expected).ln_1p()
        })
    }
}

/// What a gambler with each of the stakes has made of 1, as logarithms.
#[derive(Debug, Clone, Default)]
pub(super) struct Capital([f64; FAIL_GRID.len()]);

impl Capital {
    /// Bets on a block.
    pub(super) fn add(&mut self, test: &AboveLimit, block: Counters) {
        self.0.iter_mut().zip(test.returns(block)).for_each(|(log, more)| *log += more);
    }

    /// The logarithm of the mean.
    pub(super) fn log_evidence(&self) -> f64 {
        log_sum_exp(self.0.iter().copied()) - (FAIL_GRID.len() as f64).ln()
    }
}

/// The strongest evidence that a rate has been above its limit since some moment, whatever came before it: Page's
/// cumulative sum (1954). It has no bounded error probability. It is for the old slot, where being suspected only
/// delays a verdict on the new one.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble {
    logs: [f64; FAIL_GRID.len()],
    highest: f64,
}

impl Trouble {
    /// Adds a block.
    pub(super) fn add(&mut self, test: &AboveLimit, block: Counters) {
        self.logs.iter_mut().zip(test.returns(block)).for_each(|(log, more)| *log = (*log + more).max(0.0));
        self.highest = self.highest.max(self.now());
    }

    /// The logarithm of the evidence at present; never below 0.
    pub(super) fn now(&self) -> f64 {
        self.logs.iter().copied().fold(0.0, f64::max)
    }

    /// The strongest it ever was.
    pub(super) fn highest(&self) -> f64 {
        self.highest
    }
}

/// Collects evidence that a rate is below its limit.
///
/// ```
/// use bluegreen_core::gates::{BelowLimit, PASS_GRID};
///
/// let errors = BelowLimit::new(0.001, &PASS_GRID)?;
/// assert_eq!(errors.requests_to_pass(0, 0.05), 3772);
/// assert_eq!(errors.requests_to_pass(1, 0.05), 6708);
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BelowLimit(Mixture);

impl BelowLimit {
    /// Evidence against rates from `limit` up, by a grid such as [`PASS_GRID`]: multiples of the limit.
    ///
    /// # Errors
    /// `Config` unless the limit, and every multiple of the grid, is a number between 0 and 1, both excluded.
    pub fn new(limit: f64, grid: &[f64]) -> Result<Self> {
        proper("the limit", limit)?;
        grid.iter().try_for_each(|multiple| proper("a multiple of the pass grid", *multiple))?;
        if grid.is_empty() {
            return Err(Error::config("the pass grid is empty"));
        }
        Ok(Self::at(limit, grid))
    }

    /// For a limit and a grid that are known to be proper.
    pub(super) fn at(limit: f64, grid: &[f64]) -> Self {
        let rates: Vec<_> = grid.iter().map(|multiple| multiple * limit).collect();
        Self(Mixture::new(limit, &rates))
    }

    /// The natural logarithm of the evidence; 0 without any request.
    pub fn log_evidence(&self, counts: Counters) -> f64 {
        self.0.log_evidence(counts)
    }

    /// How many requests a pass takes in all when `bad` of them are bad, if a bad rate may pass with `probability`.
    pub fn requests_to_pass(&self, bad: u64, probability: f64) -> u64 {
        self.requests_to_reach(bad, log_threshold(probability))
    }

    /// ... until the log evidence is at this threshold.
    pub(super) fn requests_to_reach(&self, bad: u64, threshold: f64) -> u64 {
        let enough = |requests| self.log_evidence(Counters { requests, bad }) >= threshold;
        let (mut too_few, mut plenty) = (bad, bad.max(1));
        while !enough(plenty) {
            too_few = plenty;
            match plenty.checked_mul(2) {
                Some(doubled) => plenty = doubled,
                None => return u64::MAX,
            }
        }
        // The evidence grows with each good request, so that halving finds the first number that is enough.
        while too_few < plenty {
            let middle = u64::midpoint(too_few, plenty);
            if enough(middle) { plenty = middle } else { too_few = middle + 1 }
        }
        plenty
    }
}

/// Refuses what is no probability, or a trivial one.
pub(super) fn proper(what: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::config(format!("{what} must lie between 0 and 1, both excluded, and {value} does not")))
}

/// The mixture of likelihood ratios, equal weights, in logarithms.
#[derive(Debug, Clone)]
struct Mixture {
    log_weight: f64,
    alternatives: Vec<Alternative>,
}

/// What one request adds to the log likelihood ratio of an alternative.
#[derive(Debug, Clone, Copy)]
struct Alternative {
    bad: f64,
    good: f64,
}

impl Mixture {
    fn new(limit: f64, rates: &[f64]) -> Self {
        let alternatives = rates
            .iter()
            .map(|rate| Alternative { bad: (rate / limit).ln(), good: (-rate).ln_1p() - (-limit).ln_1p() })
            .collect();
        Self { log_weight: -(rates.len() as f64).ln(), alternatives }
    }

    fn log_evidence(&self, counts: Counters) -> f64 {
        self.log_weight + log_sum_exp(self.logs(counts))
    }

    /// The log likelihood ratio of each alternative.
    fn logs(&self, counts: Counters) -> impl Iterator<Item = f64> + Clone {
        let bad = counts.bad as f64;
        // Two counters read one after the other may disagree for a moment.
        let good = counts.requests.saturating_sub(counts.bad) as f64;
        self.alternatives.iter().map(move |each| bad * each.bad + good * each.good)
    }
}

/// `ln(sum(exp(x)))` that neither overflows nor underflows.
pub(super) fn log_sum_exp(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    largest + logs.map(|log| (log - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence_above(limit: f64, blocks: impl IntoIterator<Item = (u64, u64)>) -> f64 {
        let blocks = blocks.into_iter().map(|(requests, bad)| Counters { requests, bad });
        AboveLimit::new(limit).unwrap().log_evidence(blocks)
    }

    #[test]
    fn a_pass_at_one_in_a_thousand_takes_the_known_numbers_of_requests() {
        let test = BelowLimit::new(0.001, &PASS_GRID).unwrap();
        let needed: Vec<_> = [0, 1, 3].into_iter().map(|bad| test.requests_to_pass(bad, 0.05)).collect();
        assert_eq!(needed, [3772, 6708, 10_730]);
    }

    #[test]
    fn a_pass_at_five_percent_takes_the_known_numbers_of_requests() {
        let test = BelowLimit::new(0.05, &PASS_GRID_LATENCY).unwrap();
        let needed: Vec<_> = [0, 1, 3].into_iter().map(|bad| test.requests_to_pass(bad, 0.05)).collect();
        assert_eq!(needed, [78, 136, 216]);
    }

    #[test]
    fn a_burst_of_any_size_is_one_piece_of_evidence() {
        let threshold = log_threshold(0.01);
        for size in [2, 5, 20] {
            assert!(evidence_above(0.001, [(200, size)]) < threshold, "{size} at once");
        }
        assert!(evidence_above(0.001, [(200, 2); 4]) > threshold, "as many, again and again");
        assert!(evidence_above(0.001, [(100_000, 500), (100_000, 0)]) < threshold);
        assert!(evidence_above(0.001, [(100_000, 300); 5]) > threshold);
    }

    #[test]
    fn nothing_seen_is_no_evidence() {
        assert!(evidence_above(0.001, []).abs() < 1e-12 && evidence_above(0.001, [(0, 0)]).abs() < 1e-12);
        let below = BelowLimit::new(0.001, &PASS_GRID).unwrap();
        assert!(below.log_evidence(Counters::default()).abs() < 1e-12);
    }

    #[test]
    fn the_expected_evidence_at_the_limit_is_one_however_the_bad_requests_are_bundled() {
        for (limit, requests) in [(0.001, 200_u64), (0.05, 100), (0.05, 2), (0.3, 10), (0.9, 3)] {
            for burst in [1, 2, requests] {
                // A burst, or nothing: both with the mean that the limit allows.
                let happens = limit * requests as f64 / burst as f64;
                let of = |bad| evidence_above(limit, [(requests, bad)]).exp();
                assert!((happens * of(burst) + (1.0 - happens) * of(0) - 1.0).abs() < 1e-9, "{limit}, {burst}");
            }
            let below = BelowLimit::new(limit, &PASS_GRID_LATENCY).unwrap();
            let of = |bad| below.log_evidence(Counters { requests: 1, bad }).exp();
            assert!((limit * of(1) + (1.0 - limit) * of(0) - 1.0).abs() < 1e-9, "{limit}");
        }
    }

    #[test]
    fn any_limit_can_be_failed_and_passed() {
        for limit in [1e-9, 0.001, 0.05, 0.3] {
            assert!(evidence_above(limit, [(1000, 1000); 10]) > 3.0, "{limit}");
            assert!(BelowLimit::new(limit, &PASS_GRID).unwrap().requests_to_pass(0, 0.05) < u64::MAX, "{limit}");
        }
        assert!(evidence_above(0.9, [(1000, 1000); 100]) > 3.0);
    }

    #[test]
    fn huge_counts_neither_overflow_nor_turn_into_not_a_number() {
        let all_bad = evidence_above(1e-6, [(u64::MAX, u64::MAX)]);
        let all_good = evidence_above(1e-6, [(u64::MAX, 0); 3]);
        assert!(all_bad.is_finite() && all_bad > 0.0 && all_good.is_finite() && all_good < 0.0);
        assert!(evidence_above(0.001, [(3, 5)]).is_finite(), "counters that disagree for a moment");
    }

    #[test]
    fn trouble_that_begins_late_is_seen_at_once_and_remembered_at_its_highest() {
        let (test, mut trouble) = (AboveLimit::new(0.02).unwrap(), Trouble::default());
        let mut add = |blocks, requests, bad| {
            (0..blocks).for_each(|_| trouble.add(&test, Counters { requests, bad }));
            (trouble.now(), trouble.highest())
        };
        assert!(add(100, 10_000, 50).0.abs() < 1e-12);
        assert!(add(8, 300, 15).0 > log_threshold(0.01));
        let (now, highest) = add(100, 1000, 5);
        assert!(now.abs() < 1e-12 && highest > log_threshold(0.01));
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for limit in [0.0, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(AboveLimit::new(limit).is_err(), "{limit}");
            assert!(BelowLimit::new(limit, &PASS_GRID).is_err(), "{limit}");
        }
        assert!(BelowLimit::new(0.1, &[]).is_err());
        assert!(BelowLimit::new(0.1, &[1.5]).is_err());
    }
}
