//! [`ProxyRouter`]: the pipeline's hand on the proxy.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{
    Counters, Error, ErrorKind, Granularity, Instance, MetricSource, Ownership, Preview, Result, Router, Sample,
    ServiceName, Slot, Split, Target,
};

use super::address::Address;
use super::control_client::ask;
use super::core::Core;
use super::wire::{Answer, Ask, Question};

/// Steers a [`Proxy`](crate::Proxy): one in this process, or one in another process through its control socket.
///
/// It is also a [`MetricSource`]: what the proxy has counted on a slot, with every answer of 500 or above, every answer
/// that the slot broke off or [stopped sending](crate::ProxyBuilder::answer_timeout), and every request that it did not
/// answer, as a bad one.
///
/// No client can make a release look bad. Requests that have no answer because of their client are not counted at all: it
/// left (nginx logs these as 499), did not send what it said it would (408), or sent something malformed (400). Answers
/// that any client can have at will count as good ones: 501, with which a server says that it does not know the method,
/// unless the method is GET, which no server may lack; and 510, with which it asks for an extension. 505 is a bad one: the
/// slot sees the proxy's own version, whatever the client speaks.
#[derive(Debug, Clone)]
pub struct ProxyRouter {
    proxy: Handle,
    endpoint: Option<String>,
    ownership: Ownership,
}

#[derive(Debug, Clone)]
enum Handle {
    Embedded(Arc<Core>),
    Socket(PathBuf),
}

impl ProxyRouter {
    /// Steers the proxy whose [control socket](crate::ProxyBuilder::control_socket) is at this path. No connection is
    /// made before the first call.
    pub fn new(control_socket: impl Into<PathBuf>) -> Self {
        Self::with(Handle::Socket(control_socket.into()))
    }

    pub(super) fn embedded(core: Arc<Core>) -> Self {
        Self::with(Handle::Embedded(core))
    }

    fn with(proxy: Handle) -> Self {
        Self { proxy, endpoint: None, ownership: Ownership::new() }
    }

    /// Sends traffic to the instance's endpoint of this name. Default: to its first one.
    #[must_use]
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.endpoint = Some(name.into());
        self
    }

    fn address_of(&self, instance: &Instance) -> Result<Address> {
        match instance.endpoint(self.endpoint.as_deref()) {
            Some(endpoint) => Address::new(endpoint.address.as_str()),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("the instance has no endpoint to send traffic to: {instance}"),
            )
            .not_applied()
            .with("endpoint", self.endpoint.as_deref().unwrap_or("the first"))),
        }
    }

    async fn ask(&self, socket: &Path, question: Ask) -> Result<Answer> {
        ask(socket, &Question { ask: question, service: self.ownership.service().cloned() }).await
    }

    /// Refuses a proxy of another service.
    async fn verify(&self) -> Result<()> {
        match &self.proxy {
            Handle::Embedded(core) => core.verify(&self.ownership),
            Handle::Socket(path) => done(self.ask(path, Ask::Whose).await),
        }
    }

    fn naming(&self, what: String) -> impl FnOnce(Error) -> Error {
        let router = self.to_string();
        move |error| error.with_operation(what).with("router", router)
    }
}

impl fmt::Display for ProxyRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Handle::Embedded(_) => f.write_str("the proxy in this process"),
            Handle::Socket(path) => write!(f, "the proxy at {}", path.display()),
        }
    }
}

#[async_trait]
impl Router for ProxyRouter {
    fn granularity(&self) -> Granularity {
        Granularity::Percent
    }

    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)
    }

    async fn preview(&self, _slot: Slot) -> Result<Preview> {
        self.verify().await.map_err(self.naming("ask the proxy".to_owned()))?;
        Ok(Preview::default())
    }

    async fn detach(&self, _slot: Slot) -> Result<()> {
        self.verify().await.map_err(self.naming("ask the proxy".to_owned()))
    }

    async fn current(&self) -> Result<Option<Split>> {
        let split = match &self.proxy {
            Handle::Embedded(core) => core.verify(&self.ownership).map(|()| core.split()),
            Handle::Socket(path) => match self.ask(path, Ask::Current).await {
                Ok(Answer::Current { split }) => Ok(split),
                other => Err(unexpected(other)),
            },
        };
        split.map_err(self.naming("read the split".to_owned()))
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        let version = instance.version().cloned();
        let attached = match (&self.proxy, self.address_of(instance)) {
            (_, Err(error)) => Err(error),
            (Handle::Embedded(core), Ok(address)) => core.attach(&self.ownership, slot, address, version).await,
            (Handle::Socket(path), Ok(address)) => done(self.ask(path, Ask::Attach { slot, address, version }).await),
        };
        attached.map_err(self.naming(format!("attach {slot}")))
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let shifted = match &self.proxy {
            Handle::Embedded(core) => core.shift(&self.ownership, from, to).await,
            Handle::Socket(path) => done(self.ask(path, Ask::Shift { from, to }).await),
        };
        shifted.map_err(self.naming(format!("shift traffic to {to}")))
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let count = match &self.proxy {
            Handle::Embedded(core) => core.verify(&self.ownership).map(|()| core.in_flight(slot)),
            Handle::Socket(path) => match self.ask(path, Ask::InFlight { slot }).await {
                Ok(Answer::InFlight { count }) => Ok(count),
                other => Err(unexpected(other)),
            },
        };
        count.map(Some).map_err(self.naming(format!("count what is in flight on {slot}")))
    }
}

#[async_trait]
impl MetricSource for ProxyRouter {
    async fn sample(&self, target: &Target, _instance: &Instance) -> Result<Sample> {
        let slot = target.slot;
        let counts = match &self.proxy {
            Handle::Embedded(core) => {
                let (answered, failed) = core.counts(slot);
                core.verify(&self.ownership).map(|()| (core.run.clone(), answered, failed))
            }
            Handle::Socket(path) => match self.ask(path, Ask::Counts { slot }).await {
                Ok(Answer::Counts { run, answered, failed }) => Ok((run, answered, failed)),
                other => Err(unexpected(other)),
            },
        };
        let (run, requests, bad) = counts.map_err(self.naming(format!("read the counters of {slot}")))?;
        let series = format!("proxy {run} {slot}");
        Ok(Sample::Data(BTreeMap::from([(series, Counters { requests, bad })])))
    }
}

fn done(answer: Result<Answer>) -> Result<()> {
    match answer {
        Ok(Answer::Done) => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn unexpected(answer: Result<Answer>) -> Error {
    match answer {
        Err(error) => error,
        Ok(answer) => Error::new(ErrorKind::Unexpected, "the proxy answered another question")
            .with("answer", format!("{answer:?}"))
            .with_hint("are the proxy and the deployer of the same version?"),
    }
}
