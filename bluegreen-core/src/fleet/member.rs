use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::health::HealthCheck;
use crate::migrator::Migrator;
use crate::router::Router;
use crate::runtime::Runtime;

/// One machine of a [`Fleet`](super::Fleet): a name, a runtime, and, where traffic is switched on each machine, a router.
#[derive(Clone)]
pub struct Member {
    pub(super) name: String,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) router: Option<Arc<dyn Router>>,
    pub(super) zone: Option<String>,
    pub(super) labels: BTreeSet<String>,
    pub(super) weight: u32,
    pub(super) is_canary: bool,
    pub(super) address: Option<String>,
    pub(crate) health: Option<Arc<dyn HealthCheck>>,
    pub(crate) verify: Option<Arc<dyn HealthCheck>>,
    pub(crate) migrator: Option<Arc<dyn Migrator>>,
}

impl Member {
    /// A member that runs its releases by this runtime. The name is made of `[A-Za-z0-9._+-]`, and unique in the fleet.
    pub fn new(name: impl Into<String>, runtime: impl Runtime) -> Self {
        Self {
            name: name.into(),
            runtime: Arc::new(runtime),
            router: None,
            zone: None,
            labels: BTreeSet::new(),
            weight: 1,
            is_canary: false,
            address: None,
            health: None,
            verify: None,
            migrator: None,
        }
    }

    /// What switches the traffic of this machine. Either each member has one, or none: then one shared router is told the
    /// endpoints of all members.
    #[must_use]
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Some(Arc::new(router));
        self
    }

    /// When its slots are healthy, by a check that reaches this machine: it is given the member's endpoints as they are seen from
    /// there. See also [`FleetBuilder::health`](super::FleetBuilder::health).
    #[must_use]
    pub fn health(mut self, check: impl HealthCheck) -> Self {
        self.health = Some(Arc::new(check));
        self
    }

    /// What answers at this machine's own public address, where each has one. A pipeline that is given no check of the public
    /// address then asks that of each member that takes part.
    #[must_use]
    pub fn verify(mut self, check: impl HealthCheck) -> Self {
        self.verify = Some(Arc::new(check));
        self
    }

    /// What runs migrations on this machine. They run once, on the first member that takes part and has a migrator: see
    /// [`FleetBuilder::migrate_on`](super::FleetBuilder::migrate_on).
    #[must_use]
    pub fn migrator(mut self, migrator: impl Migrator) -> Self {
        self.migrator = Some(Arc::new(migrator));
        self
    }

    /// Where it stands. Waves go zone by zone, in the order in which zones are first named.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Adds a label, by which a member can be chosen: see [`FleetBuilder::migrate_on`](super::FleetBuilder::migrate_on).
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.labels.insert(label.into());
        self
    }

    /// How much of the traffic it takes, beside the weights of the others. Default: 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Makes it one of the first that get a new release.
    #[must_use]
    pub fn canary(mut self) -> Self {
        self.is_canary = true;
        self
    }

    /// The host name or IP address at which a shared router reaches this machine. It replaces the host of each endpoint, which
    /// is that seen from the machine itself. Default: endpoints stay as the runtime tells them.
    #[must_use]
    pub fn address(mut self, host: impl Into<String>) -> Self {
        self.address = Some(host.into());
        self
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("name", &self.name).field("runtime", &self.runtime).finish_non_exhaustive()
    }
}
