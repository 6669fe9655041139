use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bluegreen_core::{Counters, Doubt, Error, ErrorKind, Instance, Mask, MetricSource, Result, Sample, Target};
use bluegreen_http_client::Method;
use bluegreen_http_client::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::escape::url_component;
use crate::exchange::{Answer, Outcome};
use crate::headers::{HeaderSettings, Headers};
use crate::mask::mask_of;
use crate::metrics::count::as_count;
use crate::metrics::exposition::write_labels;
use crate::metrics::prometheus_page::refusal;
use crate::metrics::query::Query;
use crate::reach::{Ask, DEFAULT_TIMEOUT, Place, Reach, ReachSettings, header_setters, timeout_setter};

/// Over what time, and in what steps, a server is asked how often a counter was set back: several scrapes in any case, and
/// short against the time from one deploy to the next.
const RESETS_WITHIN: &str = "2m:5s";

/// Reads the counters from a Prometheus server, or another one with its HTTP API (Thanos, Mimir, VictoriaMetrics).
///
/// ```
/// use bluegreen_http::PromQl;
///
/// let source = PromQl::builder("http://prometheus.internal:9090")
///     .requests(r#"sum by (instance) (http_requests_total{app="{{service}}",slot="{{slot}}"})"#)
///     .bad(r#"sum by (instance) (http_requests_total{app="{{service}}",slot="{{slot}}",code=~"5.."}) or vector(0)"#)
///     .build()?;
/// # let _ = source;
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// `{{slot}}`, `{{version}}` and `{{service}}` stand for those of the release that is judged. They stand inside quotes,
/// and are escaped for them; after `=~` and `!~` also as a regular expression.
///
/// Both queries must give **cumulative counters**, as `sum(x_total)` does: not `rate(..)` and not `increase(..)`, since
/// the gate itself looks at differences. Keep the label of the process, as above, so that the restart of one process is
/// not lost in a sum.
///
/// # What it guarantees
///
/// - Both queries are evaluated at the same moment. Each set of labels is a series.
/// - A query without a result is [`Sample::NoData`], and so is one for bad requests: nothing found may mean that
///   nothing is wrong or that a label is misspelt, and only you can tell. End it with `or vector(0)` to say that
///   nothing found is zero.
/// - The server is asked as well how often the counters of requests were set back in the last two minutes (`resets`). More
///   than once is [`Sample::Untrusted`]: several processes answer at one scraped address, or one restarts all the time. A
///   server that cannot tell is not asked further; the gate notices as well, later.
/// - A server that refuses, hangs, or answers otherwise is an error, and so is a value that is not a number.
#[derive(Debug, Clone)]
pub struct PromQl {
    reach: Reach,
    server: Place,
    headers: Headers,
    mask: Mask,
    requests: Query,
    bad: Query,
}

/// Makes a [`PromQl`].
#[derive(Debug, Clone)]
pub struct PromQlBuilder {
    reach: ReachSettings,
    headers: HeaderSettings,
    requests: String,
    bad: String,
}

/// An answer of `/api/v1/query`.
#[derive(Deserialize)]
struct Reply {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Element>),
    Scalar(Value),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    /// Missing for a native histogram.
    value: Option<Value>,
}

/// A time in seconds, and a number as text.
#[derive(Deserialize)]
struct Value(f64, String);

/// The result of one query: when it was evaluated, and the count of each series.
struct Evaluated {
    at: f64,
    series: BTreeMap<String, u64>,
}

impl PromQl {
    /// A server by its URL, without `/api/v1/query`; a prefix such as `/prometheus` belongs to it.
    pub fn builder(url: impl Into<String>) -> PromQlBuilder {
        PromQlBuilder {
            reach: ReachSettings { timeout: DEFAULT_TIMEOUT / 2, ..ReachSettings::at(url) },
            headers: HeaderSettings::default(),
            requests: String::new(),
            bad: String::new(),
        }
    }

    /// `None` when the result is empty.
    async fn evaluate(&self, query: &str, at: Option<f64>) -> Result<Option<Evaluated>> {
        let mut body = format!("query={}", url_component(query));
        if let Some(at) = at {
            body.push_str(&format!("&time={at}"));
        }
        let mut headers = self.headers.map.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let ask = Ask {
            method: Method::POST,
            path: Some("/api/v1/query"),
            headers,
            body: Some(body.into_bytes()),
            ..Ask::default()
        };
        match self.reach.open(&self.server).await?.ask(ask).await? {
            Outcome::Answered(answer) => self.read(&answer),
            Outcome::Silent(silence) => Err(silence.into_error()),
        }
    }

    fn read(&self, answer: &Answer) -> Result<Option<Evaluated>> {
        let got = || answer.describe(&self.mask);
        let reply: Option<Reply> = serde_json::from_slice(&answer.body).ok().filter(|_| answer.complete);
        let Some(reply) = reply else {
            let kind = if answer.status.is_success() { ErrorKind::Unexpected } else { refusal(answer.status) };
            return Err(
                Error::new(kind, format!("this is no answer of a Prometheus server: got {}", got())).not_applied()
            );
        };
        if let Some(error) = reply.error {
            // 400: the query is wrong; 422: it cannot be evaluated.
            let kind = if answer.status.as_u16() == 400 { ErrorKind::Config } else { refusal(answer.status) };
            return Err(Error::new(kind, format!("{}: {}", answer.status, self.mask.apply(&error))).not_applied());
        }
        match reply.data {
            Some(Data::Scalar(value)) => {
                Ok(Some(Evaluated { at: value.0, series: [(name(&BTreeMap::new()), count(&value)?)].into() }))
            }
            Some(Data::Vector(elements)) => {
                let mut evaluated: Option<Evaluated> = None;
                for element in elements {
                    let value = element.value.ok_or_else(|| not_counters("native histograms"))?;
                    let series = evaluated.get_or_insert_with(|| Evaluated { at: value.0, series: BTreeMap::new() });
                    *series.series.entry(name(&element.metric)).or_default() += count(&value)?;
                }
                Ok(evaluated)
            }
            Some(Data::Matrix(_)) => Err(not_counters("a range of values for each series")),
            Some(Data::String(_)) => Err(not_counters("a text")),
            None => {
                Err(Error::new(ErrorKind::Unexpected, format!("an answer without data: got {}", got())).not_applied())
            }
        }
    }
}

/// The name of a series by its labels. The metric's own name is left out, so that requests and bad ones meet.
fn name(labels: &BTreeMap<String, String>) -> String {
    let mut labels = labels.clone();
    labels.remove("__name__");
    if labels.is_empty() { "all".to_owned() } else { write_labels(&labels) }
}

fn count(value: &Value) -> Result<u64> {
    value.1.parse().ok().and_then(as_count).ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, format!("a value is {}, and a counter cannot be", value.1)).not_applied()
    })
}

fn not_counters(what: &str) -> Error {
    Error::config(format!("the result is {what}, and counters are needed")).with_hint("write sum(x_total) or the like")
}

impl PromQlBuilder {
    header_setters!();

    /// The query for all requests.
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

    timeout_setter! {
        /// How long one query may take in all. Default: 2 s. The pipeline has a limit of its own for a look at a
        /// gate, in which both queries must fit.
    }

    /// Checks the settings and makes the source.
    ///
    /// # Errors
    /// `Config` when the URL, a header or a query is not valid; the queries' grammar is the server's business.
    pub fn build(self) -> Result<PromQl> {
        self.validated().map_err(|error| error.with_operation("set up PromQL queries"))
    }

    fn validated(self) -> Result<PromQl> {
        let headers = self.headers.build()?;
        let reach = self.reach.build()?;
        let server = reach.places(&Instance::Absent)?.pop().ok_or_else(|| Error::config("no server is given"))?;
        Ok(PromQl {
            reach,
            server,
            mask: mask_of(&headers.secrets),
            headers,
            requests: Query::parse(&self.requests).map_err(|error| error.with("query", "requests"))?,
            bad: Query::parse(&self.bad).map_err(|error| error.with("query", "bad"))?,
        })
    }
}

#[async_trait]
impl MetricSource for PromQl {
    async fn sample(&self, target: &Target, _instance: &Instance) -> Result<Sample> {
        let (requests, bad) = (self.requests.render(target), self.bad.render(target));
        let failed = |error: Error, query: &str| error.with_operation(format!("ask {self}")).with("query", query);
        let Some(all) = self.evaluate(&requests, None).await.map_err(|error| failed(error, &requests))? else {
            return Ok(Sample::NoData { reason: format!("{requests} gives no result") });
        };
        let resets = format!("resets(({requests})[{RESETS_WITHIN}])");
        let (ill, reset) = tokio::join!(self.evaluate(&bad, Some(all.at)), self.evaluate(&resets, Some(all.at)));
        let Some(ill) = ill.map_err(|error| failed(error, &bad))? else {
            let reason =
                format!("{bad} gives no result; if that means that nothing is bad, end it with `or vector(0)`");
            return Ok(Sample::NoData { reason });
        };
        if let Ok(Some(resets)) = reset
            && let Some((series, _)) = resets.series.iter().find(|(_, resets)| **resets > 1)
        {
            return Ok(Sample::Untrusted { reason: format!("{series} of {requests}: {}", Doubt::SeveralProcesses) });
        }
        let mut series = BTreeMap::<String, Counters>::new();
        for (name, count) in all.series {
            series.entry(name).or_default().requests += count;
        }
        for (name, count) in ill.series {
            series.entry(name).or_default().bad += count;
        }
        Ok(Sample::Data(series))
    }
}

impl fmt::Display for PromQl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PromQL at {}", self.reach)
    }
}
