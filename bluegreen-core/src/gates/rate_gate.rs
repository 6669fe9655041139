//! [`RateGate`]: is the rate of bad requests within its limit?

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::gate::{Gate, Verdict, Window};
use crate::gates::decision::decide;
use crate::gates::history::History;
use crate::gates::ledger::{Ledger, Look};
use crate::gates::rules::Rules;
use crate::metric::{MetricSource, Sample};
use crate::types::{Instance, ServiceName, Target};

/// Judges whether the rate of bad requests is within its limit, from counters.
///
/// It does not compare a ratio with a threshold each time it looks: at 200 requests per look and a limit of 0.1 %, one
/// error would be over it. It collects [evidence](crate::gates), and says `Fail` or `Pass` when that is strong enough,
/// and until then how many more requests it needs. A release within the limit (and, with a baseline, not worse than
/// the old one) is failed with a probability of at most [`alpha`](super::RateGateBuilder::alpha) in a whole operation, however often it
/// is looked at. One above it passes a step with a probability of at most [`beta`](super::RateGateBuilder::beta).
///
/// Bad requests need not be independent. It fails a release by blocks of time of at least 2 s and 50 requests (60 s where
/// there are few), and each block is one piece of evidence, whatever happened within it: a burst of errors, or a pause in
/// which every request was slow. Rates that rise and fall more slowly than that are allowed for by half of the evidence
/// more, and by more than that where the old slot's errors are seen to swing. A pass has to assume something of what it
/// did not see: it takes as many times more requests as the bad ones of either slot come in bursts. What the old slot's are
/// like is learned from the beginning of the deploy on, while the new release is brought up.
///
/// What it counts are differences of cumulative counters inside the step, after a [warm-up](super::RateGateBuilder::warm_up). Counters
/// that a restart set back are noticed; where several processes answer in turn, it [holds](crate::Continuity). A look
/// without data is never a pass.
///
/// While the old slot gets traffic too ([`Window::baseline`]), it is read at the same time, and the release fails only
/// when it is shown to be worse than the old slot and not shown to be within the limit, or when it is above the limit
/// and the old slot is not and looks better. When both are above the limit, the environment is unhealthy:
/// [`Verdict::Hold`]. The less traffic the old slot gets, the longer it takes to tell the two apart; the
/// [`damage_cap`](super::RateGateBuilder::damage_cap) bounds what that may cost.
///
/// One value can judge many services at a time; it keeps its counts by service and operation.
///
/// ```
/// use std::time::Duration;
/// use bluegreen_core::{Error, MetricSource};
/// use bluegreen_core::gates::{BadRequests, RateGate};
///
/// fn gates(prometheus: impl MetricSource + Clone) -> Result<[RateGate; 2], Error> {
///     let (warm_up, soon) = (Duration::from_secs(20), Duration::from_secs(60));
///     Ok([
///         RateGate::errors(prometheus.clone()),
///         RateGate::builder(BadRequests::Slow, prometheus).warm_up(warm_up).require_traffic_by(soon).build()?,
///     ])
/// }
/// ```
pub struct RateGate {
    name: Cow<'static, str>,
    source: Arc<dyn MetricSource>,
    rules: Rules,
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
    pub(super) fn new(name: Cow<'static, str>, source: Arc<dyn MetricSource>, rules: Rules) -> Self {
        Self { name, source, rules, books: Mutex::default() }
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
        write!(f, "{} at most {}", self.name, self.rules.unit.limit(self.rules.limit))
    }
}

impl fmt::Debug for RateGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateGate").field("name", &self.name).field("rules", &self.rules).finish_non_exhaustive()
    }
}
