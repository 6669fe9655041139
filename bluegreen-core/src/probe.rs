//! One look at an instance, and what it means for the release that should be there.

use std::time::Duration;

use tokio::time::timeout;

use crate::health::{Health, HealthCheck};
use crate::types::{Instance, Target, Version};

/// What one look found.
pub(crate) enum Probe {
    /// Healthy, and not as another version than expected.
    Healthy,
    /// Not, and why.
    Unhealthy(String),
}

/// Looks once, within the time that a look may take. A look that could not be made counts as ill, with its reason; so
/// does what runs in part only, whichever part the check asks.
pub(crate) async fn look(check: &dyn HealthCheck, limit: Duration, target: &Target, instance: &Instance) -> Probe {
    if let Instance::Degraded { reason, .. } = instance {
        return Probe::Unhealthy(format!("it runs in part only: {reason}"));
    }
    match timeout(limit, check.check(target, instance)).await {
        Err(_) => Probe::Unhealthy(format!("no answer within {limit:?}")),
        Ok(Err(error)) => Probe::Unhealthy(error.chain()),
        Ok(Ok(Health::Unhealthy { reason })) => Probe::Unhealthy(reason),
        Ok(Ok(Health::Healthy { version: Some(version) }))
            if version != *target.version() && is_known(target.version()) =>
        {
            Probe::Unhealthy(format!("it answers as {version}, and should be {}", target.version()))
        }
        Ok(Ok(Health::Healthy { .. })) => Probe::Healthy,
    }
}

/// Stands for the version of a live release that neither the runtime nor the record knows.
const UNKNOWN: &str = "0-version-unknown";

pub(crate) fn unknown_version() -> Version {
    Version::from_static(UNKNOWN)
}

/// Whether an answer must come from this very version; of a release whose version nobody knows, any will do.
pub(crate) fn is_known(version: &Version) -> bool {
    version.as_str() != UNKNOWN
}
