use async_trait::async_trait;

use super::contract::{Contract, steps};
use super::cut_off::CutOff;
use crate::health::{Health, HealthCheck};
use crate::types::{Endpoint, Instance, Target, Version};

/// What [`health_check`] needs: a running instance that can be made to answer well and badly.
#[async_trait]
pub trait HealthCheckFixture: Sync {
    /// The adapter.
    type Check: HealthCheck;

    /// The check.
    fn check(&self) -> Self::Check;

    /// What to look at.
    async fn subject(&self) -> (Target, Instance);

    /// Makes the subject answer well or badly from now on.
    async fn set_healthy(&self, healthy: bool);

    /// The version that the subject says it is. `None`: the check cannot tell.
    fn version(&self) -> Option<Version> {
        None
    }

    /// Whether the check looks at the instance it is given. One that looks at a public address does not.
    fn looks_at_the_instance(&self) -> bool {
        true
    }

    /// How often the subject was looked at so far. `None`: it does not know.
    async fn looks(&self) -> Option<u64> {
        None
    }

    /// When calls are cut off.
    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::usual()
    }
}

/// Tests the contract of [`HealthCheck`].
///
/// # Panics
/// At the first clause that does not hold.
pub async fn health_check(fixture: &impl HealthCheckFixture) {
    let check = fixture.check();
    let suite = Suite { fixture, contract: Contract::of(&check), check };
    steps! {
        suite:
        tells_how_the_instance_is_now,
        looks_once,
        tells_refusal_from_inability,
        survives_cut_offs,
    }
}

struct Suite<'a, F: HealthCheckFixture> {
    fixture: &'a F,
    contract: Contract,
    check: F::Check,
}

impl<F: HealthCheckFixture> Suite<'_, F> {
    async fn tells_how_the_instance_is_now(&self) {
        // Back and forth: an answer that was kept from the call before would show.
        for healthy in [true, false, true, true, false, false, true] {
            self.fixture.set_healthy(healthy).await;
            self.is(healthy).await;
        }
    }

    async fn looks_once(&self) {
        let mut each = Vec::new();
        for healthy in [true, false, false, true] {
            self.fixture.set_healthy(healthy).await;
            let before = self.fixture.looks().await;
            self.is(healthy).await;
            let (Some(before), Some(after)) = (before, self.fixture.looks().await) else { return };
            each.push(after - before);
        }
        let clause = "one call is one look, and a bad answer is not asked for again";
        self.contract.holds(clause, each[0] > 0 && each.iter().all(|looks| *looks == each[0]), &each);
    }

    async fn tells_refusal_from_inability(&self) {
        if !self.fixture.looks_at_the_instance() {
            return;
        }
        let (target, instance) = self.fixture.subject().await;
        self.fixture.set_healthy(true).await;
        for gone in [Instance::Absent, Instance::Stopped { version: None, reason: None }] {
            let clause = "an instance without an endpoint is not healthy";
            let found = self.check.check(&target, &gone).await;
            self.contract.holds(clause, !matches!(found, Ok(Health::Healthy { .. })), found);
        }
        let Some(deaf) = nobody_listens(&instance) else { return };
        let clause = "an instance that refuses connections is Unhealthy, with the reason, and no error";
        match self.contract.ok(clause, self.check.check(&target, &deaf).await) {
            Health::Unhealthy { reason } if !reason.trim().is_empty() => {}
            other => self.contract.broken(clause, format!("{other:?}")),
        }
    }

    async fn survives_cut_offs(&self) {
        let (target, instance) = self.fixture.subject().await;
        for (number, cut_off) in self.fixture.cut_offs().into_iter().enumerate() {
            self.fixture.set_healthy(number % 2 == 1).await;
            let _ = cut_off.run(self.check.check(&target, &instance)).await;
            self.fixture.set_healthy(number % 2 == 0).await;
            self.is(number % 2 == 0).await;
        }
    }

    async fn is(&self, healthy: bool) {
        let (target, instance) = self.fixture.subject().await;
        let clause = "a check tells how the instance is at this moment, whatever it was before";
        let found = self.contract.ok(clause, self.check.check(&target, &instance).await);
        match &found {
            Health::Healthy { version } if healthy => {
                let clause = "a healthy answer carries the version that the instance says it is, if it can tell";
                self.contract.same(clause, version, &self.fixture.version());
            }
            Health::Unhealthy { reason } if !healthy => {
                let clause = "an unhealthy answer carries a reason";
                self.contract.holds(clause, !reason.trim().is_empty(), reason);
            }
            _ => self.contract.broken(clause, format!("{found:?}")),
        }
    }
}

/// The instance at addresses of this machine at which nobody listens. `None`: it has no address of a network.
fn nobody_listens(instance: &Instance) -> Option<Instance> {
    let Instance::Running { version, endpoints } = instance else { return None };
    let networked = endpoints.iter().all(|endpoint| endpoint.address.parse::<std::net::SocketAddr>().is_ok());
    let deaf = |endpoint: &Endpoint| Some(Endpoint { address: unused()?, ..endpoint.clone() });
    let endpoints = endpoints.iter().map(deaf).collect::<Option<_>>().filter(|_| networked)?;
    Some(Instance::Running { version: version.clone(), endpoints })
}

/// An address that was free a moment ago.
fn unused() -> Option<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").ok()?;
    listener.local_addr().ok().map(|address| address.to_string())
}
