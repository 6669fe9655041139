//! [`RateGateBuilder`]: what a [`RateGate`] judges, and how strictly.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::gates::damage::DamageCap;
use crate::gates::evidence::{AboveLimit, BelowLimit, PASS_GRID, PASS_GRID_LATENCY, proper};
use crate::gates::rate_gate::RateGate;
use crate::gates::rules::Rules;
use crate::gates::unit::{MINUTE, Unit};
use crate::metric::MetricSource;

/// Default share of failed requests that a release may have: 0.001 (0.1 %, "three nines").
pub const DEFAULT_ERROR_LIMIT: f64 = 0.001;

/// Default share of slow requests that a release may have: 0.05 (5 %). "The 95th percentile is below 500 ms" and "at most
/// 5 % take longer than 500 ms" say the same, and the second one can be counted.
pub const DEFAULT_SLOW_LIMIT: f64 = 0.05;

/// Default for how often a minute something bad may happen that is counted by time: once. A service whose log nobody reads has
/// more, and one whose log somebody reads has fewer.
pub const DEFAULT_LIMIT_PER_MINUTE: f64 = 1.0;

/// Default probability of failing a good release, and of passing a bad one: 0.05 (1 in 20), as is usual for a single test.
/// Real rates are lower, since every inequality on the way is on the safe side.
pub const DEFAULT_ERROR_PROBABILITY: f64 = 0.05;

/// Default for how long the requests of a new step are not counted: 5 s. Connection pools and caches fill, and requests
/// that began before the step are answered. Short against the shortest sensible soak.
pub const DEFAULT_WARM_UP: Duration = Duration::from_secs(5);

/// What the bad requests of a source are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRequests {
    /// Failed ones. Default limit: 0.1 % ([`DEFAULT_ERROR_LIMIT`]).
    Failed,
    /// Those that took longer than the latency limit. Default limit: 5 % ([`DEFAULT_SLOW_LIMIT`]), which is exactly "the
    /// 95th percentile is below the latency limit". Default damage cap: none.
    Slow,
    /// Whatever the source counts as bad, under this name. Default limit: 0.1 % ([`DEFAULT_ERROR_LIMIT`]).
    Other(Cow<'static, str>),
    /// Whatever the source counts as bad, under this name, by time and not by requests: what it counts as requests are
    /// milliseconds of all traffic, as [`LogMatches::per_minute`](crate::LogMatches::per_minute) does. Default limit: 1 a minute
    /// ([`DEFAULT_LIMIT_PER_MINUTE`]); see [`RateGateBuilder::limit_per_minute`].
    PerMinute(Cow<'static, str>),
}

/// Makes a [`RateGate`].
#[must_use]
pub struct RateGateBuilder {
    bad: BadRequests,
    source: Arc<dyn MetricSource>,
    limit: f64,
    alpha: f64,
    beta: f64,
    warm_up: Duration,
    require_traffic_by: Option<Duration>,
    damage_cap: Option<DamageCap>,
    routing_guard: bool,
}

impl RateGate {
    /// A gate on the requests that a source counts as bad.
    pub fn builder(bad: BadRequests, source: impl MetricSource) -> RateGateBuilder {
        let slow = bad == BadRequests::Slow;
        let limit = match bad {
            BadRequests::Slow => DEFAULT_SLOW_LIMIT,
            BadRequests::PerMinute(_) => DEFAULT_LIMIT_PER_MINUTE / MINUTE,
            BadRequests::Failed | BadRequests::Other(_) => DEFAULT_ERROR_LIMIT,
        };
        RateGateBuilder {
            bad,
            source: Arc::new(source),
            limit,
            alpha: DEFAULT_ERROR_PROBABILITY,
            beta: DEFAULT_ERROR_PROBABILITY,
            warm_up: DEFAULT_WARM_UP,
            require_traffic_by: None,
            damage_cap: (!slow).then(DamageCap::default),
            routing_guard: true,
        }
    }

    /// A gate on failed requests with all defaults: at most 0.1 % ([`DEFAULT_ERROR_LIMIT`]).
    pub fn errors(source: impl MetricSource) -> Self {
        Self::builder(BadRequests::Failed, source).with_valid_settings()
    }

    /// A gate on slow requests with all defaults: at most 5 % ([`DEFAULT_SLOW_LIMIT`]).
    pub fn latency(source: impl MetricSource) -> Self {
        Self::builder(BadRequests::Slow, source).with_valid_settings()
    }
}

impl RateGateBuilder {
    /// The share of requests that may be bad, between 0 and 1. Default: that of the [`BadRequests`].
    pub fn limit(mut self, limit: f64) -> Self {
        self.limit = limit;
        self
    }

    /// How often a minute something bad may happen, with all traffic, for [`BadRequests::PerMinute`]. Default: once
    /// ([`DEFAULT_LIMIT_PER_MINUTE`]).
    pub fn limit_per_minute(mut self, times: f64) -> Self {
        self.limit = times / MINUTE;
        self
    }

    /// The probability with which a good release may be failed, in a whole operation. Default: 0.05
    /// ([`DEFAULT_ERROR_PROBABILITY`]).
    ///
    /// The gates of a pipeline share it ([`Window::gates`](crate::Window::gates)), and so do the tests inside one: half is
    /// for the counts of the whole operation, half for those of shorter stretches, so that a release that gets worse late is
    /// noticed; and of each, half is for the comparison with the old slot, if any. A stretch begins with each step, and
    /// whenever the one before has shown that the release is good.
    pub fn alpha(mut self, probability: f64) -> Self {
        self.alpha = probability;
        self
    }

    /// The probability with which a release that is above the limit may pass a step. Default: 0.05
    /// ([`DEFAULT_ERROR_PROBABILITY`]). The gates of a pipeline share it. A step passes by what it has seen itself, not by
    /// what the steps before it have.
    pub fn beta(mut self, probability: f64) -> Self {
        self.beta = probability;
        self
    }

    /// For how long a new step is not counted. Default: 5 s ([`DEFAULT_WARM_UP`]). A source that is itself updated at
    /// intervals (a Prometheus server) needs at least one interval more; otherwise it still counts what came before the step.
    pub fn warm_up(mut self, duration: Duration) -> Self {
        self.warm_up = duration;
        self
    }

    /// Holds when this long after the warm-up no request was counted on the new slot. Default: never; the gate stays
    /// undecided until the pipeline's soak ends.
    pub fn require_traffic_by(mut self, duration: Duration) -> Self {
        self.require_traffic_by = Some(duration);
        self
    }

    /// Fails as soon as there were so many bad requests more than the old slot's rate (or, without a baseline, the
    /// limit) explains, whatever the statistics say. It counts from the first request of the operation on, the warm-up and
    /// the time between two steps included.
    ///
    /// Default: a cap for gross failures, 100 requests ([`DEFAULT_DAMAGE_CAP`](super::DEFAULT_DAMAGE_CAP)) more than ten
    /// times that rate explains. A gate on slow requests has none: a slow answer is an answer, and a pause of one second
    /// exceeds any number under much traffic. A cap that is set tolerates the rate just once, and under much traffic chance
    /// alone exceeds any fixed number; [`alpha`](Self::alpha) does not cover that.
    pub fn damage_cap(mut self, requests: u64) -> Self {
        self.damage_cap = Some(DamageCap::of(requests));
        self
    }

    /// Judges by the evidence alone, whatever it costs until there is enough.
    pub fn without_damage_cap(mut self) -> Self {
        self.damage_cap = None;
        self
    }

    /// Whether to hold when the requests of both slots are not divided as the split says. Default: yes. Turn it off
    /// where the division is known to be uneven: sticky sessions, a few long-lived connections, requests that reach
    /// the instances past the router.
    pub fn routing_guard(mut self, on: bool) -> Self {
        self.routing_guard = on;
        self
    }

    /// Checks the settings and makes the gate.
    ///
    /// # Errors
    /// `Config` unless the limit and both probabilities are numbers between 0 and 1, both excluded, and when the damage cap
    /// is 0.
    pub fn build(self) -> Result<RateGate> {
        for (what, value) in [("the limit", self.limit), ("alpha", self.alpha), ("beta", self.beta)] {
            proper(what, value)?;
        }
        if self.damage_cap == Some(DamageCap::of(0)) {
            return Err(Error::config("a damage cap of 0 bad requests would fail every release"));
        }
        Ok(self.with_valid_settings())
    }

    fn with_valid_settings(self) -> RateGate {
        let (name, unit, pass_grid): (_, _, &[f64]) = match self.bad {
            BadRequests::Failed => ("errors".into(), Unit::Requests("failed"), &PASS_GRID),
            BadRequests::Slow => ("slow requests".into(), Unit::Requests("were too slow"), &PASS_GRID_LATENCY),
            BadRequests::Other(name) => (name, Unit::Requests("were bad"), &PASS_GRID),
            BadRequests::PerMinute(name) => (name, Unit::Time, &PASS_GRID),
        };
        let rules = Rules {
            unit,
            limit: self.limit,
            above: AboveLimit::at(self.limit),
            below: BelowLimit::at(self.limit, pass_grid),
            alpha: self.alpha,
            beta: self.beta,
            warm_up: self.warm_up,
            require_traffic_by: self.require_traffic_by,
            damage_cap: self.damage_cap,
            routing_guard: self.routing_guard,
        };
        RateGate::new(name, self.source, rules)
    }
}

impl fmt::Debug for RateGateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateGateBuilder").field("bad", &self.bad).field("limit", &self.limit).finish_non_exhaustive()
    }
}
