//! [`ProxyRouter`]: the pipeline's hand on the proxy.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::{
    Counters, Error, ErrorKind, Granularity, Instance, MetricSource, Result, Router, Sample, Slot, Split, Target,
};

use super::address::Address;
use super::control_client::ask;
use super::core::Core;
use super::wire::{Answer, Ask};

/// Steers a [`Proxy`](crate::Proxy): one in this process, or one in another process through its control socket.
///
/// It is also a [`MetricSource`]: what the proxy has counted on a slot, with every answer of 500 or above, and every
/// request that the slot did not answer, as a bad one.
#[derive(Debug, Clone)]
pub struct ProxyRouter {
    proxy: Hand,
    endpoint: Option<String>,
}

#[derive(Debug, Clone)]
enum Hand {
    Embedded(Arc<Core>),
    Socket(PathBuf),
}

impl ProxyRouter {
    /// Steers the proxy whose [control socket](crate::ProxyBuilder::control_socket) is at this path. No connection is
    /// made before the first call.
    pub fn at(control_socket: impl Into<PathBuf>) -> Self {
        Self { proxy: Hand::Socket(control_socket.into()), endpoint: None }
    }

    pub(super) fn embedded(core: Arc<Core>) -> Self {
        Self { proxy: Hand::Embedded(core), endpoint: None }
    }

    /// Sends traffic to the instance's endpoint of this name; to its first one unless set.
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

    fn naming(&self, what: String) -> impl FnOnce(Error) -> Error {
        let router = self.to_string();
        move |error| error.trying(what).with("router", router)
    }
}

impl fmt::Display for ProxyRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Hand::Embedded(_) => f.write_str("the proxy in this process"),
            Hand::Socket(path) => write!(f, "the proxy at {}", path.display()),
        }
    }
}

#[async_trait]
impl Router for ProxyRouter {
    fn granularity(&self) -> Granularity {
        Granularity::Percent
    }

    async fn current(&self) -> Result<Option<Split>> {
        let split = match &self.proxy {
            Hand::Embedded(core) => Ok(core.split()),
            Hand::Socket(path) => match ask(path, &Ask::Current).await {
                Ok(Answer::Current { split }) => Ok(split),
                other => Err(unexpected(other)),
            },
        };
        split.map_err(self.naming("read the split".to_owned()))
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        let attached = match (&self.proxy, self.address_of(instance)) {
            (_, Err(error)) => Err(error),
            (Hand::Embedded(core), Ok(address)) => core.attach(slot, address).await,
            (Hand::Socket(path), Ok(address)) => done(ask(path, &Ask::Attach { slot, address }).await),
        };
        attached.map_err(self.naming(format!("attach {slot}")))
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let shifted = match &self.proxy {
            Hand::Embedded(core) => core.shift(from, to).await,
            Hand::Socket(path) => done(ask(path, &Ask::Shift { from, to }).await),
        };
        shifted.map_err(self.naming(format!("shift traffic to {to}")))
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let count = match &self.proxy {
            Hand::Embedded(core) => Ok(core.in_flight(slot)),
            Hand::Socket(path) => match ask(path, &Ask::InFlight { slot }).await {
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
            Hand::Embedded(core) => {
                let (answered, failed) = core.counts(slot);
                Ok((core.run.clone(), answered, failed))
            }
            Hand::Socket(path) => match ask(path, &Ask::Counts { slot }).await {
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
            .advice("are the proxy and the deployer of the same version?"),
    }
}
