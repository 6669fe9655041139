use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use url::{Position, Url};

use crate::connector::Connector;
use crate::error::{Error, Stage};
use crate::response::Response;

/// A request with a body that is there as a whole.
pub type Request = http::Request<Full<Bytes>>;

/// An HTTP/1.1 client. It follows no redirect and repeats no request. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    proxies: Option<Arc<Matcher>>,
}

impl Client {
    pub(crate) fn new(inner: legacy::Client<Connector, Full<Bytes>>, proxies: Option<Arc<Matcher>>) -> Self {
        Self { inner, proxies }
    }

    /// A request without a body, to be completed. A user and a password in the URL become a header.
    ///
    /// # Errors
    /// When no request can be made of the URL.
    pub fn request(&self, method: Method, url: &Url) -> Result<Request, Error> {
        let refused = |error: http::Error| Error::new(Stage::Request, error);
        let mut bare = url.clone();
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if has_credentials && (bare.set_username("").is_err() || bare.set_password(None).is_err()) {
            return Err(Error::new(Stage::Request, "the URL cannot have a user"));
        }
        let uri: Uri =
            bare[..Position::AfterQuery].parse().map_err(|error: http::uri::InvalidUri| refused(error.into()))?;
        let request = http::Request::builder().method(method).uri(uri).header(ACCEPT, "*/*");
        let mut request = request
            .header(USER_AGENT, concat!("bluegreen/", env!("CARGO_PKG_VERSION")))
            .body(Full::default())
            .map_err(refused)?;
        if has_credentials {
            let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
            let pair = [&decoded(url.username())[..], b":", &decoded(url.password().unwrap_or_default())].concat();
            let value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair)));
            let mut value = value.map_err(|error| refused(error.into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Sends a request, and returns when the head of the answer is there. The body is then still to come.
    ///
    /// # Errors
    /// When there is no answer; [`Error::is_connect`] says whether the request was ever sent.
    pub async fn send(&self, mut request: Request) -> Result<Response, Error> {
        // A proxy of an HTTPS URL is told its password when the tunnel is opened.
        if request.uri().scheme_str() == Some("http")
            && let Some(proxy) = self.proxies.as_ref().and_then(|proxies| proxies.intercept(request.uri()))
            && let Some(credentials) = proxy.basic_auth()
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        match self.inner.request(request).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => {
                let stage = if error.is_connect() { Stage::Connect } else { Stage::Exchange };
                Err(Error::new(stage, error))
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
