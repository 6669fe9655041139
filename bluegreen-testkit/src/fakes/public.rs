use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::memory::MemoryRuntime;
use bluegreen_core::{Health, HealthCheck, Instance, Runtime, Slot, Target};

/// The public address: whatever runs where the next request goes.
#[derive(Clone)]
pub struct Public {
    pub next: Arc<dyn Fn() -> Option<Slot> + Send + Sync>,
    pub runtime: MemoryRuntime,
}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Public")
    }
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the public address")
    }
}

#[async_trait]
impl HealthCheck for Public {
    async fn check(&self, _target: &Target, _instance: &Instance) -> bluegreen_core::Result<Health> {
        let Some(slot) = (self.next)() else { return Ok(Health::unhealthy("nobody answers")) };
        Ok(match self.runtime.inspect(slot).await? {
            Instance::Running { version: Some(version), .. } => Health::healthy_as(version),
            other => Health::unhealthy(format!("{slot} is {other}")),
        })
    }
}
