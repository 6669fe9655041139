use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Counters, Error, Health, Instance, MetricSource, Result, Sample, Target};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::http_check::HttpCheck;
use crate::reach::Place;

/// How long probing goes on after the last sample: longer than any gate waits from one look to the next.
const IDLE_AFTER: Duration = Duration::from_secs(30);

/// At most this many requests are under way at once, when all of them hang until their time is over.
const MOST_UNDER_WAY: f64 = 1000.0;

/// Sends requests itself and counts them, for a service without metrics or without traffic of its own.
///
/// ```
/// use std::time::Duration;
/// use bluegreen_http::{ActiveProbe, HttpCheck};
///
/// // 20 requests a second to the slot that is judged; bad is what fails or takes longer than 500 ms.
/// let probe = ActiveProbe::builder(HttpCheck::get("/search?q=test")?, 20)
///     .slower_than(Duration::from_millis(500))
///     .build()?;
/// # let _ = probe;
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// Where both slots are read at the same time, both get this load, whatever the router's split is. So a gate on it must
/// not compare the division of requests with the split: `RateGate::builder(BadRequests::Failed, probe).routing_guard(false)`.
///
/// A request is bad when the [`HttpCheck`] finds its answer unhealthy. With several endpoints, they take turns.
///
/// # What it guarantees
///
/// - The first sample of an instance starts the probing and counts from zero; each instance has counters of its own.
/// - It stops by itself 30 s after the last sample (see [`idle_after`](ActiveProbeBuilder::idle_after)), and at once
///   when the source is dropped. A sample after that starts it again; the counters go on.
/// - Load is bounded: the rate is never made up for after a delay, and the number of requests under way cannot grow
///   beyond rate times timeout, which is at most 1,000.
/// - What could not be asked at all (no tunnel, say) counts as no request; the next sample returns that error.
///
/// Must be sampled on a tokio runtime. A check of an absolute URL goes wherever the router sends it, so its counters do
/// not belong to one slot: useful only when all traffic goes to the slot that is judged.
#[derive(Debug)]
pub struct ActiveProbe {
    settings: Settings,
    runs: Mutex<HashMap<Vec<String>, Run>>,
}

/// Makes an [`ActiveProbe`].
#[derive(Debug, Clone)]
pub struct ActiveProbeBuilder(Settings);

#[derive(Debug, Clone)]
struct Settings {
    check: HttpCheck,
    per_second: u32,
    slower_than: Option<Duration>,
    idle_after: Duration,
}

/// The probing of one instance. It ends with this value.
#[derive(Debug)]
struct Run {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    places: Vec<(Place, Tally)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct Tally {
    requests: AtomicU64,
    bad: AtomicU64,
}

#[derive(Debug)]
struct State {
    sampled: Instant,
    trouble: Option<Error>,
}

impl ActiveProbe {
    /// Probes with this check, so many times a second.
    pub fn builder(check: HttpCheck, per_second: u32) -> ActiveProbeBuilder {
        ActiveProbeBuilder(Settings { check, per_second, slower_than: None, idle_after: IDLE_AFTER })
    }
}

impl ActiveProbeBuilder {
    /// A request that takes longer than this, from its start to the end of its answer, is bad as well.
    #[must_use]
    pub fn slower_than(mut self, limit: Duration) -> Self {
        self.0.slower_than = Some(limit);
        self
    }

    /// How long probing goes on after the last sample. Default: 30 s.
    #[must_use]
    pub fn idle_after(mut self, time: Duration) -> Self {
        self.0.idle_after = time;
        self
    }

    /// The source. Nothing is sent yet.
    ///
    /// # Errors
    /// `Config` when the rate is zero, or so high that more than 1,000 requests could be under way at once.
    pub fn build(self) -> Result<ActiveProbe> {
        let Settings { check, per_second, idle_after, .. } = &self.0;
        let refused = |why: String| Err(Error::config(why).with_operation(format!("set up probing by {check}")));
        if *per_second == 0 {
            return refused("no requests a second are no probing".to_owned());
        }
        if idle_after.is_zero() {
            return refused("probing that is idle at once sends nothing".to_owned());
        }
        let under_way = f64::from(*per_second) * check.timeout().as_secs_f64();
        if under_way > MOST_UNDER_WAY {
            return refused(format!(
                "{per_second} requests a second with a timeout of {:?} are up to {under_way} at once, and {MOST_UNDER_WAY} are allowed",
                check.timeout()
            ));
        }
        Ok(ActiveProbe { settings: self.0, runs: Mutex::new(HashMap::new()) })
    }
}

#[async_trait]
impl MetricSource for ActiveProbe {
    async fn sample(&self, target: &Target, instance: &Instance) -> Result<Sample> {
        let failed = |error: Error| error.with_operation(self.to_string());
        let places = self.settings.check.places(instance).map_err(failed)?;
        let mut key = vec![target.service.to_string(), target.slot.to_string(), target.version().to_string()];
        key.extend(places.iter().map(ToString::to_string));

        let mut runs = locked(&self.runs);
        runs.retain(|have, run| *have == key || !run.task.is_finished());
        let run = runs.entry(key).or_insert_with(|| Run::start(&self.settings, Shared::new(places)));
        let trouble = run.shared.touch();
        if run.task.is_finished() {
            *run = Run::start(&self.settings, Arc::clone(&run.shared));
        }
        match trouble {
            Some(error) => Err(failed(error)),
            None => Ok(Sample::Data(run.shared.counters())),
        }
    }
}

impl Run {
    fn start(settings: &Settings, shared: Arc<Shared>) -> Self {
        let task = tokio::spawn(probe(settings.clone(), Arc::clone(&shared)));
        Self { shared, task }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn new(places: Vec<Place>) -> Arc<Self> {
        let places = places.into_iter().map(|place| (place, Tally::default())).collect();
        Arc::new(Self { places, state: Mutex::new(State { sampled: Instant::now(), trouble: None }) })
    }

    /// Notes that it was sampled; returns what went wrong since the last time.
    fn touch(&self) -> Option<Error> {
        let mut state = locked(&self.state);
        state.sampled = Instant::now();
        state.trouble.take()
    }

    fn counters(&self) -> BTreeMap<String, Counters> {
        let read = |tally: &Tally| {
            // Bad ones are counted last and read first, so they never exceed the requests.
            let bad = tally.bad.load(Ordering::SeqCst);
            Counters { requests: tally.requests.load(Ordering::SeqCst), bad }
        };
        self.places.iter().map(|(place, tally)| (format!("probes of {place}"), read(tally))).collect()
    }
}

/// Sends requests at the given rate until nobody samples any more. All of them end with this future.
async fn probe(settings: Settings, shared: Arc<Shared>) {
    let mut ticks = interval(Duration::from_secs(1) / settings.per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turns = shared.places.iter().cycle();
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let idle = locked(&shared.state).sampled.elapsed() >= settings.idle_after;
                match turns.next() {
                    Some((place, tally)) if !idle => under_way.push(once(&settings, &shared, place, tally)),
                    _ => return,
                }
            }
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
        }
    }
}

async fn once(settings: &Settings, shared: &Shared, place: &Place, tally: &Tally) {
    let began = Instant::now();
    let well = match settings.check.look(place).await {
        Ok(Health::Healthy { .. }) => settings.slower_than.is_none_or(|limit| began.elapsed() <= limit),
        Ok(Health::Unhealthy { .. }) => false,
        Err(error) => {
            locked(&shared.state).trouble = Some(error);
            return;
        }
    };
    tally.requests.fetch_add(1, Ordering::SeqCst);
    if !well {
        tally.bad.fetch_add(1, Ordering::SeqCst);
    }
}

/// What is behind these locks is whole at every moment, so a panic elsewhere leaves it usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for ActiveProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} probes a second by {}", self.settings.per_second, self.settings.check)
    }
}
