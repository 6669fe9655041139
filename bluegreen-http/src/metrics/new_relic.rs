use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{Counters, Error, ErrorKind, Instance, Mask, MetricSource, Result, Sample, Secret, Target};
use bluegreen_http_client::Method;
use bluegreen_http_client::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use crate::exchange::{Answer, Outcome};
use crate::headers::{HeaderSettings, Headers};
use crate::mask::mask_of;
use crate::metrics::count::as_count;
use crate::metrics::prometheus_page::refusal;
use crate::metrics::query::Query;
use crate::metrics::since::Beginnings;
use crate::reach::{Ask, DEFAULT_TIMEOUT, Place, Reach, ReachSettings, timeout_setter};

/// NerdGraph of an account in the United States. See [`NewRelicBuilder::url`] for others.
pub const DEFAULT_NEW_RELIC_URL: &str = "https://api.newrelic.com/graphql";

const GRAPHQL: &str =
    "query($account: Int!, $nrql: Nrql!) { actor { account(id: $account) { nrql(query: $nrql) { results } } } }";

/// Counts events of New Relic, by NRQL queries through NerdGraph.
///
/// ```
/// use bluegreen_core::Secret;
/// use bluegreen_http::NewRelic;
///
/// let source = NewRelic::builder(1_234_567, Secret::new("NRAK-..."))
///     .requests("appName = 'shop' AND slot = '{{slot}}'")
///     .bad("error IS true")
///     .build()?;
/// # let _ = source;
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// `{{slot}}`, `{{version}}` and `{{service}}` stand inside quotes for those of the release that is judged. The agent of each
/// instance has to report what they are compared with, as a custom attribute.
///
/// # What it guarantees
///
/// - What is counted are the events since the first look at the release in an operation, so that counts only grow. Events
///   reach New Relic late: give the gate a [`warm_up`](bluegreen_core::gates::RateGateBuilder::warm_up) of at least a minute.
/// - Both counts are of one query, over the same time.
/// - No event at all is [`Sample::NoData`]: nothing found may mean that an attribute is misspelt. A condition for bad ones that
///   names what no event has counts none, and nobody can tell: try it in New Relic's query builder first.
/// - An account whose events are sampled has its counts extrapolated by New Relic; the gate takes them as they are.
#[derive(Debug, Clone)]
pub struct NewRelic {
    reach: Reach,
    place: Place,
    account: u64,
    headers: Headers,
    mask: Mask,
    event: String,
    requests: Query,
    bad: Query,
    begun: Arc<Beginnings>,
}

/// Makes a [`NewRelic`].
#[derive(Debug, Clone)]
pub struct NewRelicBuilder {
    reach: ReachSettings,
    account: u64,
    key: Secret,
    event: String,
    requests: String,
    bad: String,
}

#[derive(Deserialize)]
struct Reply {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

#[derive(Deserialize)]
struct Data {
    actor: Option<Actor>,
}

#[derive(Deserialize)]
struct Actor {
    account: Option<Account>,
}

#[derive(Deserialize)]
struct Account {
    nrql: Option<Nrql>,
}

#[derive(Deserialize)]
struct Nrql {
    results: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    requests: f64,
    bad: f64,
}

impl NewRelic {
    /// The events of an account, read with a user key (`NRAK-...`).
    pub fn builder(account: u64, key: Secret) -> NewRelicBuilder {
        NewRelicBuilder {
            reach: ReachSettings { timeout: DEFAULT_TIMEOUT, ..ReachSettings::at(DEFAULT_NEW_RELIC_URL) },
            account,
            key,
            event: "Transaction".to_owned(),
            requests: String::new(),
            bad: String::new(),
        }
    }

    fn read(&self, answer: &Answer) -> Result<Option<Row>> {
        let reply: Option<Reply> = serde_json::from_slice(&answer.body).ok().filter(|_| answer.complete);
        let unexpected = || {
            let kind = if answer.status.is_success() { ErrorKind::Unexpected } else { refusal(answer.status) };
            let got = answer.describe(&self.mask);
            Error::new(kind, format!("this is no answer of NerdGraph: got {got}")).not_applied()
        };
        let reply = reply.ok_or_else(unexpected)?;
        if let Some(problem) = reply.errors.first() {
            let what = self.mask.apply(&problem.message).into_owned();
            return Err(Error::new(ErrorKind::Unexpected, what).not_applied());
        }
        let account = reply.data.and_then(|data| data.actor).and_then(|actor| actor.account);
        let nrql = account
            .and_then(|account| account.nrql)
            .ok_or_else(|| unexpected().with_hint(format!("may this key read the account {}?", self.account)))?;
        Ok(nrql.results.into_iter().next())
    }
}

impl NewRelicBuilder {
    /// The address of NerdGraph. Default: [`DEFAULT_NEW_RELIC_URL`]; an account in the European Union has
    /// `https://api.eu.newrelic.com/graphql`.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.reach.url = Some(url.into());
        self
    }

    /// What is counted. Default: `Transaction`.
    #[must_use]
    pub fn event(mut self, event: impl Into<String>) -> Self {
        self.event = event.into();
        self
    }

    /// The NRQL condition of all requests: what stands after `WHERE`.
    #[must_use]
    pub fn requests(mut self, condition: impl Into<String>) -> Self {
        self.requests = condition.into();
        self
    }

    /// The NRQL condition of the bad ones among them, such as `error IS true` or `duration > 0.5`.
    #[must_use]
    pub fn bad(mut self, condition: impl Into<String>) -> Self {
        self.bad = condition.into();
        self
    }

    timeout_setter! {
        /// How long one query may take in all. Default: 4 s ([`DEFAULT_TIMEOUT`]).
    }

    /// Checks the settings and makes the source.
    ///
    /// # Errors
    /// `Config` when the URL, the key, the event or a condition is not valid; the conditions' grammar is New Relic's business.
    pub fn build(self) -> Result<NewRelic> {
        self.validated().map_err(|error| error.with_operation("set up New Relic queries"))
    }

    fn validated(self) -> Result<NewRelic> {
        let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name(&self.event) {
            return Err(Error::config(format!("{:?} is not the name of an event", self.event)));
        }
        let mut headers = HeaderSettings::default();
        headers.secret("api-key".to_owned(), self.key);
        let (headers, reach) = (headers.build()?, self.reach.build()?);
        let place = reach.places(&Instance::Absent)?.pop().ok_or_else(|| Error::config("no URL is given"))?;
        Ok(NewRelic {
            reach,
            place,
            account: self.account,
            mask: mask_of(&headers.secrets),
            headers,
            event: self.event,
            requests: Query::parse(&self.requests).map_err(|error| error.with("condition", "requests"))?,
            bad: Query::parse(&self.bad).map_err(|error| error.with("condition", "bad"))?,
            begun: Arc::default(),
        })
    }
}

#[async_trait]
impl MetricSource for NewRelic {
    async fn sample(&self, target: &Target, _instance: &Instance) -> Result<Sample> {
        let span = self.begun.until_now(target, 1);
        let (requests, bad) = (self.requests.render(target), self.bad.render(target));
        // In milliseconds, as NRQL takes moments.
        let nrql = format!(
            "SELECT count(*) AS requests, filter(count(*), WHERE {bad}) AS bad FROM {} WHERE {requests} SINCE {}000 UNTIL {}000",
            self.event, span.from, span.to
        );
        let failed = |error: Error| error.with_operation(format!("ask {self}")).with("query", &nrql);
        let mut headers = self.headers.map.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = json!({"query": GRAPHQL, "variables": {"account": self.account, "nrql": nrql}});
        let ask = Ask { method: Method::POST, headers, body: Some(body.to_string().into_bytes()), ..Ask::default() };
        let row = match self.reach.open(&self.place).await?.ask(ask).await? {
            Outcome::Answered(answer) => self.read(&answer).map_err(failed)?,
            Outcome::Silent(silence) => return Err(failed(silence.into_error())),
        };
        let count = |value: f64| {
            let what = || Error::new(ErrorKind::Unexpected, format!("a count is {value}")).not_applied();
            as_count(value).ok_or_else(what).map_err(failed)
        };
        let Some(Row { requests, bad }) = row.filter(|row| row.requests > 0.0) else {
            return Ok(Sample::NoData { reason: format!("no event yet: {nrql}") });
        };
        let counters = Counters { requests: count(requests)?, bad: count(bad)? };
        Ok(Sample::Data([("all".to_owned(), counters)].into()))
    }
}

impl fmt::Display for NewRelic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "New Relic at {}", self.reach)
    }
}
