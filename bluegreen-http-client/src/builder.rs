use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::Result;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::client::Client;
use crate::connector::Connector;
use crate::tls;

/// How a [`Client`] connects.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    https: bool,
    direct: bool,
    connect_timeout: Option<Duration>,
    keep_idle: Option<Duration>,
}

impl Client {
    /// A client for HTTP and HTTPS, whose every request has a connection of its own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder { https: true, direct: false, connect_timeout: None, keep_idle: None }
    }
}

impl ClientBuilder {
    /// Whether the client speaks HTTPS too. Default: yes. The system's certificates are read by [`build`](Self::build) then;
    /// a bare container may have none, and a client of plain HTTP needs none.
    #[must_use]
    pub fn https(mut self, https: bool) -> Self {
        self.https = https;
        self
    }

    /// Never through a proxy. Default: as the environment's proxy variables say (`HTTPS_PROXY`, `NO_PROXY` and so on).
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// How long a connection may take, TLS included. Default: no limit.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// How long a connection is kept for the next request. Default: not at all; each request has a connection of its own.
    #[must_use]
    pub fn keep_idle(mut self, time: Duration) -> Self {
        self.keep_idle = Some(time);
        self
    }

    /// Sets up TLS and makes the client.
    ///
    /// # Errors
    /// When TLS cannot be set up: no certificates, or no crypto provider.
    pub fn build(self) -> Result<Client> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let tls = self.https.then(tls::connector).transpose()?;
        let proxies = (!self.direct).then(|| Arc::new(Matcher::from_env()));
        let connector = Connector { tcp, tls, proxies: proxies.clone(), timeout: self.connect_timeout };
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.retry_canceled_requests(false);
        match self.keep_idle {
            Some(time) => builder.pool_timer(TokioTimer::new()).pool_idle_timeout(time),
            None => builder.pool_max_idle_per_host(0),
        };
        Ok(Client::new(builder.build(connector), proxies))
    }
}
