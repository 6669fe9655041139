//! How many bad requests may be suffered before there is time or evidence for a judgement.

use crate::gates::comparison::Pair;
use crate::gates::wording::grouped;

/// Default for how many failed requests more than ten times the limit explains a release may cost: 100.
///
/// A release right at the default limit of 0.1 % costs as many in 100,000 requests. It is well above what the start of a
/// release costs by itself: a burst of 20, or a connection pool of 50 that has to be filled anew.
pub const DEFAULT_DAMAGE_CAP: u64 = 100;

/// What the default cap takes for granted: ten times the limit, or ten times the old slot's rate where that is higher. So
/// it is only for gross failures. Everything else is left to the evidence, which has a bounded error probability.
///
/// With errors at half the limit in bursts of 20, the probability of ever exceeding the default cap is below 1 in 10^9:
/// Lundberg's inequality for a compound Poisson process, exp(-0.22 * 100).
const TOLERATED: f64 = 10.0;

/// A bound on damage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct DamageCap {
    requests: u64,
    tolerated: f64,
}

impl DamageCap {
    /// So many bad requests more than the limit, or the old slot's rate, explains.
    pub(super) fn of(requests: u64) -> Self {
        Self { requests, tolerated: 1.0 }
    }

    /// Why the cap is exceeded, if it is.
    pub(super) fn exceeded(self, limit: f64, seen: Pair) -> Option<String> {
        let old = if seen.old.requests > 0 { seen.old.bad as f64 / seen.old.requests as f64 } else { 0.0 };
        let by_old_slot = seen.old.requests > 0 && (self.tolerated <= 1.0 || old > limit);
        let rate = if by_old_slot { old } else { limit };
        let tolerated = if self.tolerated > 1.0 { (self.tolerated * rate).min(f64::midpoint(rate, 1.0)) } else { rate };
        let excess = seen.new.bad as f64 - seen.new.requests as f64 * tolerated;
        let who = if by_old_slot { "the old slot's rate" } else { "the limit" };
        let times = if self.tolerated > 1.0 { "ten times " } else { "" };
        let (excess, cap) = (excess.max(0.0) as u64, self.requests);
        (excess >= cap)
            .then(|| format!("{} more than {times}{who} explains; the cap is {}", grouped(excess), grouped(cap)))
    }
}

impl Default for DamageCap {
    fn default() -> Self {
        Self { requests: DEFAULT_DAMAGE_CAP, tolerated: TOLERATED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Counters;

    fn exceeded(cap: DamageCap, new: (u64, u64), old: (u64, u64)) -> Option<String> {
        let counters = |(requests, bad)| Counters { requests, bad };
        cap.exceeded(0.001, Pair { new: counters(new), old: counters(old) })
    }

    #[test]
    fn the_default_is_for_gross_failures_alone() {
        let default = |new, old| exceeded(DamageCap::default(), new, old);
        assert_eq!(default((100, 99), (0, 0)), None);
        assert_eq!(default((102, 102), (0, 0)).unwrap(), "100 more than ten times the limit explains; the cap is 100");
        assert_eq!(default((1_000_000, 10_000), (0, 0)), None, "ten times the limit is left to the evidence");
        assert_eq!(default((1000, 200), (9000, 1800)), None, "the old slot fares as badly");
        assert_eq!(default((1000, 1000), (9000, 9000)), None);
        assert!(default((1000, 1000), (9000, 900)).unwrap().contains("ten times the old slot's rate"));
    }
}
