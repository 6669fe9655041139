//! Talking to a cloud's API: JSON over HTTPS with a bearer token, and no surprise in what comes back.

mod address;
mod answer;
mod client;
mod limit;
mod trouble;

use std::time::Duration;

use bluegreen_core::{Result, Secret};
use bluegreen_http_client::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use bluegreen_http_client::{Client, Method, StatusCode, Url};
use serde_json::Value;
use tokio::time::sleep;

pub(crate) use client::client_for;
pub(crate) use limit::Quota;
pub(crate) use trouble::{MAINTENANCE, Trouble};

/// For one call, until the last byte of its answer. These APIs answer within a second or two.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Calls that only look are repeated after an answer that says nothing, so often in all.
const LOOKS: u32 = 3;

/// Before the first repetition of a look; twice as long before the next one.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// How often a call that was turned away for its rate is made again.
const TURNS: u32 = 5;

/// An API, and the right to use it.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) cloud: &'static str,
    quota: Quota,
    base: Url,
    token: Secret,
    client: Client,
}

impl Api {
    /// # Errors
    /// `Config` for an address over which a token must not be sent, or a token that is no header.
    pub(crate) fn new(cloud: &'static str, quota: Quota, base: &str, token: Secret) -> Result<Self> {
        let base = address::checked(base)?;
        authorization(&token)?;
        let client = client_for(&base)?;
        Ok(Self { cloud, quota, base, token, client })
    }

    /// The same with another address.
    ///
    /// # Errors
    /// `Config` for an address over which a token must not be sent.
    pub(crate) fn at(self, base: &str) -> Result<Self> {
        Self::new(self.cloud, self.quota, base, self.token)
    }

    /// Reads, patiently: a look can be repeated without harm.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Trouble> {
        let (mut look, mut pause) = (1, LOOK_PAUSE);
        loop {
            match self.get_once(path).await {
                Err(trouble) if trouble.says_nothing() && look < LOOKS => {
                    tracing::debug!(cloud = self.cloud, path, %trouble, "looking again");
                    sleep(pause).await;
                    (look, pause) = (look + 1, pause * 2);
                }
                other => return other,
            }
        }
    }

    /// Reads, and says at once what came back.
    pub(crate) async fn get_once(&self, path: &str) -> Result<Value, Trouble> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for a change. Only what was turned away for its rate is sent again.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value, Trouble> {
        self.call(method, path, Some(body)).await
    }

    /// A text of an answer, as it may be shown: the start of it, on one line, without the token.
    pub(crate) fn shown(&self, text: &str) -> String {
        answer::excerpt(text, &self.token)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Trouble> {
        let mut turn = 1;
        loop {
            let result = self.exchange(method.clone(), path, body, turn).await;
            match &result {
                Err(Trouble::Limited { wait, .. }) if turn < TURNS && *wait <= limit::LONGEST_WAIT => {
                    tracing::debug!(cloud = self.cloud, path, ?wait, "over the rate limit: waiting");
                    sleep(*wait).await;
                    turn += 1;
                }
                _ => return result,
            }
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>, turn: u32) -> Result<Value, Trouble> {
        let call = async {
            let mut url = self.base.clone();
            let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
            url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
            url.set_query(query);
            let header = authorization(&self.token).map_err(Trouble::Config)?;
            let mut request = self.client.request(method, &url).map_err(Trouble::from)?;
            request.headers_mut().insert(AUTHORIZATION, header);
            if let Some(body) = body {
                request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *request.body_mut() = body.to_string().into();
            }
            let response = self.client.send(request).await.map_err(Trouble::from)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let text = answer::read(response).await?;
            if status == StatusCode::TOO_MANY_REQUESTS {
                return Err(Trouble::Limited {
                    wait: self.quota.wait(&headers, turn),
                    said: answer::excerpt(&text, &self.token),
                });
            }
            answer::judge(status, &headers, &text, &self.token)
        };
        tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or(Err(Trouble::Late(CALL_TIMEOUT)))
    }
}

fn authorization(token: &Secret) -> Result<HeaderValue> {
    let refused = || bluegreen_core::Error::config("the API token is empty, or has characters that no token has");
    let text = token.reveal();
    if text.is_empty() || text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(refused());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_no_header_is_refused_without_repeating_it() {
        for bad in ["", "line\nbreak", "two words", "tab\t", "ümlaut"] {
            let error = Api::new("Test", Quota::Window, "https://api.example.com", Secret::new(bad)).unwrap_err();
            assert!(bad.is_empty() || !error.chain().contains(bad), "{error}");
        }
    }

    #[test]
    fn neither_the_header_nor_the_api_shows_the_token() {
        let token = Secret::new("t0ps3cret");
        assert!(authorization(&token).unwrap().is_sensitive());
        let api = Api::new("Test", Quota::Window, "https://api.example.com", token).unwrap();
        assert!(!format!("{api:?}").contains("t0ps3cret"));
    }
}
