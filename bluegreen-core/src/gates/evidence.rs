//! How strongly counts speak against "the rate is at its limit", in a way that may be looked at at any time.
//!
//! With `X` bad ones of `N` requests, a limit `L` and alternatives `p_j` of weight `w_j`:
//!
//! ```text
//! E(X, N) = sum_j  w_j (p_j / L)^X ((1 - p_j) / (1 - L))^(N - X)
//! ```
//!
//! It is a mixture of likelihood ratios. As long as the limit is kept it is a supermartingale that starts at 1, so by
//! Ville's inequality (1939) the probability that it *ever* reaches `1 / alpha` is at most `alpha`, however often one
//! looks. See Robbins, "Statistical methods related to the law of the iterated logarithm" (1970), and Ramdas et al.,
//! "Game-theoretic statistics and safe anytime-valid inference" (2023).

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

/// Collects evidence that a rate is above its limit.
///
/// ```
/// use bluegreen_core::Counters;
/// use bluegreen_core::gates::{AboveLimit, log_threshold};
///
/// let errors = AboveLimit::new(0.001)?;
/// let evidence = |requests, bad| errors.log_evidence(Counters { requests, bad });
/// assert!(evidence(107, 2) >= log_threshold(0.05));
/// assert!(evidence(108, 2) < log_threshold(0.05));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AboveLimit(Mixture);

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
        // A multiple of a high limit may not be a rate any more: halfway between the limit and 1 takes its place.
        let rates = FAIL_GRID.map(|multiple| (multiple * limit).min(f64::midpoint(limit, 1.0)));
        Self(Mixture::new(limit, &rates))
    }

    /// The natural logarithm of the evidence; 0 without any request.
    pub fn log_evidence(&self, counts: Counters) -> f64 {
        self.0.log_evidence(counts)
    }
}

/// The strongest evidence that a rate has been above its limit since some moment, whatever came before it: Page's
/// cumulative sum (1954). It has no bounded error probability. It is for the old slot, where being suspected only
/// delays a verdict on the new one.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble {
    logs: Vec<f64>,
    highest: f64,
}

impl Trouble {
    /// Adds what was counted since the last time.
    pub(super) fn add(&mut self, test: &AboveLimit, counts: Counters) {
        let more = test.0.logs(counts);
        self.logs = match self.logs.len() {
            0 => more.map(|log| log.max(0.0)).collect(),
            _ => self.logs.iter().zip(more).map(|(log, more)| (log + more).max(0.0)).collect(),
        };
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
        let enough = |requests| self.log_evidence(Counters { requests, bad }) >= log_threshold(probability);
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

    fn evidence_above(limit: f64, requests: u64, bad: u64) -> f64 {
        AboveLimit::new(limit).unwrap().log_evidence(Counters { requests, bad })
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
    fn bad_requests_fail_up_to_the_known_numbers_of_requests_and_no_longer() {
        let threshold = log_threshold(0.05);
        for (bad, latest) in [(2, 107), (3, 333), (4, 632), (5, 998)] {
            assert!(evidence_above(0.001, latest, bad) >= threshold, "{bad} in {latest}");
            assert!(evidence_above(0.001, latest + 1, bad) < threshold, "{bad} in {}", latest + 1);
        }
        assert!(evidence_above(0.001, 1, 1) < threshold, "one bad request alone never fails");
    }

    #[test]
    fn nothing_seen_is_no_evidence() {
        assert!(evidence_above(0.001, 0, 0).abs() < 1e-12);
        let below = BelowLimit::new(0.001, &PASS_GRID).unwrap();
        assert!(below.log_evidence(Counters::default()).abs() < 1e-12);
    }

    #[test]
    fn the_expected_evidence_of_one_request_at_the_limit_is_one() {
        for limit in [0.001, 0.05, 0.3, 0.9] {
            let above = AboveLimit::new(limit).unwrap();
            let below = BelowLimit::new(limit, &PASS_GRID_LATENCY).unwrap();
            for evidence in [&above.0, &below.0] {
                let of = |bad| evidence.log_evidence(Counters { requests: 1, bad }).exp();
                assert!((limit * of(1) + (1.0 - limit) * of(0) - 1.0).abs() < 1e-9, "{limit}");
            }
        }
    }

    #[test]
    fn any_limit_can_be_failed_and_passed() {
        for limit in [1e-9, 0.001, 0.05, 0.5, 0.99] {
            assert!(evidence_above(limit, 5000, 5000) > 3.0, "{limit}");
            assert!(BelowLimit::new(limit, &PASS_GRID).unwrap().requests_to_pass(0, 0.05) < u64::MAX, "{limit}");
        }
    }

    #[test]
    fn huge_counts_neither_overflow_nor_turn_into_not_a_number() {
        let all_bad = evidence_above(1e-6, u64::MAX, u64::MAX);
        let all_good = evidence_above(1e-6, u64::MAX, 0);
        assert!(all_bad.is_finite() && all_bad > 0.0 && all_good.is_finite() && all_good < 0.0);
        assert!(evidence_above(0.001, 3, 5).is_finite(), "counters that disagree for a moment");
    }

    #[test]
    fn trouble_that_begins_late_is_seen_at_once_and_remembered_at_its_highest() {
        let (test, mut trouble) = (AboveLimit::new(0.02).unwrap(), Trouble::default());
        trouble.add(&test, Counters { requests: 1_000_000, bad: 5000 });
        assert!(trouble.now().abs() < 1e-12);
        trouble.add(&test, Counters { requests: 1800, bad: 90 });
        assert!(trouble.now() > log_threshold(0.01));
        trouble.add(&test, Counters { requests: 100_000, bad: 500 });
        assert!(trouble.now().abs() < 1e-12 && trouble.highest() > log_threshold(0.01));
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
