//! What a load balancer of any cloud can do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Result, ServiceName};
use serde_json::Value;

/// One load balancer of one cloud. A new cloud implements this, and offers
/// [`LoadBalancerRouter`](crate::LoadBalancerRouter)s from a type of its own.
///
/// Each method can be repeated: adding a server that is there already, and removing one that is not, succeed. Errors of
/// the three that change something say by their effect whether anything may have been changed; of several servers that
/// are added or removed, some may have been in any case.
#[async_trait]
pub(crate) trait Balancer: Debug + Display + Send + Sync + 'static {
    /// From here on a balancer that is marked as another service's is refused, and one that nobody has marked is marked at the
    /// first change. No effect where there is nothing to mark.
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        let _ = service;
        Ok(())
    }

    /// Refuses a balancer of another service, as every other method that asks the cloud does.
    async fn verify(&self) -> Result<()> {
        Ok(())
    }

    async fn read(&self) -> Result<Seen>;

    /// A text that the cloud has sent, as it may be shown: the start of it, without the token.
    fn shown(&self, text: &str) -> String;

    /// The part of the settings that tells whether somebody else changed them: what is documented, and concerns what is
    /// written. A provider may add any other member at any time, and change it by itself.
    fn judged(&self, settings: &Value) -> Value;

    /// The settings with these servers behind it, and no others. Those that are there stay as they are; new ones become like
    /// those that are there.
    ///
    /// # Errors
    /// `Config` when what new ones are to be like cannot be told.
    fn with_members(&self, settings: &Value, servers: &BTreeSet<u64>) -> Result<Value>;

    /// Adds the servers that are in these settings.
    async fn add(&self, wanted: &Value) -> Result<Accepted>;

    /// Removes those of the servers that are in the settings, which were read last.
    async fn remove(&self, servers: &[u64], settings: &Value) -> Result<Accepted>;

    /// Whether [`write`](Self::write) keeps all that it is not asked to change.
    ///
    /// # Errors
    /// With what would be lost.
    fn check_writable(&self, settings: &Value) -> Result<()>;

    /// The settings with each target port, and each port of a health check, replaced by what the function says. All that
    /// is not known stays as it is.
    fn retargeted(&self, settings: &Value, port: &dyn Fn(u64) -> u64) -> Value;

    /// The target ports in the settings.
    fn target_ports(&self, settings: &Value) -> Vec<u64>;

    /// Brings the settings from what was seen to what is wanted, which differ in ports only.
    async fn write(&self, seen: &Value, wanted: &Value) -> Result<Accepted>;
}

/// What a load balancer is like.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) members: Members,
    /// Why it takes no changes now.
    pub(crate) busy: Option<String>,
    /// All that can be set, without what changes by itself.
    pub(crate) settings: Value,
    /// How long a new server needs, by the balancer's own health check, until it is given requests. `None`: it says itself
    /// which are healthy.
    pub(crate) health_deadline: Option<Duration>,
    /// How many targets it takes at most, if it says so.
    pub(crate) max_targets: Option<usize>,
}

/// Who gets the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Members {
    /// These servers, each with whether the balancer calls it healthy, where it says so.
    Servers(BTreeMap<u64, Option<bool>>),
    /// Whoever bears a tag or a label, or is not a server at all: not ours to change.
    Chosen(String),
}

/// What a balancer said to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Accepted {
    Yes,
    /// Not now, and nothing was changed.
    Busy(String),
    /// Not now, and a part of it was changed before.
    Partly(String),
}
