//! [`HealthCheck`]: one look at whether an instance is well. Polling is the pipeline's job.

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use auto_impl::auto_impl;

use crate::error::Result;
use crate::from_fn::FromFn;
use crate::types::{Instance, Target, Version};

/// The answer of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It answered as it should.
    Healthy {
        /// The version it says it is, where the check can tell.
        version: Option<Version>,
    },
    /// It answered otherwise, or did not answer.
    Unhealthy {
        /// What was asked and what came back, for a person.
        reason: String,
    },
}

impl Health {
    /// Healthy, and the check cannot tell the version.
    pub fn healthy() -> Self {
        Self::Healthy { version: None }
    }

    /// Healthy, answering as this version.
    pub fn healthy_as(version: Version) -> Self {
        Self::Healthy { version: Some(version) }
    }

    /// Unhealthy, with the reason.
    pub fn unhealthy(reason: impl Into<String>) -> Self {
        Self::Unhealthy { reason: reason.into() }
    }
}

/// Looks at an instance once.
///
/// The same trait serves three purposes in a pipeline: the health of a slot, the smoke test of a staged release, and
/// the verification through the public address (where the instance is ignored and the check knows the address).
///
/// # Contract
///
/// - One call, one look: no retries inside, fresh connections, no state kept between calls.
/// - An instance that refuses connections is [`Health::Unhealthy`], with the reason. `Err` means that the check itself
///   could not be made: no such endpoint, a bad configuration, no route to the host.
/// - Can be cut off at any await.
#[async_trait]
#[auto_impl(Arc, Box)]
pub trait HealthCheck: Debug + Display + Send + Sync + 'static {
    /// Looks once.
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health>;

    /// Whether an answer can name a version at all. A pipeline is not built with a check of the public address that cannot
    /// tell one: it could never confirm a deploy. True unless a check says otherwise.
    fn tells_version(&self) -> bool {
        true
    }
}

/// A check that calls an async function with the target and the instance. The name says in errors and logs what it checks.
///
/// ```
/// use bluegreen_core::{Health, HealthCheck, health};
///
/// let check = health::from_fn("queue is empty", async |_target, instance| {
///     Ok(if instance.is_running() { Health::healthy() } else { Health::unhealthy("nothing runs") })
/// });
/// # let _: &dyn HealthCheck = &check;
/// ```
pub fn from_fn<F, R>(name: impl Into<String>, check: F) -> FromFn<F>
where
    F: Fn(Target, Instance) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Health>> + Send,
{
    FromFn { name: name.into(), call: check }
}

#[async_trait]
impl<F, R> HealthCheck for FromFn<F>
where
    F: Fn(Target, Instance) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Health>> + Send,
{
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health> {
        (self.call)(target.clone(), instance.clone()).await
    }
}
