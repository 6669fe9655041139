use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, Result, Slot};
use bluegreen_http_client::header::{CONNECTION, HeaderName, HeaderValue};
use bluegreen_http_client::{Client, Method, Url};
use tokio::time::timeout;

use super::PublicProbe;
use crate::api::client_for;

/// For one answer.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks a page of the public address, over a connection of its own each time, and reads the slot from a header of the
/// answer, whose value is `blue` or `green`. Only an answer that says success (2xx) counts: a slot that answers 503, or a
/// redirect, has not answered.
#[derive(Debug, Clone)]
pub struct HttpProbe {
    url: Url,
    header: HeaderName,
    client: Client,
}

impl HttpProbe {
    /// A probe of this page, by this header: `https://shop.example.com/health` and `x-slot`.
    ///
    /// # Errors
    /// `Config` for a URL that is not http or https or carries a password, and for a header that is no name.
    pub fn new(url: &str, header: &str) -> Result<Self> {
        let shown = if url.contains('@') { "the URL" } else { url };
        let refused = |why: &str| Error::config(format!("{shown} cannot be probed: {why}"));
        let parsed = Url::parse(url).map_err(|error| refused(&error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.username().is_empty() || parsed.password().is_some()
        {
            return Err(refused("it must be http or https, without a user or a password"));
        }
        let header = header.parse().map_err(|_| refused(&format!("{header:?} is no name of a header")))?;
        let client = client_for(&parsed)?;
        Ok(Self { url: parsed, header, client })
    }
}

impl fmt::Display for HttpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.url, self.header)
    }
}

#[async_trait]
impl PublicProbe for HttpProbe {
    async fn answers(&self) -> Result<Option<Slot>> {
        let Ok(mut request) = self.client.request(Method::GET, &self.url) else { return Ok(None) };
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let Ok(Ok(response)) = timeout(LIMIT, self.client.send(request)).await else { return Ok(None) };
        if !response.status().is_success() {
            return Ok(None);
        }
        let value = response.headers().get(&self.header).and_then(|value| value.to_str().ok());
        Ok(value.and_then(|value| value.trim().parse().ok()))
    }
}
