use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::health::{Health, HealthCheck};
use crate::memory::{MemoryRouter, MemoryRuntime};
use crate::types::{Instance, Target};

/// Finds whatever runs healthy, as the version that the runtime started.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemoryHealth(());

impl MemoryHealth {
    /// The check.
    pub const fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for MemoryHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory health check")
    }
}

#[async_trait]
impl HealthCheck for MemoryHealth {
    async fn check(&self, _target: &Target, instance: &Instance) -> Result<Health> {
        Ok(match instance {
            Instance::Running { version, .. } | Instance::Degraded { version, .. } => {
                Health::Healthy { version: version.clone() }
            }
            other => Health::unhealthy(other.to_string()),
        })
    }
}

/// Asks like a user at the public address: whatever slot the router sends most traffic to answers with its version.
#[derive(Debug, Clone)]
pub struct MemoryPublic {
    router: MemoryRouter,
    runtime: MemoryRuntime,
}

impl MemoryPublic {
    /// The public address in front of this router and runtime.
    pub fn new(router: &MemoryRouter, runtime: &MemoryRuntime) -> Self {
        Self { router: router.clone(), runtime: runtime.clone() }
    }
}

impl fmt::Display for MemoryPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory public address")
    }
}

#[async_trait]
impl HealthCheck for MemoryPublic {
    async fn check(&self, _target: &Target, _instance: &Instance) -> Result<Health> {
        let Some(split) = self.router.split() else { return Ok(Health::unhealthy("nothing is routed")) };
        Ok(match self.runtime.instance(split.majority()) {
            Instance::Running { version, .. } | Instance::Degraded { version, .. } => Health::Healthy { version },
            down => Health::unhealthy(format!("{} is {down}", split.majority())),
        })
    }
}
