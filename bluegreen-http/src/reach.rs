use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Endpoint, Error, ErrorKind, Host, Instance, Result, Tunnel};
use bluegreen_http_client::header::{HOST, HeaderMap, HeaderValue};
use bluegreen_http_client::{Method, Url};

use crate::client::client_for;
use crate::escape::has_dot_segment;
use crate::exchange::{Outcome, Request, exchange};
use crate::headers::{address_url, host_header};

/// Default for how long one request may take in all: 4 s. Just below the 5 s that the pipeline gives a check, so that the reason comes
/// from the one who knows what was asked.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(4);

/// Default for how much of an answer's body is read: 1 MiB.
pub const DEFAULT_BODY_LIMIT: usize = 1 << 20;

/// Where requests go, as it was given.
#[derive(Debug, Clone)]
pub(crate) struct ReachSettings {
    pub(crate) url: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) host: Option<Arc<dyn Host>>,
    pub(crate) host_header: Option<String>,
    pub(crate) timeout: Duration,
    pub(crate) body_limit: usize,
}

/// Where requests go, validated.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    base: Base,
    host: Option<Arc<dyn Host>>,
    host_header: Option<HeaderValue>,
    timeout: Duration,
    body_limit: usize,
}

#[derive(Debug, Clone)]
enum Base {
    Url(Url),
    Endpoint(Option<String>),
}

/// One place to ask: an endpoint of the instance, or the absolute URL.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// As a person knows it, and as seen from the host.
    url: Url,
    endpoint: Option<Endpoint>,
}

/// A place that can be asked now, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Route<'r> {
    reach: &'r Reach,
    place: Place,
    tunnel: Option<Tunnel>,
}

/// One request to a place.
#[derive(Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// Below the place; `None` asks for the place's own URL.
    pub(crate) path: Option<&'a str>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// Instead of the reach's own.
    pub(crate) timeout: Option<Duration>,
}

impl Default for ReachSettings {
    fn default() -> Self {
        Self {
            url: None,
            endpoint: None,
            host: None,
            host_header: None,
            timeout: DEFAULT_TIMEOUT,
            body_limit: DEFAULT_BODY_LIMIT,
        }
    }
}

impl ReachSettings {
    pub(crate) fn at(url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }

    pub(crate) fn build(self) -> Result<Reach> {
        if self.timeout.is_zero() {
            return Err(Error::config("a timeout of zero lets no request succeed"));
        }
        let base = match self.url {
            Some(_) if self.endpoint.is_some() || self.host.is_some() => {
                return Err(Error::config(
                    "an absolute URL is asked as it is: it has no endpoint and no host to go through",
                ));
            }
            Some(url) => Base::Url(absolute(&url)?),
            None => Base::Endpoint(self.endpoint),
        };
        let host_header = self.host_header.as_deref().map(host_header).transpose()?;
        let Self { host, timeout, body_limit, .. } = self;
        Ok(Reach { base, host, host_header, timeout, body_limit })
    }
}

impl Reach {
    /// Every place to ask: the absolute URL; or all endpoints of the name asked for, by default of the first one's.
    pub(crate) fn places(&self, instance: &Instance) -> Result<Vec<Place>> {
        let name = match &self.base {
            Base::Url(url) => return Ok(vec![Place { url: url.clone(), endpoint: None }]),
            Base::Endpoint(name) => name.as_deref(),
        };
        let first = instance.endpoint(name).ok_or_else(|| no_endpoint(name, instance))?;
        let alike = instance.endpoints().iter().filter(|endpoint| endpoint.name == first.name);
        alike.map(|endpoint| Ok(Place { url: endpoint_url(endpoint)?, endpoint: Some(endpoint.clone()) })).collect()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) async fn open(&self, place: &Place) -> Result<Route<'_>> {
        let tunnel = match (&self.host, &place.endpoint) {
            (Some(host), Some(endpoint)) => {
                let opened = host.tunnel(&endpoint.address).await;
                Some(opened.map_err(|error| error.with_operation(format!("reach {endpoint}")).with("host", host))?)
            }
            _ => None,
        };
        Ok(Route { reach: self, place: place.clone(), tunnel })
    }
}

impl Place {
    /// Scheme, host and port, without what may be secret.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// What may be secret in the URL: the path with the query, and each of their parts that is long enough to be one.
    pub(crate) fn secrets(&self) -> Vec<String> {
        const SHORTEST: usize = 8;
        let path = self.url.path().trim_start_matches('/');
        let query = self.url.query().map(|query| format!("{path}?{query}"));
        let parts = self.url.path().split('/').chain(self.url.query().unwrap_or_default().split(['&', '=']));
        let parts = parts.filter(|part| part.len() >= SHORTEST).map(str::to_owned);
        query.into_iter().chain((!path.is_empty()).then(|| path.to_owned())).chain(parts).collect()
    }
}

impl Route<'_> {
    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Outcome> {
        let mut base = self.place.url.clone();
        if let Some(tunnel) = &self.tunnel {
            base = address_url("http", tunnel.address()).ok_or_else(|| {
                Error::new(
                    ErrorKind::Unexpected,
                    format!("the tunnel's address {:?} is not host:port", tunnel.address()),
                )
            })?;
        }
        // Through a tunnel the server must still see the address that it listens on, not the tunnel's.
        let listens_on = self.place.endpoint.as_ref().filter(|_| self.tunnel.is_some());
        let host = match (&self.reach.host_header, listens_on) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(endpoint)) => Some(host_header(&endpoint.address)?),
            (None, None) => None,
        };
        let mut headers = ask.headers;
        if let Some(host) = host {
            headers.insert(HOST, host);
        }
        let request = Request {
            method: ask.method,
            url: below(&base, ask.path),
            headers,
            body: ask.body,
            timeout: ask.timeout.unwrap_or(self.reach.timeout),
            body_limit: self.reach.body_limit,
        };
        let client = client_for(&request.url, self.place.endpoint.is_some())?;
        Ok(exchange(&client, request).await)
    }

    /// The URL as a person knows it, whatever tunnel leads there.
    pub(crate) fn url(&self, path: Option<&str>) -> Url {
        below(&self.place.url, path)
    }

    /// The host that is gone through, as a remark: " (through web1)".
    pub(crate) fn through(&self) -> String {
        match (&self.tunnel, &self.reach.host) {
            (Some(_), Some(host)) => format!(" (through {host})"),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => endpoint.fmt(f),
            None => self.url.fmt(f),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Base::Url(url) => write!(f, "{url}"),
            Base::Endpoint(Some(name)) => write!(f, "endpoint {name}"),
            Base::Endpoint(None) => f.write_str("the first endpoint"),
        }
    }
}

/// A path with its query, as it may be asked for.
pub(crate) fn checked_path(path: &str) -> Result<()> {
    let refused = |why: &str| Err(Error::config(format!("the path {path:?} {why}")));
    if !path.starts_with('/') {
        return refused("must begin with /");
    }
    if path.contains('#') {
        return refused("has a fragment (#), which is never sent");
    }
    if path.chars().any(|c| c.is_control() || c == ' ' || c == '\\') {
        return refused("has a blank, a backslash or a control character; write it percent-encoded");
    }
    if has_dot_segment(path) {
        return refused("has a . or .. segment, which would be resolved before it is sent");
    }
    Ok(())
}

fn below(base: &Url, path: Option<&str>) -> Url {
    let mut url = base.clone();
    if let Some(path_and_query) = path {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.set_query(query);
    }
    url
}

fn absolute(text: &str) -> Result<Url> {
    // A URL with an @ may hold a password.
    let shown = if text.contains('@') { "the URL".to_owned() } else { format!("{text:?}") };
    let refused = |why: String| Error::config(format!("{shown} cannot be asked: {why}"));
    let url = Url::parse(text).map_err(|error| {
        refused(error.to_string()).with_hint("a URL begins with http:// or https://, and a path with /")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config("a URL must not carry a user name or a password")
            .with("host", url.host_str().unwrap_or_default())
            .with_hint("give it as a secret header"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused(format!("its scheme is {}, and must be http or https", url.scheme())));
    }
    if url.fragment().is_some() {
        return Err(refused("it has a fragment (#), which is never sent".to_owned()));
    }
    Ok(url)
}

fn endpoint_url(endpoint: &Endpoint) -> Result<Url> {
    address_url("http", &endpoint.address).ok_or_else(|| {
        Error::config(format!("the address {:?} is not host:port", endpoint.address)).with("endpoint", &endpoint.name)
    })
}

fn no_endpoint(name: Option<&str>, instance: &Instance) -> Error {
    let names: Vec<&str> = instance.endpoints().iter().map(|endpoint| endpoint.name.as_str()).collect();
    let message = match (instance.is_running(), name) {
        (false, _) => format!("nothing runs there that could be asked: it is {instance}"),
        (true, None) => "the runtime names no endpoint of it".to_owned(),
        (true, Some(name)) => format!("it has no endpoint {name:?}; it has: {}", names.join(", ")),
    };
    Error::new(ErrorKind::NotFound, message).not_applied()
}

/// The setters of every builder that asks an instance.
macro_rules! reach_setters {
    () => {
        /// Asks the instance's endpoints of this name. Default: those with the name of the first one.
        #[must_use]
        pub fn endpoint(mut self, name: impl Into<String>) -> Self {
            self.reach.endpoint = Some(name.into());
            self
        }

        /// Reaches the endpoints through this host, for instances that listen on its loopback alone.
        #[must_use]
        pub fn through(mut self, host: impl bluegreen_core::Host) -> Self {
            self.reach.host = Some(std::sync::Arc::new(host));
            self
        }

        /// Sends this `Host` header, instead of the address that is asked.
        #[must_use]
        pub fn host_header(mut self, host: impl Into<String>) -> Self {
            self.reach.host_header = Some(host.into());
            self
        }
    };
}

/// The setters of every builder that sends the same headers with each request.
macro_rules! header_setters {
    () => {
        /// Sends this header with each request.
        #[must_use]
        pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.headers.plain(name.into(), value.into());
            self
        }

        /// Sends this header with each request. Its value is masked wherever an answer repeats it.
        #[must_use]
        pub fn secret_header(mut self, name: impl Into<String>, value: bluegreen_core::Secret) -> Self {
            self.headers.secret(name.into(), value);
            self
        }

        /// Sends `Authorization: Bearer` with this token.
        #[must_use]
        pub fn bearer(mut self, token: bluegreen_core::Secret) -> Self {
            self.headers.bearer(token);
            self
        }
    };
}

/// The setter of a builder's time limit, with its documentation.
macro_rules! timeout_setter {
    ($(#[$doc:meta])+) => {
        $(#[$doc])+
        #[must_use]
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            self.reach.timeout = timeout;
            self
        }
    };
}

pub(crate) use {header_setters, reach_setters, timeout_setter};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_address_can_lead_nowhere_else() {
        for bad in ["", "evil@10.0.0.1:80", "10.0.0.1:80/path", "10.0.0.1:80?x", "10.0.0.1:99999", "a b:80", "h:80#x"] {
            let error = endpoint_url(&Endpoint::http(bad)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad:?}");
        }
        for good in ["127.0.0.1:8080", "[::1]:8080", "web-1.internal:80"] {
            assert!(endpoint_url(&Endpoint::http(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_path_stays_on_its_host_and_below_its_base() {
        let base = Url::parse("http://127.0.0.1:80/prefix/").unwrap();
        for (path, expected) in [
            ("/health", "http://127.0.0.1/prefix/health"),
            ("/health?a=1&b=%20", "http://127.0.0.1/prefix/health?a=1&b=%20"),
            ("//evil.example.com/x", "http://127.0.0.1/prefix//evil.example.com/x"),
        ] {
            assert_eq!(below(&base, Some(path)).as_str(), expected);
        }
        let bare = Url::parse("http://127.0.0.1:3000/").unwrap();
        assert_eq!(below(&bare, Some("//evil.example.com/x")).host_str(), Some("127.0.0.1"));
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_repeating_it() {
        for with_password in ["https://anna:hidden@shop.example.com/", "https://anna:hidden@shop:x/", "x://a:hidden@b/"]
        {
            let error = absolute(with_password).unwrap_err();
            assert!(!error.chain().contains("hidden"), "{error}");
        }
        for bad in ["shop.example.com", "ftp://shop/", "/health", "http://shop/#x"] {
            assert_eq!(absolute(bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }

    #[test]
    fn all_endpoints_of_one_name_are_asked_and_a_missing_one_is_named() {
        let instance = Instance::Running {
            version: None,
            endpoints: vec![
                Endpoint::http("127.0.0.1:1").on("web1"),
                Endpoint::http("127.0.0.1:2").on("web2"),
                Endpoint::named("metrics", "127.0.0.1:3"),
            ],
        };
        let reach = ReachSettings::default().build().unwrap();
        assert_eq!(reach.places(&instance).unwrap().len(), 2);
        let reach = ReachSettings { endpoint: Some("api".to_owned()), ..Default::default() }.build().unwrap();
        let error = reach.places(&instance).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("\"api\"; it has: http, http, metrics"), "{error}");
        let error = reach.places(&Instance::Absent).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}
