//! Whole deploys: what a pipeline makes of an address whose move goes wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::memory::{MemoryHealth, MemoryRuntime, MemoryStateStore};
use bluegreen_core::testing::{Fault, Faults, Faulty};
use bluegreen_core::{Instance, Pipeline, Release, Router, Runtime, Slot};
use bluegreen_floatingip::FloatingIpRouter;
use bluegreen_testkit::fakes::{Ending, Public};

use super::setup::{BLUE, GREEN, OnDigitalOcean, V4, V6, slot_of};

struct Shop {
    on: OnDigitalOcean,
    runtime: MemoryRuntime,
    store: MemoryStateStore,
}

impl Shop {
    /// Version 1 is live, in blue.
    async fn open(address: &'static str) -> Self {
        let on = OnDigitalOcean::start(address).await;
        let shop = Self { on, runtime: MemoryRuntime::new(), store: MemoryStateStore::new() };
        shop.pipeline(shop.on.router()).deploy(Release::new("1").unwrap()).await.unwrap();
        assert_eq!(shop.on.holder(), Some(11));
        shop
    }

    fn pipeline(&self, router: impl Router) -> Pipeline {
        let (cloud, address) = (Arc::clone(&self.on.cloud), self.on.address);
        let next = move || cloud.holder(address).and_then(slot_of);
        let public = Public { next: Arc::new(next), runtime: self.runtime.clone() };
        Pipeline::builder("shop")
            .runtime(self.runtime.clone())
            .router(router)
            .store(self.store.clone())
            .health(MemoryHealth::new())
            .verify(public)
            .check_interval(Duration::from_millis(5))
            .verify_deadline(Duration::from_secs(2))
            .drain(Duration::ZERO)
            .lease_ttl(Duration::from_secs(3))
            .build()
            .unwrap()
    }

    /// The address leads to a server that runs.
    async fn answers_as(&self, version: &str) {
        let slot = slot_of(self.on.holder().unwrap()).unwrap();
        let instance = self.runtime.inspect(slot).await.unwrap();
        assert!(instance.is_running(), "the address leads to {slot}, which is {instance}");
        assert_eq!(instance.version().unwrap().as_str(), version);
    }
}

fn two() -> Release {
    Release::new("2").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_moves_the_address_and_a_rollback_moves_it_back() {
    let shop = Shop::open(V4).await;
    shop.pipeline(shop.on.router()).deploy(two()).await.unwrap();
    shop.answers_as("2").await;
    assert_eq!(shop.on.holder(), Some(22));
    shop.pipeline(shop.on.router()).rollback().await.unwrap();
    shop.answers_as("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_fails_leaves_the_old_release_live() {
    let shop = Shop::open(V4).await;
    shop.on.cloud.next_action(Ending::Errored);
    let error = shop.pipeline(shop.on.router()).deploy(two()).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back", "{error}");
    shop.answers_as("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_outlasts_its_deadline_is_undone_wherever_it_ends() {
    for address in [V4, V6] {
        let shop = Shop::open(address).await;
        shop.on.cloud.actions_take(Duration::from_millis(500));
        let builder = shop.on.builder();
        let hasty = builder.clone().deadline(Duration::from_millis(250)).build();
        let patient = builder.deadline(Duration::from_secs(20)).build();
        let error = shop.pipeline(Patient { hasty, patient, later: shop.on.router() }).deploy(two()).await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "rolled back", "{error}");
        tokio::time::sleep(Duration::from_millis(700)).await;
        shop.answers_as("1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_that_dies_in_the_move_is_recovered_from() {
    for fault in [Fault::Die, Fault::ApplyThenDie] {
        let shop = Shop::open(V4).await;
        let faults = Faults::new();
        faults.on("router.shift", fault);
        let router = Faulty::new(shop.on.router(), &faults);
        assert!(faults.run(shop.pipeline(router).deploy(two())).await.is_none(), "it died");
        shop.pipeline(shop.on.router()).recover().await.unwrap();
        shop.answers_as("1").await;
        shop.pipeline(shop.on.router()).deploy(two()).await.unwrap();
        shop.answers_as("2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_that_dies_right_after_the_post_is_recovered_from_while_the_address_still_moves() {
    let shop = Shop::open(V4).await;
    shop.on.cloud.actions_take(Duration::from_millis(1500));
    let before = shop.on.posts();
    {
        let pipeline = shop.pipeline(shop.on.router());
        let asked = async {
            while shop.on.posts() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = pipeline.deploy(two()) => panic!("it was over too soon"),
            () = asked => {}
        }
    }
    shop.on.cloud.actions_take(Duration::from_millis(15));
    shop.pipeline(shop.on.router()).recover().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    shop.answers_as("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_dies_right_after_the_move_is_taken_back() {
    let shop = Shop::open(V4).await;
    let runtime = shop.runtime.clone();
    shop.on.cloud.on_assign(move |moved| {
        if moved.to == 22 {
            runtime.crash(Slot::Green, "killed by signal 9");
        }
    });
    let error = shop.pipeline(shop.on.router()).deploy(two()).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back", "{error}");
    shop.answers_as("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_moved_by_hand_decides_what_a_deploy_does() {
    // To green, where nothing runs: the deploy goes into blue, and brings the address to a server that answers.
    // To a third server: nothing is deployed until somebody has found out why.
    for server in [22, 33] {
        let shop = Shop::open(V4).await;
        shop.on.cloud.move_by_hand(V4, Some(server));
        let result = shop.pipeline(shop.on.router()).deploy(two()).await;
        let blue = shop.runtime.inspect(Slot::Blue).await.unwrap();
        if server == 33 {
            let error = result.unwrap_err();
            assert!(error.chain().contains("droplet 33"), "{error}");
            assert_eq!(shop.on.holder(), Some(33));
            assert!(blue.is_running(), "{blue}");
        } else {
            result.unwrap();
            assert_eq!(shop.on.holder(), Some(11));
            shop.answers_as("2").await;
        }
    }
}

/// The first shift with little polling, all that follows with more.
#[derive(Debug)]
struct Patient {
    hasty: FloatingIpRouter,
    /// Knows what the hasty one asked for.
    patient: FloatingIpRouter,
    later: FloatingIpRouter,
}

impl fmt::Display for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hasty.fmt(f)
    }
}

#[async_trait]
impl Router for Patient {
    fn granularity(&self) -> bluegreen_core::Granularity {
        self.hasty.granularity()
    }
    async fn current(&self) -> bluegreen_core::Result<Option<bluegreen_core::Split>> {
        self.patient.current().await
    }
    async fn attach(&self, slot: Slot, instance: &Instance) -> bluegreen_core::Result<()> {
        self.hasty.attach(slot, instance).await
    }
    async fn shift(
        &self,
        from: Option<bluegreen_core::Split>,
        to: bluegreen_core::Split,
    ) -> bluegreen_core::Result<()> {
        if to == GREEN {
            self.hasty.shift(from, to).await
        } else {
            assert_eq!(to, BLUE);
            self.later.shift(from, to).await
        }
    }
    async fn in_flight(&self, slot: Slot) -> bluegreen_core::Result<Option<u64>> {
        self.hasty.in_flight(slot).await
    }
}
