//! A fleet's runtime and router keep the contracts of their traits, by the suites that every adapter is held to.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bluegreen_core::fleet::{Fleet, FleetRouter, FleetRuntime, Member};
use bluegreen_core::memory::{MemoryRouter, MemoryRuntime};
use bluegreen_core::testing::conformance::{self, RouterFixture, RuntimeFixture};
use bluegreen_core::{
    Endpoint, Granularity, Instance, OperationId, Release, ServiceName, Slot, Split, Target, Version,
};

/// As many members as there are percentages, so that each share is exact.
struct Routed {
    routers: Vec<MemoryRouter>,
    requests: AtomicUsize,
}

impl Routed {
    fn new() -> Self {
        let routers = (0..100).map(|_| MemoryRouter::with_granularity(Granularity::AllOrNothing)).collect();
        Self { routers, requests: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl RouterFixture for Routed {
    type Router = FleetRouter;

    async fn open(&self) -> FleetRouter {
        let members = self.routers.iter().enumerate();
        let fleet = members.fold(Fleet::builder(), |fleet, (number, router)| {
            fleet.member(format!("m{number}"), MemoryRuntime::new(), router.clone())
        });
        fleet.build().unwrap().router()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        let endpoints = (0..100).map(|member| Endpoint::http(format!("{slot}.memory:80")).on(format!("m{member}")));
        Instance::Running { version: Some(Version::new("1").unwrap()), endpoints: endpoints.collect() }
    }

    async fn request(&self) -> Option<Slot> {
        let member = self.requests.fetch_add(1, Ordering::Relaxed) % self.routers.len();
        self.routers[member].split()?.sole()
    }

    fn is_exact(&self) -> bool {
        true
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        let green = usize::from(split.share(Slot::Green));
        for (number, router) in self.routers.iter().enumerate() {
            router.switch_by_hand(Some(Split::all(if number < green { Slot::Green } else { Slot::Blue })));
        }
        true
    }
}

#[tokio::test(start_paused = true)]
async fn the_routers_of_a_fleet_keep_the_contract_of_a_router() {
    conformance::router(&Routed::new()).await;
}

struct Slots {
    runtimes: Vec<MemoryRuntime>,
    kills: AtomicUsize,
}

#[async_trait]
impl RuntimeFixture for Slots {
    type Runtime = FleetRuntime;

    async fn open(&self) -> FleetRuntime {
        let members = self.runtimes.iter().enumerate();
        let fleet = members.fold(Fleet::builder(), |fleet, (number, runtime)| {
            fleet.with_member(Member::new(format!("m{number}"), runtime.clone()))
        });
        fleet.build().unwrap().runtime()
    }

    fn target(&self, slot: Slot, release: usize) -> Target {
        target(slot, Release::new(release.to_string()).unwrap())
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        let instances: Vec<_> = self.runtimes.iter().map(|runtime| runtime.instance(slot)).collect();
        let running = instances.iter().any(Instance::is_running);
        let kills = self.kills.load(Ordering::Relaxed);
        running.then(|| {
            format!("{slot} {kills} {}", instances.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        })
    }

    async fn kill(&self, slot: Slot) -> bool {
        self.kills.fetch_add(1, Ordering::Relaxed);
        self.runtimes.iter().for_each(|runtime| runtime.crash(slot, "killed"));
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("started")
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, Release::new("0").unwrap().with_artifact("/elsewhere")))
    }

    fn other_settings(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, Release::new("0").unwrap().with_setting("colour", "red")))
    }
}

fn target(slot: Slot, release: Release) -> Target {
    let service = ServiceName::new("shop").unwrap();
    Target::new(service, slot, release, OperationId::new("deploy-1").unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_runtime_of_a_fleet_keeps_the_contract_of_a_runtime() {
    conformance::runtime(&Slots {
        runtimes: (0..3).map(|_| MemoryRuntime::new()).collect(),
        kills: AtomicUsize::new(0),
    })
    .await;
}
