//! From a URL to a connection: directly, or through the environment's proxy.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::stream::Stream;

type BoxError = Box<dyn StdError + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) tcp: HttpConnector,
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) proxies: Option<Arc<Matcher>>,
    /// For all of it, TLS included.
    pub(crate) timeout: Option<Duration>,
}

impl Connector {
    async fn connect(mut self, to: Uri) -> Result<Stream, BoxError> {
        let proxies = self.proxies.take();
        let Some(proxy) = proxies.and_then(|proxies| proxies.intercept(&to)) else { return self.hop(to).await };
        if !matches!(proxy.uri().scheme_str(), Some("http" | "https")) {
            let scheme = proxy.uri().scheme_str().unwrap_or_default();
            return Err(format!(
                "the environment names a proxy by {scheme}://, and only http:// and https:// are spoken"
            )
            .into());
        }
        if !is_https(&to) {
            return Ok(self.hop(proxy.uri().clone()).await?.forwarding());
        }
        // To the proxy there is no other one, and all of it has one limit.
        let mut tunnel = Tunnel::new(proxy.uri().clone(), Self { timeout: None, ..self.clone() });
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        self.encrypt(tunnel.call(to.clone()).await?, &to).await
    }

    /// One connection to where a URL leads, without any proxy: to a server, or to a proxy.
    async fn hop(mut self, to: Uri) -> Result<Stream, BoxError> {
        let stream = Stream::new(self.tcp.call(to.clone()).await?.into_inner());
        if is_https(&to) { self.encrypt(stream, &to).await } else { Ok(stream) }
    }

    async fn encrypt(self, stream: Stream, to: &Uri) -> Result<Stream, BoxError> {
        let tls = self.tls.ok_or("this client has no TLS")?;
        let host = to.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Ok(Stream::new(tls.connect(ServerName::try_from(host)?, stream.into_io()).await?))
    }
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let (connecting, timeout) = (self.clone().connect(to), self.timeout);
        Box::pin(async move {
            match timeout {
                None => connecting.await,
                Some(limit) => match tokio::time::timeout(limit, connecting).await {
                    Ok(connected) => connected,
                    Err(_) => Err(format!("no connection within {} s", limit.as_secs_f64()).into()),
                },
            }
        })
    }
}
