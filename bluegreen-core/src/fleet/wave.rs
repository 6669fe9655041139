use std::time::Duration;

use crate::error::{Error, Result};

/// How far a new release gets in one step of a fleet's deploy, and how long that is held.
///
/// ```
/// use std::time::Duration;
/// use bluegreen_core::fleet::Wave;
/// use bluegreen_core::pipeline::Strategy;
///
/// let strategy = Strategy::waves([
///     // 10 % of the traffic of the first member; its own router must be able to divide traffic.
///     Wave::members(1).share(10).soak(Duration::from_secs(60)),
///     Wave::members(1).soak(Duration::from_secs(60)),
///     Wave::percent(25).soak(Duration::from_secs(300)),
///     Wave::all(),
/// ]);
/// # let _ = strategy;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wave {
    reach: Reach,
    share: u8,
    pub(crate) soak: Duration,
    pub(crate) max_soak: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reach {
    Members(usize),
    Percent(u8),
}

impl Wave {
    const fn new(reach: Reach) -> Self {
        Self { reach, share: 100, soak: Duration::ZERO, max_soak: None }
    }

    /// The first so many members, canaries first. A count above that of the fleet is all of it.
    pub const fn members(count: usize) -> Self {
        Self::new(Reach::Members(count))
    }

    /// As few of the first members as have this percentage of the fleet's weight, and one at least.
    pub const fn percent(percent: u8) -> Self {
        Self::new(Reach::Percent(percent))
    }

    /// All members.
    pub const fn all() -> Self {
        Self::percent(100)
    }

    /// What these members' own routers give the new release of their traffic, in percent. Members of an earlier wave keep what
    /// they have, or get this much too where it is more. Default: 100.
    #[must_use]
    pub const fn share(mut self, percent: u8) -> Self {
        self.share = percent;
        self
    }

    /// How long the wave is held at least, under the gates. Default: not at all.
    #[must_use]
    pub const fn soak(mut self, soak: Duration) -> Self {
        self.soak = soak;
        self
    }

    /// How long the soak may be extended to while the gates are undecided. Default: 3 times the soak.
    #[must_use]
    pub const fn max_soak(mut self, max: Duration) -> Self {
        self.max_soak = Some(max);
        self
    }

    fn count(&self, weights: &[u32]) -> usize {
        match self.reach {
            Reach::Members(count) => count.min(weights.len()),
            Reach::Percent(percent) => first_with(weights, percent),
        }
    }
}

/// The waves of a deploy, each by the percentage that stands for it in splits, steps and events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waves(Vec<(u8, Wave)>);

impl Waves {
    /// Names each wave by the share of the fleet's weight that it reaches, rounded so that no two have the same name.
    ///
    /// # Errors
    /// `Config` when they do not rise, or do not end at everything.
    pub(crate) fn new(waves: &[Wave], weights: &[u32]) -> Result<Self> {
        let all = weights.len();
        let complete = waves.last().is_some_and(|last| last.count(weights) == all && last.share == 100);
        if !complete {
            return Err(Error::config("the waves do not end at all members: add `Wave::all()`"));
        }
        let bad = |wave: &Wave| wave.share == 0 || wave.share > 100 || wave.count(weights) == 0;
        if waves.iter().any(bad)
            || waves.iter().any(|wave| matches!(wave.reach, Reach::Percent(percent) if percent > 100))
        {
            return Err(Error::config("a wave reaches nobody, or more than everything"));
        }
        let mut reached = vec![0; all];
        let mut named: Vec<(u8, Wave)> = Vec::new();
        for (index, wave) in waves.iter().enumerate() {
            let before = std::mem::replace(&mut reached, cumulated(&waves[..=index], weights));
            if before == reached {
                return Err(Error::config(format!(
                    "wave {} of {} reaches no more of the {all} members than the wave before it",
                    index + 1,
                    waves.len()
                )));
            }
            let least = named.last().map_or(1, |(name, _)| name + 1);
            let name = if index + 1 == waves.len() { 100 } else { percent_of(&reached, weights).max(least) };
            if name > 100 || (name == 100 && index + 1 < waves.len()) {
                return Err(Error::config("there are more waves than a split has percentages"));
            }
            named.push((name, wave.clone()));
        }
        Ok(Self(named))
    }

    /// Whether a wave is a part of a member's traffic.
    pub(crate) fn divide_members(&self) -> bool {
        self.0.iter().any(|(_, wave)| wave.share < 100)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u8, Wave)> {
        self.0.iter()
    }

    /// What each of these members gives the new release at a split of this percentage: what the wave of that name reaches, or
    /// else as few of the first members as have so much weight. Where members `divide` their own traffic, and no wave is
    /// meant, each gives that percentage.
    pub(super) fn shares(&self, percent: u8, weights: &[u32], divide: bool) -> Vec<u8> {
        match self.0.iter().position(|(name, _)| *name == percent) {
            Some(index) => {
                let waves: Vec<_> = self.0[..=index].iter().map(|(_, wave)| wave.clone()).collect();
                cumulated(&waves, weights)
            }
            None if divide || percent == 0 || percent == 100 => vec![percent; weights.len()],
            None => first(first_with(weights, percent), weights.len(), 100),
        }
    }
}

/// The part of the weight that goes to the new release, in percent: 0 and 100 only where that is exact.
pub(super) fn percent_of(shares: &[u8], weights: &[u32]) -> u8 {
    if shares.iter().all(|share| *share == shares[0]) {
        return shares[0];
    }
    let total: u64 = weights.iter().map(|weight| u64::from(*weight) * 100).sum();
    let moved: u64 = shares.iter().zip(weights).map(|(share, weight)| u64::from(*share) * u64::from(*weight)).sum();
    u8::try_from(moved * 100 / total.max(1)).unwrap_or(99).clamp(1, 99)
}

fn cumulated(waves: &[Wave], weights: &[u32]) -> Vec<u8> {
    let mut shares = vec![0; weights.len()];
    for wave in waves {
        for (share, reached) in shares.iter_mut().zip(first(wave.count(weights), weights.len(), wave.share)) {
            *share = reached.max(*share);
        }
    }
    shares
}

fn first(count: usize, of: usize, share: u8) -> Vec<u8> {
    (0..of).map(|index| if index < count { share } else { 0 }).collect()
}

fn first_with(weights: &[u32], percent: u8) -> usize {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let wanted = total * u64::from(percent);
    let mut sum = 0;
    let enough = |weight: &u32| {
        sum += u64::from(*weight) * 100;
        sum >= wanted
    };
    weights.iter().position(enough).map_or(weights.len(), |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(waves: &[Wave], members: usize) -> Result<Vec<u8>> {
        Waves::new(waves, &vec![1; members]).map(|waves| waves.iter().map(|(name, _)| *name).collect())
    }

    #[test]
    fn waves_that_do_not_rise_to_all_members_are_refused() {
        for bad in [
            &[][..],
            &[Wave::members(1)],
            &[Wave::percent(50), Wave::members(1), Wave::all()],
            &[Wave::members(0), Wave::all()],
            &[Wave::all(), Wave::all()],
            &[Wave::members(1).share(0), Wave::all()],
            &[Wave::percent(101)],
            &[Wave::all().share(50)],
        ] {
            assert!(named(bad, 4).is_err(), "{bad:?}");
        }
        assert_eq!(named(&[Wave::all()], 4).unwrap(), [100]);
        assert_eq!(named(&[Wave::members(1), Wave::percent(50), Wave::all()], 4).unwrap(), [25, 50, 100]);
    }

    #[test]
    fn each_wave_has_a_name_of_its_own_also_where_its_share_is_below_one_percent() {
        let waves = [Wave::members(1), Wave::members(2), Wave::percent(10), Wave::all()];
        assert_eq!(named(&waves, 1000).unwrap(), [1, 2, 10, 100]);
        let waves = Waves::new(&waves, &vec![1; 1000]).unwrap();
        let moved = |name| waves.shares(name, &vec![1; 1000], false).iter().filter(|share| **share == 100).count();
        assert_eq!([1, 2, 10, 100].map(moved), [1, 2, 100, 1000]);
    }

    #[test]
    fn a_wave_can_be_a_part_of_the_first_members_traffic() {
        let waves = Waves::new(&[Wave::members(1).share(10), Wave::members(1), Wave::all()], &[1; 4]).unwrap();
        assert_eq!(waves.shares(2, &[1; 4], true), [10, 0, 0, 0]);
        assert_eq!(waves.shares(25, &[1; 4], true), [100, 0, 0, 0]);
    }

    #[test]
    fn a_percentage_that_is_no_wave_reaches_the_first_members_or_a_part_of_each() {
        let waves = Waves::default();
        assert_eq!(waves.shares(10, &[1; 3], false), [100, 0, 0]);
        assert_eq!(waves.shares(34, &[1; 3], false), [100, 100, 0]);
        assert_eq!(waves.shares(10, &[1, 9], false), [100, 0], "by weight");
        assert_eq!(waves.shares(10, &[1; 3], true), [10, 10, 10]);
    }
}
