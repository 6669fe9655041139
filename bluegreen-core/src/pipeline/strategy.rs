use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::defaults::{LONGEST, MAX_SOAK_FACTOR};
use crate::error::{Error, Result};
use crate::fleet::{Wave, Waves};

/// How traffic moves to a new release.
///
/// ```
/// use std::time::Duration;
/// use bluegreen_core::pipeline::{Strategy, TrafficStep};
///
/// let at_once = Strategy::blue_green();
/// let gradual = Strategy::canary([
///     TrafficStep::new(10, Duration::from_secs(60)),
///     TrafficStep::new(50, Duration::from_secs(120)),
///     TrafficStep::new(100, Duration::ZERO),
/// ])
/// .bake(Duration::from_secs(300));
/// # let _ = (at_once, gradual);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strategy {
    pub(super) steps: Vec<TrafficStep>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) waves: Vec<Wave>,
    pub(super) bake: Duration,
    pub(super) max_bake: Option<Duration>,
    pub(super) auto_promote: bool,
    pub(super) undecided: Undecided,
}

impl Strategy {
    /// All traffic in one step.
    pub fn blue_green() -> Self {
        Self::canary([TrafficStep::new(100, Duration::ZERO)])
    }

    /// Traffic in steps. They must rise, and end at 100; [`PipelineBuilder::build`](super::PipelineBuilder::build) refuses others.
    ///
    /// A first deploy, and one whose live slot is down, has nobody to share the traffic with: it goes to 100 at once.
    pub fn canary(steps: impl IntoIterator<Item = TrafficStep>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            waves: Vec::new(),
            bake: Duration::ZERO,
            max_bake: None,
            auto_promote: true,
            undecided: Undecided::default(),
        }
    }

    /// The members of a [`Fleet`](crate::Fleet), wave by wave. They must rise, and end at [`Wave::all`];
    /// [`PipelineBuilder::build`](super::PipelineBuilder::build) refuses others. In steps and events, each wave is called by the
    /// percentage of the fleet that it reaches.
    pub fn waves(waves: impl IntoIterator<Item = Wave>) -> Self {
        Self { waves: waves.into_iter().collect(), ..Self::blue_green() }
    }

    pub(super) fn take_steps_from(&mut self, waves: &Waves) {
        let step =
            |(percent, wave): &(u8, Wave)| TrafficStep { percent: *percent, soak: wave.soak, max_soak: wave.max_soak };
        let steps: Vec<_> = waves.iter().map(step).collect();
        if !steps.is_empty() {
            self.steps = steps;
        }
    }

    /// After all traffic has moved: how long a failing gate still rolls back by itself. Default: not at all.
    #[must_use]
    pub fn bake(mut self, bake: Duration) -> Self {
        self.bake = bake;
        self
    }

    /// How long a bake may be extended to while the gates are undecided. Default: 3 times the bake ([`MAX_SOAK_FACTOR`]).
    #[must_use]
    pub fn max_bake(mut self, max: Duration) -> Self {
        self.max_bake = Some(max);
        self
    }

    /// Whether a deploy goes on by itself after it is staged. Default: yes.
    #[must_use]
    pub fn auto_promote(mut self, auto: bool) -> Self {
        self.auto_promote = auto;
        self
    }

    /// What happens when the gates are still undecided after the longest soak. Default: [`Undecided::Hold`].
    #[must_use]
    pub fn when_undecided(mut self, policy: Undecided) -> Self {
        self.undecided = policy;
        self
    }

    pub(super) fn max_bake_or_default(&self) -> Duration {
        self.max_bake.unwrap_or(self.bake.saturating_mul(MAX_SOAK_FACTOR))
    }

    pub(super) fn divides_traffic(&self) -> bool {
        self.steps.iter().any(|step| step.percent < 100)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let shown: Vec<_> = self.steps.iter().map(|step| step.percent.to_string()).collect();
        let shown = shown.join(", ");
        if self.steps.last().map(|step| step.percent) != Some(100) {
            return Err(Error::config(format!("the traffic steps [{shown}] do not end at 100")));
        }
        let rising = self.steps.windows(2).all(|pair| pair[0].percent < pair[1].percent);
        if !rising || self.steps[0].percent == 0 {
            return Err(Error::config(format!("the traffic steps [{shown}] do not rise from above 0")));
        }
        let too_short = self.steps.iter().find(|step| step.max_soak_or_default() < step.soak);
        if let Some(step) = too_short {
            return Err(Error::config(format!("the longest soak at {} % is shorter than the soak", step.percent)));
        }
        let longest = self.steps.iter().map(TrafficStep::max_soak_or_default).chain([self.max_bake_or_default()]).max();
        if longest > Some(LONGEST) {
            return Err(Error::config("a soak or a bake is longer than a year, or may be extended to more"));
        }
        if self.max_bake_or_default() < self.bake {
            return Err(Error::config("the longest bake is shorter than the bake"));
        }
        Ok(())
    }
}

/// One step of a canary: a share of traffic, and how long it is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStep {
    pub(super) percent: u8,
    pub(super) soak: Duration,
    pub(super) max_soak: Option<Duration>,
}

impl TrafficStep {
    /// `percent` of the traffic to the new slot, held for `soak` at least.
    pub const fn new(percent: u8, soak: Duration) -> Self {
        Self { percent, soak, max_soak: None }
    }

    /// How long the soak may be extended to while the gates are undecided. Default: 3 times the soak
    /// ([`MAX_SOAK_FACTOR`]).
    #[must_use]
    pub const fn max_soak(mut self, max: Duration) -> Self {
        self.max_soak = Some(max);
        self
    }

    pub(super) fn max_soak_or_default(&self) -> Duration {
        self.max_soak.unwrap_or(self.soak.saturating_mul(MAX_SOAK_FACTOR))
    }
}

/// What happens when the gates are still undecided after the longest soak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undecided {
    /// Leave the traffic where it is, end the operation, and let a person promote or roll back.
    #[default]
    Hold,
    /// Treat it as a failure: roll back.
    Abort,
    /// Go on as if the gates had passed; for services with too little traffic for a verdict.
    Accept,
}

/// What happens to the old slot after a successful deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retention {
    /// Keep it warm for a rollback for this long; `retire()` stops it when that time is over.
    For(Duration),
    /// Keep it warm until the next deploy needs the slot.
    UntilNextDeploy,
    /// Stop it at once.
    Retire,
}

/// When the contract phase of migrations runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// Only when asked for by `migrate(Phase::Contract)`.
    #[default]
    WhenAsked,
    /// At the end of each deploy, after the bake. There is no way back from then on.
    AfterBake,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(percents: &[u8]) -> Result<()> {
        Strategy::canary(percents.iter().map(|percent| TrafficStep::new(*percent, Duration::ZERO))).validate()
    }

    #[test]
    fn steps_that_do_not_rise_to_100_are_refused() {
        for bad in [&[][..], &[10], &[0, 100], &[50, 10, 100], &[10, 10, 100], &[100, 100], &[10, 101]] {
            assert!(steps(bad).is_err(), "{bad:?}");
        }
        for good in [&[100][..], &[1, 100], &[10, 50, 100]] {
            assert!(steps(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_longest_soak_below_the_soak_is_refused() {
        let step = TrafficStep::new(100, Duration::from_secs(10)).max_soak(Duration::from_secs(5));
        assert!(Strategy::canary([step]).validate().is_err());
        let bake = Strategy::blue_green().bake(Duration::from_secs(10)).max_bake(Duration::from_secs(5));
        assert!(bake.validate().is_err());
    }
}
