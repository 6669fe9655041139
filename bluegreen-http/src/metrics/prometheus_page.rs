use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Instance, MetricSource, Result, Sample, Target};
use futures::future::try_join_all;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue};

use crate::exchange::{Answer, Outcome};
use crate::headers::{HeaderSettings, Headers};
use crate::mask::Mask;
use crate::metrics::count::{Counted, Counting};
use crate::metrics::exposition::Page;
use crate::metrics::selector::{Matchers, Selector};
use crate::reach::{Ask, Place, Reach, ReachSettings, checked_path, header_setters, reach_setters};

/// How much of a page is read; a larger one is an error.
const PAGE_LIMIT: usize = 16 << 20;

/// Reads the counters from the instance's own metrics page, `/metrics` in the text format of Prometheus. No Prometheus
/// server is needed.
///
/// ```
/// use bluegreen_http::PrometheusPage;
///
/// // Requests, of which those with a status of 5xx are bad.
/// let errors = PrometheusPage::by_label(r#"http_requests_total{handler!="/metrics"}"#, r#"status=~"5..""#).build()?;
///
/// // A counter of its own for bad requests.
/// let failures = PrometheusPage::by_counters("requests_total", "failures_total").path("/stats").build()?;
///
/// // A histogram: slower than 0.5 s is bad. Exact, since it counts by the bucket `le="0.5"`, which must exist.
/// let slow = PrometheusPage::by_bucket("http_request_duration_seconds", 0.5).endpoint("admin").build()?;
/// # let _ = (errors, failures, slow);
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// Selectors are written as in PromQL: a name, then matchers with `=`, `!=`, `=~` or `!~`; a regular expression must
/// match all of the value.
///
/// # What it guarantees
///
/// - Each endpoint of the name is scraped, and each series of each endpoint is a series of the sample, so that the
///   restart of one process is seen as such. Lines that differ only in the labels by which bad ones are told apart are
///   one series: the first error of a release is growth of a series that was there before.
/// - A page without the metric is [`Sample::NoData`].
/// - What would silently count nothing as bad is an error: a label that no line has, a bucket that does not exist (the
///   error names those that do), a value that is not a number, a page with a line that cannot be read.
#[derive(Debug, Clone)]
pub struct PrometheusPage {
    reach: Reach,
    path: String,
    headers: Headers,
    mask: Mask,
    counting: Counting,
}

/// Makes a [`PrometheusPage`].
#[derive(Debug, Clone)]
pub struct PrometheusPageBuilder {
    reach: ReachSettings,
    path: String,
    headers: HeaderSettings,
    counting: Given,
}

#[derive(Debug, Clone)]
enum Given {
    Label { requests: String, bad: String },
    Counters { requests: String, bad: String },
    Bucket { histogram: String, le: f64 },
}

impl PrometheusPage {
    /// Counts the requests of a counter, of which those whose labels match are bad: `status=~"5.."`.
    pub fn by_label(requests: impl Into<String>, bad: impl Into<String>) -> PrometheusPageBuilder {
        PrometheusPageBuilder::new(Given::Label { requests: requests.into(), bad: bad.into() })
    }

    /// Counts requests by one counter and bad ones by another. The one for bad requests must be on the page, be it as
    /// a `# TYPE` without a value: a name that nobody knows may be misspelt, and is no data.
    pub fn by_counters(requests: impl Into<String>, bad: impl Into<String>) -> PrometheusPageBuilder {
        PrometheusPageBuilder::new(Given::Counters { requests: requests.into(), bad: bad.into() })
    }

    /// Counts the requests of a histogram (named without `_bucket`), of which those above the bound are bad. The bound
    /// is one of the histogram's own, in its own unit.
    pub fn by_bucket(histogram: impl Into<String>, le: f64) -> PrometheusPageBuilder {
        PrometheusPageBuilder::new(Given::Bucket { histogram: histogram.into(), le })
    }

    async fn scrape(&self, place: &Place) -> Result<Counted> {
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
                .trying("scrape a metrics page")
                .with("url", format!("{}{}", route.url(Some(&self.path)), route.through()))
        })
    }

    fn read(&self, answer: &Answer) -> Result<Counted> {
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
        let text = std::str::from_utf8(&answer.body).map_err(|error| unreadable(error.to_string()))?;
        self.counting.count(&Page::parse(text).map_err(unreadable)?)
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
    fn new(counting: Given) -> Self {
        Self {
            reach: ReachSettings { body_limit: PAGE_LIMIT, ..ReachSettings::default() },
            path: "/metrics".to_owned(),
            headers: HeaderSettings::default(),
            counting,
        }
    }

    reach_setters!();
    header_setters!();

    /// The page's path; `/metrics` if not given.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// How long one scrape may take in all; [`DEFAULT_TIMEOUT`](crate::DEFAULT_TIMEOUT) if not given.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.reach.timeout = timeout;
        self
    }

    /// The source.
    ///
    /// # Errors
    /// `Config` when a selector, the bound, the path or a header is not valid.
    pub fn build(self) -> Result<PrometheusPage> {
        self.validated().map_err(|error| error.trying("set up a metrics page"))
    }

    fn validated(self) -> Result<PrometheusPage> {
        checked_path(&self.path)?;
        let counting = match self.counting {
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
        let mask = Mask::new(&headers.secrets);
        Ok(PrometheusPage { reach: self.reach.build()?, path: self.path, headers, mask, counting })
    }
}

fn histogram_name(text: &str) -> Result<Selector> {
    let selector = Selector::parse(text)?;
    match ["_bucket", "_count", "_sum"].iter().find_map(|suffix| selector.name.strip_suffix(suffix)) {
        Some(bare) => {
            Err(Error::config(format!("{} is a part of a histogram", selector.name)).advice(format!("write {bare}")))
        }
        None => Ok(selector),
    }
}

#[async_trait]
impl MetricSource for PrometheusPage {
    async fn sample(&self, _target: &Target, instance: &Instance) -> Result<Sample> {
        let places = self.reach.places(instance).map_err(|error| error.trying(self.to_string()))?;
        let pages = try_join_all(places.iter().map(|place| self.scrape(place))).await?;
        let (mut all, mut reasons) = (BTreeMap::new(), Vec::new());
        for (place, counted) in places.iter().zip(pages) {
            match counted {
                Counted::Series(series) => {
                    all.extend(series.into_iter().map(|(name, counters)| (format!("{place}: {name}"), counters)));
                }
                Counted::Nothing(reason) => reasons.push(format!("{place}: {reason}")),
            }
        }
        Ok(if all.is_empty() { Sample::NoData { reason: reasons.join("; ") } } else { Sample::Data(all) })
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
