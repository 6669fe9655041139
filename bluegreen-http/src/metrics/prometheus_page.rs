use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bluegreen_core::{
    Counters, Doubt, Error, ErrorKind, Instance, Mask, MetricSource, OperationId, Result, Sample, ServiceName, Slot,
    Target, Version,
};
use bluegreen_http_client::StatusCode;
use bluegreen_http_client::header::{ACCEPT, HeaderValue};
use futures::future::try_join_all;

use crate::exchange::{Answer, Outcome};
use crate::headers::{HeaderSettings, Headers};
use crate::mask::mask_of;
use crate::metrics::count::{Counted, Counting};
use crate::metrics::exposition::Page;
use crate::metrics::growth::Growth;
use crate::metrics::selector::{Matchers, Selector};
use crate::reach::{Ask, Place, Reach, ReachSettings, checked_path, header_setters, reach_setters, timeout_setter};

/// How often a page is read at the first sample of an operation. Of two processes that answer by chance, both are then
/// seen, in an order that shows it, in all but 7 of 64 cases, before anything is judged; of two that take turns, always.
const FIRST_READINGS: usize = 6;

/// How much of a page is read; a larger one is an error.
const PAGE_LIMIT: usize = 16 << 20;

/// Reads the counters from the instance's own metrics page, `/metrics` in the text format of Prometheus. No Prometheus
/// server is needed.
///
/// ```
/// use bluegreen_http::PrometheusPage;
///
/// // Requests, of which those with a status of 5xx are bad.
/// let errors = PrometheusPage::builder().by_label(r#"http_requests_total{handler!="/metrics"}"#, r#"status=~"5..""#).build()?;
///
/// // A counter of its own for bad requests.
/// let failures = PrometheusPage::builder().by_counters("requests_total", "failures_total").path("/stats").build()?;
///
/// // A histogram: slower than 0.5 s is bad. Exact, since it counts by the bucket `le="0.5"`, which must exist.
/// let slow = PrometheusPage::builder().by_bucket("http_request_duration_seconds", 0.5).endpoint("admin").build()?;
/// # let _ = (errors, failures, slow);
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// Selectors are written as in PromQL: a name, then matchers with `=`, `!=`, `=~` or `!~`; a regular expression must
/// match all of the value.
///
/// # What it guarantees
///
/// - Each endpoint of the name is scraped, and is one series of the sample, which only ever grows: the source follows
///   every line of the page by itself, notices when a restart set one back, and counts a line that is new on a page
///   from zero. So the first error of a release counts, although its line appears only with it.
/// - A restart is told from several processes that answer in turn by `process_start_time_seconds`, where the page has it
///   (see [`Continuity`](bluegreen_core::Continuity)). Several processes are [`Sample::Untrusted`]: have the page add
///   them up, or give each an endpoint of its own.
/// - A page without the metric is [`Sample::NoData`].
/// - What would silently count nothing as bad is an error: a label that no line has, a bucket that does not exist (the
///   error names those that do), a value that is not a number, a page with a line that cannot be read.
///
/// Clones share what was read.
#[derive(Debug, Clone)]
pub struct PrometheusPage {
    reach: Reach,
    path: String,
    headers: Headers,
    mask: Mask,
    counting: Counting,
    books: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Book>>>>>,
}

/// Where a page is: service, slot and endpoint.
type Key = (ServiceName, Slot, String);

/// What was read of one page so far. Held while the page is read, so that an older reading is never entered after a
/// newer one.
#[derive(Debug)]
struct Book {
    version: Version,
    operation: OperationId,
    growth: Growth,
}

/// What one page has counted so far.
struct Reading {
    counters: Counters,
    /// Why that cannot be trusted, if so.
    doubt: Option<Doubt>,
    /// Why the page has nothing now, if so.
    missing: Option<String>,
}

/// Makes a [`PrometheusPage`].
#[derive(Debug, Clone)]
pub struct PrometheusPageBuilder {
    reach: ReachSettings,
    path: String,
    headers: HeaderSettings,
    counting: Option<Given>,
}

#[derive(Debug, Clone)]
enum Given {
    Label { requests: String, bad: String },
    Counters { requests: String, bad: String },
    Bucket { histogram: String, le: f64 },
}

impl PrometheusPage {
    /// A page at `/metrics` of the instance's first endpoint. One of [`by_label`](PrometheusPageBuilder::by_label),
    /// [`by_counters`](PrometheusPageBuilder::by_counters) and [`by_bucket`](PrometheusPageBuilder::by_bucket) must follow.
    pub fn builder() -> PrometheusPageBuilder {
        PrometheusPageBuilder {
            reach: ReachSettings { body_limit: PAGE_LIMIT, ..ReachSettings::default() },
            path: "/metrics".to_owned(),
            headers: HeaderSettings::default(),
            counting: None,
        }
    }

    async fn read_place(&self, target: &Target, place: &Place) -> Result<Reading> {
        let book = self.book(target, place);
        let mut book = book.lock().await;
        if book.version != *target.version() || book.operation != target.operation {
            *book = Book::new(target);
        }
        let mut missing = None;
        for _ in 0..if book.growth.is_new() { FIRST_READINGS } else { 1 } {
            match self.scrape(place).await? {
                (Counted::Series(series), started) => book.growth.enter(series, started),
                (Counted::Nothing(reason), _) => {
                    missing = Some(format!("{place}: {reason}"));
                    break;
                }
            }
        }
        Ok(Reading { counters: book.growth.total(), doubt: book.growth.doubt(), missing })
    }

    fn page(&self, place: &Place) -> String {
        format!("{} of {place}", self.path)
    }

    fn book(&self, target: &Target, place: &Place) -> Arc<tokio::sync::Mutex<Book>> {
        let key = (target.service.clone(), target.slot, place.to_string());
        // Nothing can panic while the lock is held, so a poisoned map is as good as any.
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(books.entry(key).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(Book::new(target)))))
    }

    /// What one page counts, and when its process started.
    async fn scrape(&self, place: &Place) -> Result<(Counted, Option<f64>)> {
        let route = self.reach.open(place).await?;
        let mut headers = self.headers.map.clone();
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("text/plain;version=0.0.4"));
        let ask = Ask { path: Some(&self.path), headers, ..Ask::default() };
        let counted = match route.ask(ask).await? {
            Outcome::Answered(answer) => self.read(&answer),
            Outcome::Silent(silence) => Err(silence.into_error()),
        };
        counted.map_err(|error| {
            error
                .with_operation("scrape a metrics page")
                .with("url", format!("{}{}", route.url(Some(&self.path)), route.through()))
        })
    }

    fn read(&self, answer: &Answer) -> Result<(Counted, Option<f64>)> {
        if answer.status != StatusCode::OK {
            return Err(
                Error::new(refusal(answer.status), format!("got {}", answer.describe(&self.mask))).not_applied()
            );
        }
        if !answer.complete {
            return Err(
                Error::new(ErrorKind::Unexpected, format!("the page is longer than {PAGE_LIMIT} bytes")).not_applied()
            );
        }
        let unreadable = |why: String| {
            let message = format!("this is not a page of metrics: {why}, got {}", answer.describe(&self.mask));
            Error::new(ErrorKind::Unexpected, message).not_applied()
        };
        if answer.unreadable.is_some() {
            return Err(unreadable("it was not decoded".to_owned()));
        }
        let text = std::str::from_utf8(&answer.body).map_err(|error| unreadable(error.to_string()))?;
        let page = Page::parse(text).map_err(unreadable)?;
        Ok((self.counting.count(&page)?, page.started()))
    }
}

impl Book {
    fn new(target: &Target) -> Self {
        Self { version: target.version().clone(), operation: target.operation.clone(), growth: Growth::default() }
    }
}

/// The kind of error that a refusal over HTTP is.
pub(crate) fn refusal(status: StatusCode) -> ErrorKind {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
        StatusCode::NOT_FOUND => ErrorKind::NotFound,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ErrorKind::Unreachable
        }
        _ => ErrorKind::Unexpected,
    }
}

impl PrometheusPageBuilder {
    /// Counts the requests of a counter, of which those whose labels match are bad: `status=~"5.."`.
    #[must_use]
    pub fn by_label(mut self, requests: impl Into<String>, bad: impl Into<String>) -> Self {
        self.counting = Some(Given::Label { requests: requests.into(), bad: bad.into() });
        self
    }

    /// Counts requests by one counter and bad ones by another. The counter of bad requests must be on the page, even if
    /// only as a `# TYPE` without a value: an unknown name may be misspelt, and is no data.
    #[must_use]
    pub fn by_counters(mut self, requests: impl Into<String>, bad: impl Into<String>) -> Self {
        self.counting = Some(Given::Counters { requests: requests.into(), bad: bad.into() });
        self
    }

    /// Counts the requests of a histogram (named without `_bucket`), of which those above the bound are bad. The bound
    /// is one of the histogram's own, in its own unit.
    #[must_use]
    pub fn by_bucket(mut self, histogram: impl Into<String>, le: f64) -> Self {
        self.counting = Some(Given::Bucket { histogram: histogram.into(), le });
        self
    }

    reach_setters!();
    header_setters!();

    /// The page's path. Default: `/metrics`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    timeout_setter! {
        /// How long one scrape may take in all. Default: 4 s ([`DEFAULT_TIMEOUT`](crate::DEFAULT_TIMEOUT)).
    }

    /// Checks the settings and makes the source.
    ///
    /// # Errors
    /// `Config` when nothing says which requests are bad, or when a selector, the bound, the path or a header is not valid.
    pub fn build(self) -> Result<PrometheusPage> {
        self.validated().map_err(|error| error.with_operation("set up a metrics page"))
    }

    fn validated(self) -> Result<PrometheusPage> {
        checked_path(&self.path)?;
        let given = self.counting.ok_or_else(|| {
            Error::config("nothing says which requests are bad").with_hint("call by_label, by_counters or by_bucket")
        })?;
        let counting = match given {
            Given::Label { requests, bad } => {
                let (requests, bad) = (Selector::parse(&requests)?, Matchers::parse(&bad)?);
                if bad.is_empty() {
                    return Err(Error::config("every request would be bad: no label tells which are"));
                }
                Counting::Label { requests, bad }
            }
            Given::Counters { requests, bad } => {
                Counting::Counters { requests: Selector::parse(&requests)?, bad: Selector::parse(&bad)? }
            }
            Given::Bucket { le, .. } if !le.is_finite() => {
                return Err(Error::config(format!("no request is slower than {le}, so none would be bad")));
            }
            Given::Bucket { histogram, le } => Counting::Bucket { histogram: histogram_name(&histogram)?, le },
        };
        let headers = self.headers.build()?;
        let mask = mask_of(&headers.secrets);
        Ok(PrometheusPage {
            reach: self.reach.build()?,
            path: self.path,
            headers,
            mask,
            counting,
            books: Arc::default(),
        })
    }
}

fn histogram_name(text: &str) -> Result<Selector> {
    let selector = Selector::parse(text)?;
    match ["_bucket", "_count", "_sum"].iter().find_map(|suffix| selector.name.strip_suffix(suffix)) {
        Some(bare) => {
            Err(Error::config(format!("{} is a part of a histogram", selector.name)).with_hint(format!("write {bare}")))
        }
        None => Ok(selector),
    }
}

#[async_trait]
impl MetricSource for PrometheusPage {
    async fn sample(&self, target: &Target, instance: &Instance) -> Result<Sample> {
        let places = self.reach.places(instance).map_err(|error| error.with_operation(self.to_string()))?;
        let readings = try_join_all(places.iter().map(|place| self.read_place(target, place))).await?;
        let doubts: Vec<_> =
            places.iter().zip(&readings).filter_map(|(place, page)| Some((place, page.doubt?))).collect();
        if let Some((place, doubt)) = doubts.iter().find(|(_, doubt)| *doubt == Doubt::SeveralProcesses) {
            return Ok(Sample::Untrusted { reason: format!("{}: {doubt}", self.page(place)) });
        }
        if let Some((place, doubt)) = doubts.first() {
            return Ok(Sample::NoData { reason: format!("{}: {doubt}", self.page(place)) });
        }
        let missing: Vec<&str> = readings.iter().filter_map(|page| page.missing.as_deref()).collect();
        if missing.len() == readings.len() {
            return Ok(Sample::NoData { reason: missing.join("; ") });
        }
        // Where one page has the metric, it is spelt right, and on the others nothing was counted yet.
        let series = places.iter().zip(&readings).map(|(place, page)| (place.to_string(), page.counters));
        Ok(Sample::Data(series.collect()))
    }
}

impl fmt::Display for PrometheusPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.counting {
            Counting::Label { requests, bad } => write!(f, "{requests} with {bad}")?,
            Counting::Counters { requests, bad } => write!(f, "{requests} with {bad}")?,
            Counting::Bucket { histogram, le } => write!(f, "{histogram} above {le}")?,
        }
        write!(f, " of {} at {}", self.path, self.reach)
    }
}
