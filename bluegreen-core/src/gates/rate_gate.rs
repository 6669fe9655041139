//! [`RateGate`]: is the rate of bad requests within its limit?

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::gate::{Gate, Verdict, Window};
use crate::gates::damage::DamageCap;
use crate::gates::decision::decide;
use crate::gates::evidence::{AboveLimit, BelowLimit, PASS_GRID, PASS_GRID_LATENCY, proper};
use crate::gates::history::History;
use crate::gates::ledger::{Ledger, Look};
use crate::gates::rules::Rules;
use crate::gates::wording::percent;
use crate::metric::{MetricSource, Sample};
use crate::types::{Instance, ServiceName, Target};

/// The share of failed requests that a release may have: one in a thousand, "three nines".
pub const DEFAULT_ERROR_LIMIT: f64 = 0.001;

/// The share of slow requests that a release may have. "The 95th percentile is below 500 ms" and "at most 5 % take
/// longer than 500 ms" say the same, and the second one can be counted.
pub const DEFAULT_SLOW_LIMIT: f64 = 0.05;

/// The probability of failing a good release, and that of passing a bad one: 1 in 20, as is usual for a single test.
/// Real rates are lower, since every inequality on the way is on the safe side.
pub const DEFAULT_ERROR_PROBABILITY: f64 = 0.05;

/// How long the requests of a new step are not counted: connection pools and caches fill, and answers that were under
/// way before the step began are given. Short against the shortest sensible soak.
pub const DEFAULT_WARM_UP: Duration = Duration::from_secs(5);

/// Judges whether the rate of bad requests is within its limit, from counters.
///
/// It does not compare a ratio with a threshold each time it looks: at 200 requests per look and a limit of 0.1 %, one
/// error would be over it. It collects [evidence](crate::gates), and says `Fail` or `Pass` when that is strong enough,
/// and until then how many more requests it needs. A release within the limit (and, with a baseline, not worse than
/// the old one) is failed with a probability of at most [`alpha`](Self::alpha) in a whole operation, however often it
/// is looked at. One above it passes a step with a probability of at most [`beta`](Self::beta).
///
/// Bad requests need not be independent. It fails a release by blocks of time of at least 2 s and 50 requests (60 s where
/// there are few), and each block is one piece of evidence, whatever happened within it: a burst of errors, or a pause in
/// which every request was slow. Rates that rise and fall more slowly than that are allowed for by half of the evidence
/// more, and by more than that where the old slot's errors are seen to swing. A pass has to assume something of what it
/// did not see: it takes as many times more requests as the bad ones of either slot come in bursts. What the old slot's are
/// like is learned from the beginning of the deploy on, while the new release is brought up.
///
/// What it counts are differences of cumulative counters inside the step, after a [warm-up](Self::warm_up). Counters
/// that a restart set back are noticed; where several processes answer in turn, it [holds](crate::Continuity). A look
/// without data is never a pass.
///
/// While the old slot gets traffic too ([`Window::baseline`]), it is read at the same time, and the release fails only
/// when it is shown to be worse than the old slot and not shown to be within the limit, or when it is above the limit
/// and the old slot is not and looks better. When both are above the limit, the environment is unhealthy:
/// [`Verdict::Hold`]. The less traffic the old slot gets, the longer it takes to tell the two apart; the
/// [`damage_cap`](Self::damage_cap) bounds what that may cost.
///
/// One value can judge many services at a time; it keeps its counts by service and operation.
///
/// ```
/// use std::time::Duration;
/// use bluegreen_core::{Error, MetricSource};
/// use bluegreen_core::gates::RateGate;
///
/// fn gates(prometheus: impl MetricSource + Clone) -> Result<[RateGate; 2], Error> {
///     Ok([
///         RateGate::errors(prometheus.clone()).limit(0.002)?.damage_cap(50)?,
///         RateGate::latency(prometheus).warm_up(Duration::from_secs(20)).require_traffic_by(Duration::from_secs(60)),
///     ])
/// }
/// ```
pub struct RateGate {
    name: Cow<'static, str>,
    source: Arc<dyn MetricSource>,
    rules: Rules,
    pass_grid: &'static [f64],
    books: Mutex<HashMap<ServiceName, Arc<Shared>>>,
}

/// Held while a look is made, so that an older reading is never entered after a newer one.
type Shared = tokio::sync::Mutex<Books>;

/// What is known of one service.
#[derive(Debug, Default)]
struct Books {
    history: Option<History>,
    ledger: Option<Ledger>,
}

impl RateGate {
    /// A gate on failed requests: at most [`DEFAULT_ERROR_LIMIT`] unless [set](Self::limit) otherwise.
    pub fn errors(source: impl MetricSource) -> Self {
        Self::with("errors".into(), "failed", source, DEFAULT_ERROR_LIMIT, &PASS_GRID)
    }

    /// A gate on slow requests, where the source counts those that took longer than the latency limit as bad: at most
    /// [`DEFAULT_SLOW_LIMIT`] of them unless [set](Self::limit) otherwise, which is exactly "the 95th percentile is
    /// below the latency limit".
    pub fn latency(source: impl MetricSource) -> Self {
        Self::with("slow requests".into(), "were too slow", source, DEFAULT_SLOW_LIMIT, &PASS_GRID_LATENCY)
            .without_damage_cap()
    }

    /// A gate on whatever the source counts as bad, of which at most the share `limit` may be.
    ///
    /// # Errors
    /// `Config` unless the limit is a number between 0 and 1, both excluded.
    pub fn custom(name: impl Into<Cow<'static, str>>, limit: f64, source: impl MetricSource) -> Result<Self> {
        Self::with(name.into(), "were bad", source, DEFAULT_ERROR_LIMIT, &PASS_GRID).limit(limit)
    }

    /// Sets the share of requests that may be bad.
    ///
    /// # Errors
    /// `Config` unless it is a number between 0 and 1, both excluded.
    pub fn limit(mut self, limit: f64) -> Result<Self> {
        self.rules.above = AboveLimit::new(limit)?;
        self.rules.below = BelowLimit::new(limit, self.pass_grid)?;
        self.rules.limit = limit;
        Ok(self)
    }

    /// Sets the probability with which a release that is well may be failed, in a whole operation;
    /// [`DEFAULT_ERROR_PROBABILITY`] unless set. The gates of a pipeline share it ([`Window::gates`]), and so do the
    /// tests inside one: half is for the counts of the whole operation, half for those of shorter stretches, so that a
    /// release that gets worse late is noticed; and of each, half is for the comparison with the old slot, if any. A
    /// stretch begins with each step, and whenever the one before has shown that it is well.
    ///
    /// # Errors
    /// `Config` unless it is a number between 0 and 1, both excluded.
    pub fn alpha(mut self, probability: f64) -> Result<Self> {
        proper("alpha", probability)?;
        self.rules.alpha = probability;
        Ok(self)
    }

    /// Sets the probability with which a release that is above the limit may pass a step;
    /// [`DEFAULT_ERROR_PROBABILITY`] unless set. The gates of a pipeline share it. A step passes by what it has seen
    /// itself, not by what the steps before it have.
    ///
    /// # Errors
    /// `Config` unless it is a number between 0 and 1, both excluded.
    pub fn beta(mut self, probability: f64) -> Result<Self> {
        proper("beta", probability)?;
        self.rules.beta = probability;
        Ok(self)
    }

    /// Sets for how long a new step is not counted; [`DEFAULT_WARM_UP`] unless set. A source that is itself updated at
    /// intervals (a Prometheus server) needs at least one of them more, or it still counts what came before the step.
    #[must_use]
    pub fn warm_up(mut self, duration: Duration) -> Self {
        self.rules.warm_up = duration;
        self
    }

    /// Holds when this long after the warm-up no request was counted on the new slot. Not set by default: the gate then
    /// is undecided until the pipeline loses its patience.
    #[must_use]
    pub fn require_traffic_by(mut self, duration: Duration) -> Self {
        self.rules.require_traffic_by = Some(duration);
        self
    }

    /// Fails as soon as there were so many bad requests more than the old slot's rate (or, without a baseline, the
    /// limit) explains, whatever the statistics say. It counts from the first request of the operation on, the warm-up and
    /// the time between two steps included.
    ///
    /// Unless set, a gate on failed requests, or a custom one, has a cap for gross failures:
    /// [`DEFAULT_DAMAGE_CAP`](super::DEFAULT_DAMAGE_CAP) requests more than ten times that rate explains. One on slow
    /// requests has none: a slow answer is an answer, and a pause of one second exceeds any number under much traffic. A
    /// cap of one's own tolerates the rate just once, and under much traffic chance alone exceeds any fixed number;
    /// [`alpha`](Self::alpha) does not cover that.
    ///
    /// # Errors
    /// `Config` when it is 0.
    pub fn damage_cap(mut self, requests: u64) -> Result<Self> {
        if requests == 0 {
            return Err(Error::config("a damage cap of 0 bad requests would fail every release"));
        }
        self.rules.damage_cap = Some(DamageCap::of(requests));
        Ok(self)
    }

    /// Judges by the evidence alone, whatever it costs until there is enough.
    #[must_use]
    pub fn without_damage_cap(mut self) -> Self {
        self.rules.damage_cap = None;
        self
    }

    /// Whether to hold when the requests of both slots are not divided as the split says; on by default. Turn it off
    /// where the division is known to be uneven: sticky sessions, a few long-lived connections, requests that reach
    /// the instances past the router.
    #[must_use]
    pub fn routing_guard(mut self, on: bool) -> Self {
        self.rules.routing_guard = on;
        self
    }

    fn with(
        name: Cow<'static, str>,
        bad: &'static str,
        source: impl MetricSource,
        limit: f64,
        pass_grid: &'static [f64],
    ) -> Self {
        let rules = Rules {
            bad,
            limit,
            above: AboveLimit::at(limit),
            below: BelowLimit::at(limit, pass_grid),
            alpha: DEFAULT_ERROR_PROBABILITY,
            beta: DEFAULT_ERROR_PROBABILITY,
            warm_up: DEFAULT_WARM_UP,
            require_traffic_by: None,
            damage_cap: Some(DamageCap::default()),
            routing_guard: true,
        };
        Self { name, source: Arc::new(source), rules, pass_grid, books: Mutex::default() }
    }

    fn books(&self, service: &ServiceName) -> Arc<Shared> {
        // Nothing can panic while the lock is held, so that a poisoned map is as good as any.
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(books.entry(service.clone()).or_default())
    }
}

#[async_trait]
impl Gate for RateGate {
    async fn judge(&self, window: &Window) -> Result<Verdict> {
        let books = self.books(&window.target.service);
        let mut books = books.lock().await;
        let old = async {
            match &window.baseline {
                Some((target, instance)) => Some(Look::from(self.source.sample(target, instance).await)),
                None => None,
            }
        };
        let (new, old) = tokio::join!(self.source.sample(&window.target, &window.instance), old);

        let Books { history, ledger } = &mut *books;
        let ledger = ledger.get_or_insert_with(|| Ledger::new(window));
        ledger.turn_to(window, &self.rules);
        if let Some(history) = history.take_if(|history| history.operation == window.target.operation) {
            ledger.learn(history.dispersion);
        }
        ledger.enter(&self.rules, new.into(), old, window.elapsed);
        if let Some(why) = ledger.missed_why.as_ref().filter(|_| ledger.missed >= MISSES_TO_WARN) {
            tracing::warn!(gate = %self, target = %window.target, misses = ledger.missed, why, "no metrics");
        }
        Ok(decide(&self.rules, ledger, window))
    }

    async fn preview(&self, live: &Target, instance: &Instance) -> Result<()> {
        match self.source.sample(live, instance).await? {
            Sample::Data(_) => Ok(()),
            Sample::NoData { reason } => Err(Error::new(ErrorKind::NotFound, reason)),
            Sample::Untrusted { reason } => Err(Error::new(ErrorKind::Unexpected, reason)),
        }
    }

    async fn learn(&self, live: &Target, instance: &Instance) -> Result<()> {
        let sample = self.source.sample(live, instance).await?;
        let books = self.books(&live.service);
        let history = &mut books.lock().await.history;
        let history = match history {
            Some(history) if history.operation == live.operation => history,
            _ => history.insert(History::new(live.operation.clone())),
        };
        history.enter(&sample);
        Ok(())
    }
}

/// One look without an answer happens; several in a row are worth a warning.
const MISSES_TO_WARN: u32 = 3;

impl fmt::Display for RateGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at most {}", self.name, percent(self.rules.limit))
    }
}

impl fmt::Debug for RateGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateGate").field("name", &self.name).field("rules", &self.rules).finish_non_exhaustive()
    }
}
