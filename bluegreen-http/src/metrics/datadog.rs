use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{Counters, Error, ErrorKind, Instance, Mask, MetricSource, Result, Sample, Secret, Target};
use serde::Deserialize;

use crate::escape::url_component;
use crate::exchange::{Answer, Outcome};
use crate::headers::{HeaderSettings, Headers};
use crate::mask::mask_of;
use crate::metrics::count::as_count;
use crate::metrics::prometheus_page::refusal;
use crate::metrics::query::Query;
use crate::metrics::since::{Beginnings, Span};
use crate::reach::{Ask, DEFAULT_TIMEOUT, Place, Reach, ReachSettings, timeout_setter};

/// The API of the site `datadoghq.com`. See [`DatadogBuilder::url`] for others.
pub const DEFAULT_DATADOG_URL: &str = "https://api.datadoghq.com";

/// Into pieces of so many seconds Datadog divides the time. Whole minutes, so that pieces do not shift between two looks; a
/// day of them is within what one answer holds.
const PIECE: u64 = 60;

/// Counts by metrics of Datadog, through its query API.
///
/// ```
/// use bluegreen_core::Secret;
/// use bluegreen_http::Datadog;
///
/// let source = Datadog::builder(Secret::new("api key"), Secret::new("application key"))
///     .requests("sum:trace.http.request.hits{service:shop,slot:{{slot}}}.as_count()")
///     .bad("sum:trace.http.request.errors{service:shop,slot:{{slot}}}.as_count()")
///     .no_point_is_zero(true)
///     .build()?;
/// # let _ = source;
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// `{{slot}}`, `{{version}}` and `{{service}}` stand for those of the release that is judged, as Datadog writes tags: in lower
/// case, with `_` for `+`.
///
/// # What it guarantees
///
/// - What is counted are the points since the first look at the release in an operation, by the minute, so that counts only
///   grow. Points reach Datadog late: give the gate a
///   [`warm_up`](bluegreen_core::gates::RateGateBuilder::warm_up) of at least a minute.
/// - A metric without a point is [`Sample::NoData`]. Datadog has no series for what never happened, so nothing found may mean that
///   nothing is bad, or that a tag is misspelt, and only you can tell: see [`DatadogBuilder::no_point_is_zero`].
/// - Points that are no counts (negative, or not a number) are an error.
#[derive(Debug, Clone)]
pub struct Datadog {
    reach: Reach,
    place: Place,
    headers: Headers,
    mask: Mask,
    requests: Query,
    bad: Query,
    no_point_is_zero: bool,
    begun: Arc<Beginnings>,
}

/// Makes a [`Datadog`].
#[derive(Debug, Clone)]
pub struct DatadogBuilder {
    reach: ReachSettings,
    api_key: Secret,
    application_key: Secret,
    requests: String,
    bad: String,
    no_point_is_zero: bool,
}

/// An answer of `/api/v1/query`.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Series {
    /// A moment in milliseconds, and the value then.
    pointlist: Vec<(f64, Option<f64>)>,
}

impl Datadog {
    /// The metrics of an organization, read with an API key and an application key.
    pub fn builder(api_key: Secret, application_key: Secret) -> DatadogBuilder {
        DatadogBuilder {
            reach: ReachSettings { timeout: DEFAULT_TIMEOUT / 2, ..ReachSettings::at(DEFAULT_DATADOG_URL) },
            api_key,
            application_key,
            requests: String::new(),
            bad: String::new(),
            no_point_is_zero: false,
        }
    }

    /// The sum of all points; `None` when there are none.
    async fn sum(&self, query: &str, Span { from, to }: Span) -> Result<Option<u64>> {
        let rolled = url_component(&format!("{query}.rollup(sum, {PIECE})"));
        let path = format!("/api/v1/query?from={from}&to={to}&query={rolled}");
        let ask = Ask { path: Some(&path), headers: self.headers.map.clone(), ..Ask::default() };
        match self.reach.open(&self.place).await?.ask(ask).await? {
            Outcome::Answered(answer) => self.read(&answer),
            Outcome::Silent(silence) => Err(silence.into_error()),
        }
    }

    fn read(&self, answer: &Answer) -> Result<Option<u64>> {
        let reply: Option<Reply> = serde_json::from_slice(&answer.body).ok().filter(|_| answer.complete);
        let Some(reply) = reply.filter(|reply| answer.status.is_success() || !reply.errors.is_empty()) else {
            let kind = if answer.status.is_success() { ErrorKind::Unexpected } else { refusal(answer.status) };
            let got = answer.describe(&self.mask);
            return Err(Error::new(kind, format!("this is no answer of Datadog: got {got}")).not_applied());
        };
        if let Some(problem) = reply.errors.first().or(reply.error.as_ref().filter(|text| !text.is_empty())) {
            let kind = if answer.status.as_u16() == 400 { ErrorKind::Config } else { refusal(answer.status) };
            let what = format!("{}: {}", answer.status, self.mask.apply(problem));
            return Err(Error::new(kind, what).not_applied());
        }
        let mut points =
            reply.series.iter().flat_map(|series| &series.pointlist).filter_map(|point| point.1).peekable();
        if points.peek().is_none() {
            return Ok(None);
        }
        let whole = |value: f64| {
            as_count(value)
                .ok_or_else(|| Error::new(ErrorKind::Unexpected, format!("a point is {value}")).not_applied())
        };
        // Each point is looked at: a sum would hide a negative one.
        points.try_fold(0.0, |sum, value| whole(value).map(|_| sum + value)).and_then(whole).map(Some)
    }
}

impl DatadogBuilder {
    /// The API of another site, such as `https://api.datadoghq.eu`. Default: [`DEFAULT_DATADOG_URL`].
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.reach.url = Some(url.into());
        self
    }

    /// The query for all requests, as a count and without a rollup: `sum:...{...}.as_count()`.
    #[must_use]
    pub fn requests(mut self, query: impl Into<String>) -> Self {
        self.requests = query.into();
        self
    }

    /// The query for the bad ones among them.
    #[must_use]
    pub fn bad(mut self, query: impl Into<String>) -> Self {
        self.bad = query.into();
        self
    }

    /// Whether no point of bad requests means that there were none, while there are points of requests. Default: no.
    #[must_use]
    pub fn no_point_is_zero(mut self, is_zero: bool) -> Self {
        self.no_point_is_zero = is_zero;
        self
    }

    timeout_setter! {
        /// How long one query may take in all. Default: 2 s. The pipeline has a limit of its own for a look at a
        /// gate, in which both queries must fit.
    }

    /// Checks the settings and makes the source.
    ///
    /// # Errors
    /// `Config` when the URL, a key or a query is not valid; the queries' grammar is Datadog's business.
    pub fn build(self) -> Result<Datadog> {
        self.validated().map_err(|error| error.with_operation("set up Datadog queries"))
    }

    fn validated(self) -> Result<Datadog> {
        let mut headers = HeaderSettings::default();
        headers.secret("dd-api-key".to_owned(), self.api_key);
        headers.secret("dd-application-key".to_owned(), self.application_key);
        let (headers, reach) = (headers.build()?, self.reach.build()?);
        let place = reach.places(&Instance::Absent)?.pop().ok_or_else(|| Error::config("no URL is given"))?;
        Ok(Datadog {
            reach,
            place,
            mask: mask_of(&headers.secrets),
            headers,
            requests: Query::of_tags(&self.requests).map_err(|error| error.with("query", "requests"))?,
            bad: Query::of_tags(&self.bad).map_err(|error| error.with("query", "bad"))?,
            no_point_is_zero: self.no_point_is_zero,
            begun: Arc::default(),
        })
    }
}

#[async_trait]
impl MetricSource for Datadog {
    async fn sample(&self, target: &Target, _instance: &Instance) -> Result<Sample> {
        let span = self.begun.until_now(target, PIECE);
        let (requests, bad) = (self.requests.render(target), self.bad.render(target));
        let failed = |error: Error, query: &str| error.with_operation(format!("ask {self}")).with("query", query);
        let (all, ill) = tokio::join!(self.sum(&requests, span), self.sum(&bad, span));
        let Some(all) = all.map_err(|error| failed(error, &requests))? else {
            return Ok(Sample::NoData { reason: format!("no point yet: {requests}") });
        };
        let zero = self.no_point_is_zero.then_some(0);
        let Some(ill) = ill.map_err(|error| failed(error, &bad))?.or(zero) else {
            let reason = format!("no point yet: {bad}; if that means that nothing is bad, set `no_point_is_zero`");
            return Ok(Sample::NoData { reason });
        };
        Ok(Sample::Data([("all".to_owned(), Counters { requests: all, bad: ill })].into()))
    }
}

impl fmt::Display for Datadog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datadog at {}", self.reach)
    }
}
