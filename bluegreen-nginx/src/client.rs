//! The HTTP client with which nginx is asked.

use std::time::Duration;

use bluegreen_core::Result;
use bluegreen_http_client::header::{HOST, HeaderValue};
use bluegreen_http_client::{Client, Method, Url};
use tokio::time::timeout;

use crate::answer::Answer;
use crate::error::Failure;
use crate::site::HEADER;

/// For one answer. nginx answers by itself, so that this is a long time even on a busy server.
const LIMIT: Duration = Duration::from_secs(5);

/// How much of an answer is read: those that nginx gives by itself are a word.
const READ: usize = 64 << 10;

/// A connection of its own for every request, no redirects, no proxies. The system's roots are read only where they are
/// needed: a bare container has none.
pub(crate) fn client(encrypted: bool) -> Result<Client> {
    Client::builder().direct().https(encrypted).build()
}

/// What is answered at a URL, under the name of a host if one is given.
pub(crate) async fn get(client: &Client, url: &str, host: Option<&str>) -> Result<Answer, Failure> {
    let asking = async {
        let url = Url::parse(url).map_err(|error| Failure::Url(error.to_string()))?;
        let mut request = client.request(Method::GET, &url)?;
        if let Some(host) = host {
            let host = HeaderValue::from_str(host).map_err(|error| Failure::Url(error.to_string()))?;
            request.headers_mut().insert(HOST, host);
        }
        let response = client.send(request).await?;
        let header = response.headers().get(HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = response.status().as_u16();
        let body = response.body(READ).await?;
        Ok(Answer::new(status, header.as_deref(), &String::from_utf8_lossy(&body.bytes)))
    };
    timeout(LIMIT, asking).await.unwrap_or(Err(Failure::Late(LIMIT)))
}
