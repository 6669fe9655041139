use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Hook, HookCall, Instance, Mask, Result, Secret};
use bluegreen_http_client::Method;
use bluegreen_http_client::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::exchange::Outcome;
use crate::headers::{HeaderSettings, Headers};
use crate::mask::{hide, mask_of};
use crate::reach::{Ask, Place, Reach, ReachSettings, header_setters, timeout_setter};
use crate::statuses::Statuses;

/// Default for how long a hook's request may take in all: 10 s. Chats and caches answer within one.
pub const DEFAULT_HOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// A [`Hook`] that sends a `POST` with JSON: a message to a chat, a call of an API that clears a cache.
///
/// ```
/// use bluegreen_core::{HookStep, Secret};
/// use bluegreen_http::HttpHook;
///
/// // One line for people. The address of a chat's webhook is a secret.
/// let chat = HttpHook::chat(Secret::new("https://hooks.chat.example/services/T0/B0/x8f3"))?;
/// assert_eq!(chat.to_string(), "POST to https://hooks.chat.example");
/// let tell = HookStep::after_success("tell-chat", chat).in_background(true);
///
/// // All that is known, for a program.
/// let purge = HttpHook::builder(Secret::new("https://cdn.example/purge"))
///     .bearer(Secret::new("t0ken"))
///     .body(|call| serde_json::json!({"tag": call.service}))
///     .build()?;
/// let purge = HookStep::after_shift(100, "purge-cdn", purge).repeatable(true);
/// # let _ = (tell, purge);
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// # What it guarantees
///
/// - One request over a fresh connection, within its own time limit or that of the hook, whichever is shorter. It is not
///   repeated, and no redirect is followed.
/// - Any answer with an expected status (200 to 299 if nothing else is said) is success; its body is not looked at.
/// - Of the address, plans, events and errors show the scheme and the host only; its path and query are masked wherever an
///   answer repeats them, and so are secret headers.
#[derive(Clone)]
pub struct HttpHook {
    reach: Reach,
    place: Place,
    shown: String,
    headers: Headers,
    mask: Mask,
    status: Statuses,
    body: Body,
}

/// Makes an [`HttpHook`].
#[derive(Clone)]
pub struct HttpHookBuilder {
    url: Secret,
    reach: ReachSettings,
    headers: HeaderSettings,
    status: Statuses,
    body: Body,
}

type Body = Arc<dyn Fn(&HookCall) -> Value + Send + Sync>;

impl HttpHook {
    /// A `POST` to this absolute URL. Default body: all of [`HookCall::to_json`].
    pub fn builder(url: Secret) -> HttpHookBuilder {
        HttpHookBuilder {
            url,
            reach: ReachSettings { timeout: DEFAULT_HOOK_TIMEOUT, ..ReachSettings::default() },
            headers: HeaderSettings::default(),
            status: Statuses::default(),
            body: Arc::new(HookCall::to_json),
        }
    }

    /// [`builder`](Self::builder) with its defaults.
    ///
    /// # Errors
    /// Those of [`HttpHookBuilder::build`].
    pub fn json(url: Secret) -> Result<Self> {
        Self::builder(url).build()
    }

    /// A message of one line to a chat: `{"text": "deploy of shop 2.0 (green) by ann: succeeded"}`, as the incoming webhooks of
    /// Slack, Mattermost, Rocket.Chat and Google Chat take it.
    ///
    /// # Errors
    /// Those of [`HttpHookBuilder::build`].
    pub fn chat(url: Secret) -> Result<Self> {
        Self::builder(url).body(|call| json!({"text": call.to_string()})).build()
    }
}

impl HttpHookBuilder {
    header_setters!();

    timeout_setter! {
        /// How long the request may take in all. Default: 10 s ([`DEFAULT_HOOK_TIMEOUT`]).
    }

    /// The statuses that mean success. Default: 200 to 299.
    #[must_use]
    pub fn status(mut self, expected: impl Into<Statuses>) -> Self {
        self.status = expected.into();
        self
    }

    /// What is sent, as JSON. Default: all of [`HookCall::to_json`].
    #[must_use]
    pub fn body(mut self, body: impl Fn(&HookCall) -> Value + Send + Sync + 'static) -> Self {
        self.body = Arc::new(body);
        self
    }

    /// Checks the settings and makes the hook.
    ///
    /// # Errors
    /// `Config` when the URL, a header, a status or the timeout is not valid. The URL is not repeated.
    pub fn build(self) -> Result<HttpHook> {
        self.validated().map_err(|error| error.with_operation("set up an HTTP hook"))
    }

    fn validated(self) -> Result<HttpHook> {
        if self.reach.timeout.is_zero() {
            return Err(Error::config("a timeout of zero lets no request succeed"));
        }
        let reach = ReachSettings { url: Some(self.url.reveal().to_owned()), ..self.reach }.build();
        // What is wrong with a URL is told with the URL.
        let reach = reach.map_err(|_| {
            Error::config("the URL cannot be asked")
                .with_hint("it begins with http:// or https://, and has neither a user, a password nor a fragment (#)")
        })?;
        let place = reach.places(&Instance::Absent)?.pop().ok_or_else(|| Error::config("no URL is given"))?;
        let headers = self.headers.build()?;
        let mut mask = mask_of(&headers.secrets);
        for secret in place.secrets() {
            hide(&mut mask, &secret);
        }
        let shown = place.origin();
        Ok(HttpHook { reach, place, shown, headers, mask, status: self.status.validated()?, body: self.body })
    }
}

#[async_trait]
impl Hook for HttpHook {
    async fn run(&self, call: &HookCall) -> Result<()> {
        let mut headers = self.headers.map.clone();
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        let ask = Ask {
            method: Method::POST,
            headers,
            body: Some((self.body)(call).to_string().into_bytes()),
            timeout: Some(self.reach.timeout().min(call.timeout)),
            ..Ask::default()
        };
        let error = match self.reach.open(&self.place).await?.ask(ask).await? {
            Outcome::Answered(answer) if self.status.contains(answer.status.as_u16()) => return Ok(()),
            Outcome::Answered(answer) => {
                let got = answer.describe(&self.mask);
                Error::new(ErrorKind::Unexpected, format!("expected {}, got {got}", self.status))
            }
            Outcome::Silent(silence) => Error::new(silence.kind, silence.text),
        };
        Err(error.with_operation(self.to_string()))
    }
}

impl fmt::Display for HttpHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "POST to {}", self.shown)
    }
}

impl fmt::Debug for HttpHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpHook").field(&self.shown).finish()
    }
}

impl fmt::Debug for HttpHookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHookBuilder").field("headers", &self.headers).finish_non_exhaustive()
    }
}
