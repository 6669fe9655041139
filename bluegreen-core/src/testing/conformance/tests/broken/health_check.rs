use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;

use super::super::memory::target;
use crate::error::{Error, ErrorKind, Result};
use crate::health::{Health, HealthCheck};
use crate::testing::conformance::{self, HealthCheckFixture};
use crate::types::{Endpoint, Instance, Slot, Target, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Retries,
    Remembers,
    FailsWhenRefused,
    GivesNoReason,
    FindsNothingHealthy,
    GuessesTheVersion,
}

/// A real listener that is looked at by connecting, and a flag for what it would answer.
#[derive(Debug)]
struct Subject {
    listener: std::net::TcpListener,
    healthy: AtomicBool,
    looks: AtomicU64,
}

#[derive(Debug)]
struct Check {
    fault: Fault,
    subject: Arc<Subject>,
    last: AtomicBool,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a check that {:?}", self.fault)
    }
}

#[async_trait]
impl HealthCheck for Check {
    async fn check(&self, _: &Target, instance: &Instance) -> Result<Health> {
        tokio::task::yield_now().await;
        let Some(endpoint) = instance.endpoint(None) else {
            return match self.fault {
                Fault::FindsNothingHealthy => Ok(Health::healthy()),
                _ => Err(Error::new(ErrorKind::NotFound, "no endpoint").not_applied()),
            };
        };
        if let Err(error) = std::net::TcpStream::connect(&endpoint.address) {
            return match self.fault {
                Fault::FailsWhenRefused => Err(error.into()),
                _ => Ok(Health::unhealthy(error.to_string())),
            };
        }
        self.subject.looks.fetch_add(1, Ordering::Relaxed);
        let mut healthy = self.subject.healthy.load(Ordering::Relaxed);
        if self.fault == Fault::Retries && !healthy {
            self.subject.looks.fetch_add(1, Ordering::Relaxed);
        }
        let before = self.last.swap(healthy, Ordering::Relaxed);
        if self.fault == Fault::Remembers {
            healthy |= before;
        }
        let version: Version = if self.fault == Fault::GuessesTheVersion { "2" } else { "1" }.parse()?;
        let reason = if self.fault == Fault::GivesNoReason { "" } else { "503" };
        Ok(if healthy { Health::healthy_as(version) } else { Health::unhealthy(reason) })
    }
}

struct Fixture(Fault, Arc<Subject>);

#[async_trait]
impl HealthCheckFixture for Fixture {
    type Check = Check;

    fn check(&self) -> Check {
        Check { fault: self.0, subject: self.1.clone(), last: AtomicBool::new(false) }
    }

    async fn subject(&self) -> (Target, Instance) {
        let endpoints = vec![Endpoint::http(self.1.listener.local_addr().unwrap().to_string())];
        (target(Slot::Green, "1"), Instance::Running { version: None, endpoints })
    }

    async fn set_healthy(&self, healthy: bool) {
        self.1.healthy.store(healthy, Ordering::Relaxed);
    }

    fn version(&self) -> Option<Version> {
        Some("1".parse().unwrap())
    }

    async fn looks(&self) -> Option<u64> {
        Some(self.1.looks.load(Ordering::Relaxed))
    }
}

async fn suite(fault: Fault) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let subject = Subject { listener, healthy: AtomicBool::new(true), looks: AtomicU64::new(0) };
    conformance::health_check(&Fixture(fault, Arc::new(subject))).await;
}

#[tokio::test]
async fn without_a_fault_the_suite_passes() {
    suite(Fault::None).await;
}

#[tokio::test]
#[should_panic(expected = "one call is one look")]
async fn a_check_that_retries_is_noticed() {
    suite(Fault::Retries).await;
}

#[tokio::test]
#[should_panic(expected = "a check tells how the instance is at this moment")]
async fn a_check_that_remembers_is_noticed() {
    suite(Fault::Remembers).await;
}

#[tokio::test]
#[should_panic(expected = "an instance that refuses connections is Unhealthy")]
async fn a_check_that_fails_when_it_is_refused_is_noticed() {
    suite(Fault::FailsWhenRefused).await;
}

#[tokio::test]
#[should_panic(expected = "an unhealthy answer carries a reason")]
async fn a_check_without_a_reason_is_noticed() {
    suite(Fault::GivesNoReason).await;
}

#[tokio::test]
#[should_panic(expected = "an instance without an endpoint is not healthy")]
async fn a_check_that_finds_nothing_healthy_is_noticed() {
    suite(Fault::FindsNothingHealthy).await;
}

#[tokio::test]
#[should_panic(expected = "carries the version that the instance says it is")]
async fn a_check_that_guesses_the_version_is_noticed() {
    suite(Fault::GuessesTheVersion).await;
}
