use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{Error, Result};
use bluegreen_http_client::Method;
use bluegreen_http_client::header::{CONTENT_TYPE, HeaderName};
use serde::Deserialize;
use serde_json::Value;

use crate::escape::url_component;
use crate::headers::{header_name, header_value};
use crate::http_check::method;
use crate::reach::checked_path;
use crate::smoke::capture::{Capture, CompiledCapture};
use crate::smoke::expect::{CompiledExpect, Expect};
use crate::smoke::template::{JsonTemplate, Template, checked_name};
use crate::smoke::variables::Variables;
use crate::statuses::Statuses;

/// One request of a [`SmokeTest`](crate::SmokeTest), what is expected of the answer, and what is kept of it.
///
/// ```
/// use std::time::Duration;
/// use bluegreen_http::{Capture, Step};
/// use serde_json::json;
///
/// let order = Step::post("place an order", "/orders")
///     .header("authorization", "Bearer {{token}}")
///     .json(json!({"item": 7, "note": "smoke-{{random}}"}))
///     .expect_status(201)
///     .expect_json("/state", "new")
///     .within(Duration::from_millis(800))
///     .capture("order", Capture::json("/id").shown());
/// let read = Step::get("read it", "/orders/{{order}}").expect_json("/id", "{{order}}");
/// # let _ = (order, read);
/// ```
///
/// Paths, headers, bodies and expected values can hold variables. In a path their values are percent-encoded (unless
/// the path is one variable and nothing else), in a JSON body they are JSON, in a text body they stand as they are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub(crate) name: String,
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    text: Option<String>,
    #[serde(default)]
    expect: Expect,
    #[serde(default)]
    capture: BTreeMap<String, Capture>,
    timeout_ms: Option<u64>,
}

/// A step that is validated.
#[derive(Debug, Clone)]
pub(crate) struct CompiledStep {
    pub(crate) name: String,
    pub(crate) method: Method,
    path: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Body,
    pub(crate) expect: CompiledExpect,
    pub(crate) captures: Vec<(String, CompiledCapture)>,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    Json(JsonTemplate),
    Text(Template),
}

/// A step's request with its variables filled in.
pub(crate) struct Filled {
    pub(crate) path: String,
    pub(crate) headers: bluegreen_http_client::header::HeaderMap,
    pub(crate) body: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Step {
    /// A request with any method; `name` is what a failure calls the step.
    pub fn new(name: impl Into<String>, method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            method: method.into(),
            path: path.into(),
            headers: BTreeMap::new(),
            json: None,
            text: None,
            expect: Expect::default(),
            capture: BTreeMap::new(),
            timeout_ms: None,
        }
    }

    /// A `GET`.
    pub fn get(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, "GET", path)
    }

    /// A `POST`.
    pub fn post(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(name, "POST", path)
    }

    /// Sends this header. It takes the place of the test's header of the same name.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sends this JSON, as `application/json` if no header says otherwise.
    #[must_use]
    pub fn json(mut self, body: impl Into<Value>) -> Self {
        self.json = Some(body.into());
        self
    }

    /// Sends this text, as `text/plain; charset=utf-8` if no header says otherwise. Values of variables are not escaped.
    #[must_use]
    pub fn text(mut self, body: impl Into<String>) -> Self {
        self.text = Some(body.into());
        self
    }

    /// The statuses that are well, 200 to 299 if nothing is said: `201`, `[200, 204]` or `200..=299`.
    #[must_use]
    pub fn expect_status(mut self, status: impl Into<Statuses>) -> Self {
        self.expect.status = status.into();
        self
    }

    /// The body must contain this text.
    #[must_use]
    pub fn expect_body_contains(mut self, text: impl Into<String>) -> Self {
        self.expect.body_contains.push(text.into());
        self
    }

    /// The body must not contain this text.
    #[must_use]
    pub fn expect_body_lacks(mut self, text: impl Into<String>) -> Self {
        self.expect.body_lacks.push(text.into());
        self
    }

    /// The body must be JSON with this value at the pointer (RFC 6901).
    #[must_use]
    pub fn expect_json(mut self, pointer: impl Into<String>, value: impl Into<Value>) -> Self {
        self.expect.json.insert(pointer.into(), value.into());
        self
    }

    /// The body must be JSON with something at the pointer, be it null.
    #[must_use]
    pub fn expect_json_exists(mut self, pointer: impl Into<String>) -> Self {
        self.expect.json_exists.push(pointer.into());
        self
    }

    /// The answer must have this header with exactly this value.
    #[must_use]
    pub fn expect_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.expect.headers.insert(name.into(), value.into());
        self
    }

    /// The answer must have this header, with this text in its value.
    #[must_use]
    pub fn expect_header_contains(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.expect.headers_contain.insert(name.into(), text.into());
        self
    }

    /// The answer must have this header.
    #[must_use]
    pub fn expect_header_exists(mut self, name: impl Into<String>) -> Self {
        self.expect.headers_exist.push(name.into());
        self
    }

    /// The whole answer must have come within this time, counted in milliseconds.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.expect.within_ms = Some(milliseconds(limit));
        self
    }

    /// Keeps a part of the answer as a variable for the steps after this one.
    #[must_use]
    pub fn capture(mut self, variable: impl Into<String>, capture: Capture) -> Self {
        self.capture.insert(variable.into(), capture);
        self
    }

    /// How long the request may take in all, instead of the test's own limit; counted in milliseconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(milliseconds(timeout));
        self
    }

    pub(crate) fn compile(&self, common: &BTreeMap<String, String>) -> Result<CompiledStep> {
        let body = match (&self.json, &self.text) {
            (Some(_), Some(_)) => return Err(Error::config("a request has one body: json or text, not both")),
            (Some(json), None) => Body::Json(JsonTemplate::parse(json)?),
            (None, Some(text)) => Body::Text(Template::parse(text)?),
            (None, None) => Body::None,
        };
        let captures = self.capture.iter().map(|(name, capture)| {
            let named = || capture.compile().map_err(|error| error.with("capture", name));
            Ok((checked_name(name)?.to_owned(), named()?))
        });
        if self.timeout_ms == Some(0) {
            return Err(Error::config("a timeout of zero lets no request succeed"));
        }
        Ok(CompiledStep {
            name: self.name.clone(),
            method: method(&self.method)?,
            path: path(&self.path)?,
            headers: headers(common, &self.headers, &body)?,
            body,
            expect: self.expect.compile()?,
            captures: captures.collect::<Result<_>>()?,
            timeout: self.timeout_ms.map(Duration::from_millis),
        })
    }
}

impl CompiledStep {
    pub(crate) fn variables(&self) -> Vec<&str> {
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Json(json) => json.variables(),
            Body::Text(text) => text.variables().collect(),
        };
        let headers = self.headers.iter().flat_map(|(_, value)| value.variables());
        self.path.variables().chain(headers).chain(body).chain(self.expect.variables()).collect()
    }

    /// The request, or why the values of the variables do not fit into it.
    pub(crate) fn fill(&self, variables: &Variables) -> Result<Filled> {
        let path = match self.path.sole_variable() {
            Some(name) => variables.text(name).into_owned(),
            None => self.path.render_with(|name| url_component(&variables.text(name))),
        };
        checked_path(&path)?;
        let mut headers = bluegreen_http_client::header::HeaderMap::new();
        for (name, template) in &self.headers {
            headers.insert(name.clone(), header_value(name.as_str(), &template.render(variables))?);
        }
        let body = match &self.body {
            Body::None => None,
            Body::Json(json) => Some(json.render(variables).to_string()),
            Body::Text(text) => Some(text.render(variables)),
        };
        Ok(Filled { path, headers, body })
    }
}

fn path(text: &str) -> Result<Template> {
    let template = Template::parse(text)?;
    if template.sole_variable().is_none() {
        // Whatever is wrong with the fixed parts shows with any harmless value.
        checked_path(&template.render_with(|_| "x".to_owned()))?;
    }
    Ok(template)
}

fn headers(
    common: &BTreeMap<String, String>,
    own: &BTreeMap<String, String>,
    body: &Body,
) -> Result<Vec<(HeaderName, Template)>> {
    let mut all: Vec<(HeaderName, Template)> = Vec::new();
    let content_type = match body {
        Body::None => None,
        Body::Json(_) => Some("application/json"),
        Body::Text(_) => Some("text/plain; charset=utf-8"),
    };
    if let Some(content_type) = content_type {
        all.push((CONTENT_TYPE, Template::parse(content_type)?));
    }
    for (name, text) in common.iter().chain(own) {
        let (name, template) = (header_name(name)?, Template::parse(text)?);
        header_value(name.as_str(), &template.render_with(|_| "x".to_owned()))?;
        all.retain(|(have, _)| *have != name);
        all.push((name, template));
    }
    Ok(all)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
