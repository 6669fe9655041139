//! Whole deploys: what a pipeline makes of a load balancer, by servers and by ports.

use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::memory::{MemoryHealth, MemoryRuntime, MemoryStateStore};
use bluegreen_core::testing::{Fault, Faults, Faulty};
use bluegreen_core::{Pipeline, Release, Router, Runtime, Slot, Split};
use bluegreen_floatingip::LoadBalancerRouter;
use bluegreen_testkit::fakes::{FakeServer, Public};

use super::setup::{OnDigitalOcean, OnHetzner, slot_of};

struct Shop {
    public: Public,
    store: MemoryStateStore,
    router: LoadBalancerRouter,
}

impl Shop {
    /// Version 1 is live.
    async fn open(router: LoadBalancerRouter, next: impl Fn() -> Option<Slot> + Send + Sync + 'static) -> Self {
        let public = Public { next: Arc::new(next), runtime: MemoryRuntime::new() };
        let shop = Self { public, store: MemoryStateStore::new(), router };
        shop.pipeline().deploy(release("1")).await.unwrap();
        shop.answers_as("1").await;
        shop
    }

    async fn by_servers(on: &OnDigitalOcean) -> Self {
        let lb = Arc::clone(&on.lb);
        Self::open(on.by_servers(), move || lb.traffic(|traffic| traffic.next_server()).map(slot_of)).await
    }

    async fn by_ports(on: &OnDigitalOcean) -> Self {
        let lb = Arc::clone(&on.lb);
        Self::open(on.by_ports(), move || lb.traffic(|traffic| traffic.next_server()).map(slot_of)).await
    }

    fn pipeline(&self) -> Pipeline {
        self.pipeline_with(self.router.clone())
    }

    fn pipeline_with(&self, router: impl Router) -> Pipeline {
        Pipeline::builder("shop")
            .runtime(self.public.runtime.clone())
            .router(router)
            .store(self.store.clone())
            .health(MemoryHealth::new())
            .verify(self.public.clone())
            .check_interval(Duration::from_millis(5))
            .verify_deadline(Duration::from_secs(2))
            .drain(Duration::ZERO)
            .lease_ttl(Duration::from_secs(3))
            .build()
            .unwrap()
    }

    async fn current(&self) -> Option<Split> {
        self.router.current().await.unwrap()
    }

    /// All traffic goes to one slot, which runs this version.
    async fn answers_as(&self, version: &str) {
        let slot = self.current().await.unwrap().sole().expect("traffic is divided");
        for _ in 0..4 {
            assert_eq!((self.public.next)(), Some(slot));
        }
        let instance = self.public.runtime.inspect(slot).await.unwrap();
        assert!(instance.is_running(), "traffic goes to {slot}, which is {instance}");
        assert_eq!(instance.version().unwrap().as_str(), version);
    }

    /// Deploys, and dies as soon as this call has come once more.
    async fn die_after(&self, server: &FakeServer, method: &str, path: &str) {
        let before = server.carried_out(method, path);
        let pipeline = self.pipeline();
        let asked = async {
            while server.carried_out(method, path) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            result = pipeline.deploy(release("2")) => panic!("it was over too soon: {result:?}"),
            () = asked => {}
        }
    }

    /// A deploy and the way back; a death before the shift and after it.
    async fn keeps_its_promises(&self) {
        self.pipeline().deploy(release("2")).await.unwrap();
        self.answers_as("2").await;
        self.pipeline().rollback().await.unwrap();
        self.answers_as("1").await;
        for fault in [Fault::Die, Fault::ApplyThenDie] {
            let faults = Faults::new();
            faults.on("router.shift", fault);
            let router = Faulty::new(self.router.clone(), &faults);
            assert!(faults.run(self.pipeline_with(router).deploy(release("3"))).await.is_none(), "it died");
            self.pipeline().recover().await.unwrap();
            self.answers_as("1").await;
        }
        self.pipeline().deploy(release("3")).await.unwrap();
        self.answers_as("3").await;
    }
}

fn release(version: &str) -> Release {
    Release::new(version).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_deployed_to_rolled_back_and_recovered() {
    let on = OnDigitalOcean::start(&[]).await;
    Shop::by_servers(&on).await.keeps_its_promises().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_deployed_to_rolled_back_and_recovered() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    Shop::by_ports(&on).await.keeps_its_promises().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_that_dies_between_adding_and_removing_is_recovered_from() {
    let on = OnDigitalOcean::start(&[]).await;
    let shop = Shop::by_servers(&on).await;
    let removed = on.server.count("DELETE", "/droplets");
    shop.die_after(&on.server, "POST", "/droplets").await;
    assert_eq!(on.server.count("DELETE", "/droplets"), removed, "it died before it removed anything");
    assert_eq!(on.lb.balancer()["droplet_ids"].as_array().unwrap().len(), 4, "both slots have traffic");
    shop.pipeline().recover().await.unwrap();
    shop.answers_as("1").await;
    assert_eq!(on.lb.balancer()["droplet_ids"].as_array().unwrap().len(), 2);
    shop.pipeline().deploy(release("2")).await.unwrap();
    shop.answers_as("2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_that_dies_while_it_removes_is_recovered_from() {
    let on = OnDigitalOcean::start(&[]).await;
    let shop = Shop::by_servers(&on).await;
    shop.die_after(&on.server, "DELETE", "/droplets").await;
    shop.pipeline().recover().await.unwrap();
    shop.answers_as("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_that_dies_between_two_services_of_hetzner_is_recovered_from() {
    let on = OnHetzner::start(&[11, 12]).await;
    let lb = Arc::clone(&on.lb);
    let shop = Shop::open(on.by_ports(), move || lb.traffic(|traffic| traffic.next_server()).map(slot_of)).await;
    let live = shop.current().await;
    on.lb.actions_take(Duration::from_millis(100));
    shop.die_after(&on.server, "POST", "update_service").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(shop.current().await.unwrap().sole(), None, "the services are divided");
    shop.pipeline().recover().await.unwrap();
    shop.answers_as("1").await;
    assert_eq!(shop.current().await, live);
    shop.pipeline().deploy(release("2")).await.unwrap();
    shop.answers_as("2").await;
    shop.pipeline().rollback().await.unwrap();
    shop.answers_as("1").await;
}
