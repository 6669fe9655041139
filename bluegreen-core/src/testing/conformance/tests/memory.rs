use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;

use crate::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use crate::router::{Granularity, Router};
use crate::runtime::Runtime;
use crate::testing::conformance::{self, HealthCheckFixture, RouterFixture, RuntimeFixture, StateStoreFixture};
use crate::types::{Endpoint, Instance, OperationId, Release, ServiceName, Slot, Split, Target, Version};

pub(super) struct Store(pub(super) MemoryStateStore);

#[async_trait]
impl StateStoreFixture for Store {
    type Store = MemoryStateStore;

    async fn open(&self) -> MemoryStateStore {
        self.0.clone()
    }
}

#[tokio::test]
async fn the_memory_store_keeps_its_contract() {
    conformance::state_store(&Store(MemoryStateStore::new())).await;
}

/// A memory router and the requests that it would route.
pub(super) struct Routed {
    pub(super) router: MemoryRouter,
    requests: AtomicU64,
}

impl Routed {
    pub(super) fn new(granularity: Granularity) -> Self {
        Self { router: MemoryRouter::with_granularity(granularity), requests: AtomicU64::new(0) }
    }

    pub(super) fn answer(&self) -> Option<Slot> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) % 100;
        let green = u64::from(self.router.split()?.share(Slot::Green));
        Some(if number < green { Slot::Green } else { Slot::Blue })
    }
}

#[async_trait]
impl RouterFixture for Routed {
    type Router = MemoryRouter;

    async fn open(&self) -> MemoryRouter {
        self.router.clone()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        instance(slot, "1")
    }

    async fn request(&self) -> Option<Slot> {
        self.answer()
    }

    fn is_exact(&self) -> bool {
        true
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        self.router.switch_by_hand(Some(split));
        true
    }
}

#[tokio::test]
async fn the_memory_router_keeps_its_contract() {
    conformance::router(&Routed::new(Granularity::Percent)).await;
}

#[tokio::test]
async fn the_memory_router_keeps_its_contract_when_it_can_not_divide() {
    let routed = Routed::new(Granularity::AllOrNothing);
    conformance::router(&routed).await;
    assert_eq!(routed.router.granularity(), Granularity::AllOrNothing);
}

#[derive(Default)]
pub(super) struct Slots {
    pub(super) runtime: MemoryRuntime,
    kills: AtomicU64,
}

impl Slots {
    pub(super) fn who(&self, slot: Slot) -> Option<String> {
        let instance = self.runtime.instance(slot);
        instance.is_running().then(|| format!("{slot} {instance} {}", self.kills.load(Ordering::Relaxed)))
    }
}

#[async_trait]
impl RuntimeFixture for Slots {
    type Runtime = MemoryRuntime;

    async fn open(&self) -> MemoryRuntime {
        self.runtime.clone()
    }

    fn target(&self, slot: Slot, release: usize) -> Target {
        target(slot, &release.to_string())
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        self.who(slot)
    }

    async fn kill(&self, slot: Slot) -> bool {
        self.kills.fetch_add(1, Ordering::Relaxed);
        self.runtime.crash(slot, "killed");
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("started")
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        let mut target = target(slot, "0");
        target.release = target.release.with_artifact("/other");
        Some(target)
    }

    fn other_settings(&self, slot: Slot) -> Option<Target> {
        let mut target = target(slot, "0");
        target.release = target.release.with_setting("workers", "4");
        Some(target)
    }
}

#[tokio::test]
async fn the_memory_runtime_keeps_its_contract() {
    conformance::runtime(&Slots::default()).await;
}

struct Checked(AtomicBool);

#[async_trait]
impl HealthCheckFixture for Checked {
    type Check = MemoryHealth;

    fn check(&self) -> MemoryHealth {
        MemoryHealth::new()
    }

    async fn subject(&self) -> (Target, Instance) {
        let version: Version = "1".parse().unwrap();
        let down = Instance::Stopped { version: Some(version), reason: None };
        (target(Slot::Green, "1"), if self.0.load(Ordering::Relaxed) { instance(Slot::Green, "1") } else { down })
    }

    async fn set_healthy(&self, healthy: bool) {
        self.0.store(healthy, Ordering::Relaxed);
    }

    fn version(&self) -> Option<Version> {
        Some("1".parse().unwrap())
    }
}

#[tokio::test]
async fn the_memory_health_check_keeps_its_contract() {
    conformance::health_check(&Checked(AtomicBool::new(true))).await;
}

struct Public {
    router: MemoryRouter,
    runtime: MemoryRuntime,
}

#[async_trait]
impl HealthCheckFixture for Public {
    type Check = MemoryPublic;

    fn check(&self) -> MemoryPublic {
        MemoryPublic::new(&self.router, &self.runtime)
    }

    async fn subject(&self) -> (Target, Instance) {
        (target(Slot::Green, "1"), self.runtime.instance(Slot::Green))
    }

    async fn set_healthy(&self, healthy: bool) {
        if healthy {
            self.runtime.start_by_hand(Slot::Green, "1".parse().unwrap());
        } else {
            self.runtime.stop(Slot::Green, std::time::Duration::ZERO).await.unwrap();
        }
    }

    fn version(&self) -> Option<Version> {
        Some("1".parse().unwrap())
    }

    fn looks_at_the_instance(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_memory_public_address_keeps_its_contract() {
    let public = Public { router: MemoryRouter::new(), runtime: MemoryRuntime::new() };
    public.router.switch_by_hand(Some(Split::all(Slot::Green)));
    conformance::health_check(&public).await;
}

pub(super) fn target(slot: Slot, version: &str) -> Target {
    let service = ServiceName::new("shop").unwrap();
    Target::new(service, slot, Release::new(version).unwrap(), OperationId::new("deploy-1").unwrap())
}

pub(super) fn instance(slot: Slot, version: &str) -> Instance {
    let endpoints = vec![Endpoint::http(format!("{slot}.memory:80"))];
    Instance::Running { version: Some(version.parse().unwrap()), endpoints }
}
