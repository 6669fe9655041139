//! [`LogMatches`]: the lines of a slot's log that match a pattern, as a metric.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::Result;
use crate::log_stream::overlap;
use crate::metric::{Counters, MetricSource, Sample};
use crate::router::Router;
use crate::runtime::Runtime;
use crate::types::{Instance, PerSlot, Target, Version};

/// Default for how many of the last lines of a log are read at each look: 2,000. A slot that writes more from one look to the
/// next is not judged.
pub const DEFAULT_LOG_LINES: usize = 2_000;

/// Under what name the lines stand beside the series of requests.
const SERIES: &str = "log";

/// Counts the lines of a slot's own log that match a pattern, such as exceptions, for a
/// [`RateGate`](crate::gates::RateGate). It reads what [`Runtime::logs`] gives: no log collector is needed.
///
/// What they are counted against is one of two things:
///
/// - **Requests**, as another source counts them: [`per_request`](Self::per_request).
/// - **Time**, where nothing counts requests: [`per_minute`](Self::per_minute). A slot with a tenth of the traffic is expected to
///   write a tenth of the lines, so time is weighted by the share of traffic that the router tells.
///
/// ```
/// use bluegreen_core::gates::{BadRequests, RateGate};
/// use bluegreen_core::memory::{MemoryRouter, MemoryRuntime};
/// use bluegreen_core::LogMatches;
///
/// let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
/// let is_exception = |line: &str| line.contains("[error]") && !line.contains("client disconnected");
/// let exceptions = LogMatches::per_minute(runtime, router, is_exception);
/// let gate = RateGate::builder(BadRequests::PerMinute("exceptions".into()), exceptions).limit_per_minute(2.0).build()?;
/// # let _ = gate;
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// # What it guarantees
///
/// - What a slot had written before the first look at its release does not count.
/// - Each line counts once. Lines are told apart by their text and order: a log whose lines carry no time and repeat each other
///   may count too few.
/// - A log that was truncated or rotated goes on with what is in it then.
/// - More lines between two looks than are read at once are [`Sample::Untrusted`]: the gate holds, since the lines between
///   nobody has seen.
pub struct LogMatches {
    runtime: Arc<dyn Runtime>,
    matches: Box<dyn Fn(&str) -> bool + Send + Sync>,
    against: Against,
    lines: usize,
    slots: PerSlot<Mutex<Option<Followed>>>,
}

enum Against {
    Requests(Arc<dyn MetricSource>),
    Time(Arc<dyn Router>),
}

/// The log of one release in one slot, as far as it was read.
struct Followed {
    version: Version,
    seen: Vec<String>,
    matched: u64,
    looked: Instant,
    /// The time that it had all traffic; that with a part of it counts for that part.
    loaded: Duration,
}

impl LogMatches {
    /// Matching lines against the requests that another source counts. What that one counts as bad does not matter here.
    pub fn per_request(
        runtime: impl Runtime,
        requests: impl MetricSource,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(Arc::new(runtime), Against::Requests(Arc::new(requests)), Box::new(matches))
    }

    /// Matching lines against time, for [`BadRequests::PerMinute`](crate::gates::BadRequests::PerMinute): a "request" is a
    /// millisecond of all traffic.
    pub fn per_minute(
        runtime: impl Runtime,
        router: impl Router,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(Arc::new(runtime), Against::Time(Arc::new(router)), Box::new(matches))
    }

    fn new(runtime: Arc<dyn Runtime>, against: Against, matches: Box<dyn Fn(&str) -> bool + Send + Sync>) -> Self {
        Self {
            runtime,
            matches,
            against,
            lines: DEFAULT_LOG_LINES,
            slots: PerSlot::new(Mutex::new(None), Mutex::new(None)),
        }
    }

    /// How many of the last lines are read at each look. Default: 2,000 ([`DEFAULT_LOG_LINES`]).
    #[must_use]
    pub fn lines(mut self, lines: usize) -> Self {
        self.lines = lines.max(1);
        self
    }

    /// The share of the traffic that the slot has now.
    async fn share(&self, target: &Target) -> Result<f64> {
        let Against::Time(router) = &self.against else { return Ok(0.0) };
        let split = router.current().await?;
        Ok(split.map_or(0.0, |split| f64::from(split.share(target.slot)) / 100.0))
    }

    /// Reads on. `Err` says why what was written since the last look is not known.
    async fn read(&self, target: &Target) -> Result<std::result::Result<(u64, Duration), String>> {
        let mut slot = self.slots[target.slot].lock().await;
        let (share, lines) = (self.share(target).await?, self.runtime.logs(target.slot, self.lines).await?);
        // From here on nothing is waited for: a look that is cut off has changed nothing.
        let looked = Instant::now();
        let version = target.version();
        let Some(log) = slot.as_mut().filter(|log| log.version == *version) else {
            let first = Followed { version: version.clone(), seen: lines, matched: 0, looked, loaded: Duration::ZERO };
            *slot = Some(first);
            return Ok(Ok((0, Duration::ZERO)));
        };
        let known = overlap(&log.seen, &lines);
        let is_lost = known == 0 && lines.len() >= self.lines;
        log.matched += lines[known..].iter().filter(|line| (self.matches)(line)).count() as u64;
        log.loaded += looked.duration_since(log.looked).mul_f64(share);
        (log.seen, log.looked) = (lines, looked);
        Ok(match is_lost {
            true => Err(format!(
                "{} wrote more than the {} lines that are read at a look: read more of them, or look more often",
                target.slot, self.lines
            )),
            false => Ok((log.matched, log.loaded)),
        })
    }
}

#[async_trait]
impl MetricSource for LogMatches {
    async fn sample(&self, target: &Target, instance: &Instance) -> Result<Sample> {
        let mut series = match &self.against {
            Against::Time(_) => BTreeMap::new(),
            Against::Requests(source) => match source.sample(target, instance).await? {
                Sample::Data(series) => series,
                other => return Ok(other),
            },
        };
        let read = self.read(target).await.map_err(|error| error.with_operation(format!("count {self}")))?;
        let (matched, loaded) = match read {
            Ok(read) => read,
            Err(reason) => return Ok(Sample::Untrusted { reason }),
        };
        series.values_mut().for_each(|counters| counters.bad = 0);
        let millis = u64::try_from(loaded.as_millis()).unwrap_or(u64::MAX);
        series.insert(SERIES.to_owned(), Counters { requests: millis, bad: matched });
        Ok(Sample::Data(series))
    }
}

impl fmt::Display for LogMatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "matching lines in the logs of {}", self.runtime)?;
        match &self.against {
            Against::Requests(source) => write!(f, ", against the requests of {source}"),
            Against::Time(router) => write!(f, ", against the traffic of {router}"),
        }
    }
}

impl fmt::Debug for LogMatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogMatches").field("lines", &self.lines).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::memory::{MemoryRouter, MemoryRuntime};
    use crate::types::{OperationId, Release, ServiceName, Slot, Split};

    fn target(version: &str) -> Target {
        let (service, operation) = (ServiceName::new("shop").unwrap(), OperationId::new("deploy-1").unwrap());
        Target::new(service, Slot::Green, Release::new(version).unwrap(), operation)
    }

    fn is_error(line: &str) -> bool {
        line.contains("[error]")
    }

    async fn counted(source: &LogMatches, version: &str) -> (u64, u64) {
        match source.sample(&target(version), &Instance::Absent).await.unwrap() {
            Sample::Data(series) => (series[SERIES].requests, series[SERIES].bad),
            other => panic!("{other:?}"),
        }
    }

    fn write<const N: usize>(runtime: &MemoryRuntime, lines: [&str; N]) {
        lines.into_iter().for_each(|line| runtime.log(Slot::Green, line));
    }

    #[tokio::test(start_paused = true)]
    async fn each_matching_line_counts_once_and_what_was_there_before_does_not() {
        let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
        let source = LogMatches::per_minute(runtime.clone(), router, is_error);
        write(&runtime, ["1 [error] old", "2 fine"]);
        assert_eq!(counted(&source, "2.0").await.1, 0);
        write(&runtime, ["3 [error] new", "4 fine", "5 [error] new"]);
        assert_eq!(counted(&source, "2.0").await.1, 2);
        assert_eq!(counted(&source, "2.0").await.1, 2);
        write(&runtime, ["6 [error]"]);
        assert_eq!(counted(&source, "2.0").await.1, 3);
        // Another release in the slot begins anew.
        assert_eq!(counted(&source, "3.0").await.1, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn more_lines_than_are_read_at_once_are_not_judged() {
        let runtime = MemoryRuntime::new();
        let source = LogMatches::per_minute(runtime.clone(), MemoryRouter::new(), is_error).lines(3);
        counted(&source, "2.0").await;
        write(&runtime, ["1", "2"]);
        assert_eq!(counted(&source, "2.0").await.1, 0, "a log that was empty, and is not full");
        write(&runtime, ["3 [error]", "4", "5", "6", "7"]);
        let Sample::Untrusted { reason } = source.sample(&target("2.0"), &Instance::Absent).await.unwrap() else {
            panic!("it was trusted")
        };
        assert!(reason.contains("green wrote more than the 3 lines"), "{reason}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_counts_by_the_share_of_traffic() {
        let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
        let source = LogMatches::per_minute(runtime.clone(), router.clone(), is_error);
        assert_eq!(counted(&source, "2.0").await.0, 0);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(counted(&source, "2.0").await.0, 0, "no traffic");
        router.switch_by_hand(Split::toward(Slot::Green, 10).ok());
        sleep(Duration::from_secs(10)).await;
        assert_eq!(counted(&source, "2.0").await.0, 1_000);
        router.switch_by_hand(Some(Split::all(Slot::Green)));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(counted(&source, "2.0").await.0, 11_000);
    }

    #[derive(Debug)]
    struct Requests(Sample);

    impl fmt::Display for Requests {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("requests")
        }
    }

    #[async_trait]
    impl MetricSource for Requests {
        async fn sample(&self, _target: &Target, _instance: &Instance) -> Result<Sample> {
            Ok(self.0.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_those_of_another_source_which_is_trusted_as_little_as_it_trusts_itself() {
        let runtime = MemoryRuntime::new();
        let data = Sample::Data([("web".to_owned(), Counters { requests: 500, bad: 7 })].into());
        let source = LogMatches::per_request(runtime.clone(), Requests(data), is_error);
        counted(&source, "2.0").await;
        write(&runtime, ["1 [error]"]);
        let sample = source.sample(&target("2.0"), &Instance::Absent).await.unwrap();
        let expected = [("log", 0, 1), ("web", 500, 0)];
        let expected = expected.map(|(name, requests, bad)| (name.to_owned(), Counters { requests, bad }));
        assert_eq!(sample, Sample::Data(expected.into()));
        for other in [Sample::NoData { reason: "none".into() }, Sample::Untrusted { reason: "two".into() }] {
            let source = LogMatches::per_request(runtime.clone(), Requests(other.clone()), is_error);
            assert_eq!(source.sample(&target("2.0"), &Instance::Absent).await.unwrap(), other);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_cannot_be_read_is_an_error_and_loses_nothing() {
        let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
        let source = LogMatches::per_minute(runtime.clone(), router, is_error);
        counted(&source, "2.0").await;
        write(&runtime, ["1 [error]"]);
        runtime.set_reachable(Slot::Green, false);
        let error = source.sample(&target("2.0"), &Instance::Absent).await.unwrap_err();
        assert!(error.to_string().contains("count matching lines in the logs of"), "{error}");
        runtime.set_reachable(Slot::Green, true);
        assert_eq!(counted(&source, "2.0").await.1, 1);
    }
}
