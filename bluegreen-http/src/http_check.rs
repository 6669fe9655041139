use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, Health, HealthCheck, Instance, Mask, Result, Target, Version};
use bluegreen_http_client::Method;
use futures::future::join_all;
use serde_json::Value;

use crate::combine::all_well;
use crate::exchange::{Answer, Outcome, one_line};
use crate::headers::{HeaderSettings, Headers, header_name};
use crate::mask::mask_of;
use crate::pointer::{Pointer, as_text, same};
use crate::reach::{Ask, Place, Reach, ReachSettings, checked_path, header_setters, reach_setters, timeout_setter};
use crate::statuses::Statuses;

/// Asks for one page over HTTP and looks at the answer.
///
/// ```
/// use bluegreen_http::HttpCheck;
///
/// // The slot itself: `/health` at the instance's endpoint, which also says which version answers.
/// let health = HttpCheck::builder("/health").version_from_json("/version").build()?;
///
/// // The public address, as users see it: what the pipeline verifies a deploy with.
/// let verify = HttpCheck::builder("https://shop.example.com/health").version_from_header("x-version").build()?;
/// # let _ = (health, verify);
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// # What it guarantees
///
/// - Each look is one request over a fresh connection, with a time limit and a limit to what is read of the body.
/// - Healthy is only an answer that is complete, with an expected status (200 to 299 if nothing else is said), in
///   which everything that was expected is found. A redirect is not followed: a 301 to a login page is not health.
/// - An instance that refuses, hangs, breaks off or answers otherwise is
///   [`Health::Unhealthy`], and the reason says what was asked and what came back. `Err` is for what cannot be asked: a
///   missing endpoint (`NotFound`), a host that opens no tunnel, certificates of this machine that cannot be loaded.
/// - Of several endpoints with the same name all are asked, all must be well, and their versions must agree.
/// - Endpoints are asked over plain HTTP and never through a proxy. For an absolute URL, the environment's `HTTP_PROXY`,
///   `HTTPS_PROXY` and `NO_PROXY` hold, except for an address of this machine.
#[derive(Debug, Clone)]
pub struct HttpCheck {
    reach: Reach,
    method: Method,
    path: Option<String>,
    headers: Headers,
    mask: Mask,
    status: Statuses,
    contains: Vec<String>,
    json: Vec<(Pointer, Value)>,
    version: Option<VersionFrom>,
}

/// Makes an [`HttpCheck`].
#[derive(Debug, Clone)]
pub struct HttpCheckBuilder {
    reach: ReachSettings,
    headers: HeaderSettings,
    method: String,
    path: Option<String>,
    status: Statuses,
    contains: Vec<String>,
    json: Vec<(String, Value)>,
    version: Option<VersionGiven>,
}

#[derive(Debug, Clone)]
enum VersionFrom {
    Header(String),
    Json(Pointer),
    Body,
}

#[derive(Debug, Clone)]
enum VersionGiven {
    Header(String),
    Json(String),
    Body,
}

impl HttpCheck {
    /// `GET` of `target`: a path that begins with `/` (with its query, if any) is asked of the instance's endpoints; an
    /// absolute URL is asked as it is, whatever instance is checked. The target appears in reasons and logs: put a secret in
    /// a header.
    pub fn builder(target: impl Into<String>) -> HttpCheckBuilder {
        let target = target.into();
        match target.starts_with('/') {
            true => HttpCheckBuilder::new(ReachSettings::default(), Some(target)),
            false => HttpCheckBuilder::new(ReachSettings::at(target), None),
        }
    }

    /// [`builder`](Self::builder) with its defaults: any answer with a status of 200 to 299 is healthy, and tells no
    /// version.
    ///
    /// # Errors
    /// Those of [`HttpCheckBuilder::build`].
    pub fn get(target: impl Into<String>) -> Result<Self> {
        Self::builder(target).build()
    }

    pub(crate) fn places(&self, instance: &Instance) -> Result<Vec<Place>> {
        self.reach.places(instance)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.reach.timeout()
    }

    /// One look at one place.
    pub(crate) async fn look(&self, place: &Place) -> Result<Health> {
        let route = self.reach.open(place).await?;
        let path = self.path.as_deref();
        let headers = self.headers.map.clone();
        let outcome = route.ask(Ask { method: self.method.clone(), path, headers, ..Ask::default() }).await?;
        let judged = match outcome {
            Outcome::Answered(answer) => self.judge(&answer),
            Outcome::Silent(silence) => Err(silence.text),
        };
        Ok(match judged {
            Ok(version) => Health::Healthy { version },
            Err(why) => {
                let url = route.url(path);
                Health::unhealthy(format!(
                    "{} {}{}: {why}",
                    self.method,
                    self.mask.apply(url.as_str()),
                    route.through()
                ))
            }
        })
    }

    /// The version that the answer reports, or what is wrong with it.
    fn judge(&self, answer: &Answer) -> Result<Option<Version>, String> {
        let came = || answer.describe(&self.mask);
        if !self.status.contains(answer.status.as_u16()) {
            return Err(format!("expected status {}, got {}", self.status, came()));
        }
        for text in &self.contains {
            if !answer.text().contains(text.as_str()) {
                let so_far = if answer.complete { "" } else { " in the part that is read" };
                return Err(format!("expected {text:?} in the body{so_far}, got {}", came()));
            }
        }
        for (pointer, expected) in &self.json {
            let body = answer.json().map_err(|why| format!("{why}, got {}", came()))?;
            match pointer.find(&body) {
                Some(found) if same(found, expected) => {}
                Some(_) => return Err(format!("expected {expected} at {pointer}, got {}", came())),
                None => return Err(format!("expected {expected} at {pointer}, which is missing, got {}", came())),
            }
        }
        self.version.as_ref().map(|from| from.read(answer, &self.mask)).transpose()
    }
}

impl VersionFrom {
    fn read(&self, answer: &Answer, mask: &Mask) -> Result<Version, String> {
        let came = || answer.describe(mask);
        let (place, text) = match self {
            Self::Header(name) => {
                (format!("header {name}"), answer.header(name).next().map(|value| value.into_owned()))
            }
            Self::Json(pointer) => {
                let body = answer.json().map_err(|why| format!("{why}, so it names no version, got {}", came()))?;
                (pointer.to_string(), pointer.find(&body).map(as_text))
            }
            Self::Body => {
                let text = answer.unreadable.is_none().then(|| answer.text().into_owned());
                ("the body".to_owned(), text)
            }
        };
        let text = text.ok_or_else(|| format!("it names no version at {place}, got {}", came()))?;
        Version::new(text.trim()).map_err(|error| {
            let found = one_line(&mask.apply(&text)).to_string();
            format!("it names its version at {place} as `{found}`: {}", error.message())
        })
    }
}

impl HttpCheckBuilder {
    fn new(reach: ReachSettings, path: Option<String>) -> Self {
        Self {
            reach,
            headers: HeaderSettings::default(),
            method: "GET".to_owned(),
            path,
            status: Statuses::default(),
            contains: Vec::new(),
            json: Vec::new(),
            version: None,
        }
    }

    reach_setters!();
    header_setters!();

    /// The method. Default: `GET`. It must be one that changes nothing: checks are repeated.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    timeout_setter! {
        /// How long the request may take in all. Default: 4 s ([`DEFAULT_TIMEOUT`](crate::DEFAULT_TIMEOUT)). The pipeline
        /// has a limit of its own for a check: raise both.
    }

    /// How many bytes of the body are read. Default: 1 MiB ([`DEFAULT_BODY_LIMIT`](crate::DEFAULT_BODY_LIMIT)). A longer
    /// body can still be healthy, unless it is to be read as JSON.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.reach.body_limit = bytes;
        self
    }

    /// The statuses that are healthy: `200`, `[200, 204]` or `200..=299`. Default: `200..=299`.
    #[must_use]
    pub fn expect_status(mut self, status: impl Into<Statuses>) -> Self {
        self.status = status.into();
        self
    }

    /// The body must contain this text.
    #[must_use]
    pub fn expect_body_contains(mut self, text: impl Into<String>) -> Self {
        self.contains.push(text.into());
        self
    }

    /// The body must be JSON with this value at the pointer (RFC 6901): `expect_json("/status", "ok")`.
    #[must_use]
    pub fn expect_json(mut self, pointer: impl Into<String>, value: impl Into<Value>) -> Self {
        self.json.push((pointer.into(), value.into()));
        self
    }

    /// The instance names its version in this header. An answer without it is unhealthy.
    #[must_use]
    pub fn version_from_header(mut self, name: impl Into<String>) -> Self {
        self.version = Some(VersionGiven::Header(name.into()));
        self
    }

    /// The instance names its version in a JSON body, at this pointer (RFC 6901): `/version`.
    #[must_use]
    pub fn version_from_json(mut self, pointer: impl Into<String>) -> Self {
        self.version = Some(VersionGiven::Json(pointer.into()));
        self
    }

    /// The router names the version of the slot that it gave the request to, in the header
    /// [`VERSION_HEADER`](bluegreen_core::VERSION_HEADER): for a program that cannot tell its version. The router must be told
    /// to: `NginxConfig::release_headers`, or `release_headers` of the embedded proxy. An answer without it is unhealthy.
    #[must_use]
    pub fn version_from_router(self) -> Self {
        self.version_from_header(bluegreen_core::VERSION_HEADER)
    }

    /// The whole body is the version; blanks around it do not count.
    #[must_use]
    pub fn version_from_body(mut self) -> Self {
        self.version = Some(VersionGiven::Body);
        self
    }

    /// Checks the settings and makes the check.
    ///
    /// # Errors
    /// `Config` when a part of it is not valid: the URL, the path, the method, a header, a status, a JSON pointer.
    pub fn build(self) -> Result<HttpCheck> {
        let shown = self.path.clone();
        self.validated().map_err(|error| match shown {
            Some(path) => error.with_operation("set up an HTTP check").with("path", path),
            None => error.with_operation("set up an HTTP check"),
        })
    }

    fn validated(self) -> Result<HttpCheck> {
        if let Some(path) = &self.path {
            checked_path(path)?;
        }
        if self.contains.iter().any(String::is_empty) {
            return Err(Error::config("every body contains the empty text, so it cannot be expected"));
        }
        let headers = self.headers.build()?;
        let json = self.json.into_iter().map(|(pointer, value)| Ok((Pointer::new(pointer)?, value)));
        let version = self.version.map(|version| {
            Ok::<_, Error>(match version {
                VersionGiven::Header(name) => VersionFrom::Header(header_name(&name)?.to_string()),
                VersionGiven::Json(pointer) => VersionFrom::Json(Pointer::new(pointer)?),
                VersionGiven::Body => VersionFrom::Body,
            })
        });
        Ok(HttpCheck {
            reach: self.reach.build()?,
            method: method(&self.method)?,
            path: self.path,
            mask: mask_of(&headers.secrets),
            headers,
            status: self.status.validated()?,
            contains: self.contains,
            json: json.collect::<Result<_>>()?,
            version: version.transpose()?,
        })
    }
}

#[async_trait]
impl HealthCheck for HttpCheck {
    async fn check(&self, _target: &Target, instance: &Instance) -> Result<Health> {
        let places = self.places(instance).map_err(|error| error.with_operation(self.to_string()))?;
        let looks = places.iter().map(|place| async { (place.to_string(), self.look(place).await) });
        all_well(join_all(looks).await).map_err(|error| error.with_operation(self.to_string()))
    }

    fn tells_version(&self) -> bool {
        self.version.is_some()
    }
}

impl fmt::Display for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} {path} at {}", self.method, self.reach),
            None => write!(f, "{} {}", self.method, self.reach),
        }
    }
}

/// A method by its name.
pub(crate) fn method(name: &str) -> Result<Method> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    match Method::from_bytes(name.as_bytes()) {
        Ok(method) if known.contains(&name) => Ok(method),
        _ => Err(Error::config(format!(
            "{name:?} is not a method that can be asked with; use one of {}",
            known.join(", ")
        ))),
    }
}
