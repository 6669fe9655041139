//! Whole pipelines over the router, with a HAProxy that forgets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::memory::{MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::Drift;
use bluegreen_core::{
    Endpoint, Health, Instance, Pipeline, Release, Result, Router, Runtime, Slot, Stopped, Target, health,
};
use bluegreen_haproxy::{HaproxyRouter, Mode};
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::traffic::{App, get};

use crate::setup::{BLUE, GREEN, builder, generated, start};

/// The memory runtime, with an app behind each slot.
#[derive(Clone)]
struct Apps {
    memory: MemoryRuntime,
    apps: Arc<[App; 2]>,
}

impl Apps {
    async fn start() -> Self {
        Self { memory: MemoryRuntime::new(), apps: Arc::new([App::start("blue").await, App::start("green").await]) }
    }

    fn real(&self, slot: Slot, instance: Instance) -> Instance {
        let endpoints = vec![Endpoint::http(self.apps[slot as usize].address())];
        match instance {
            Instance::Running { version, .. } => Instance::Running { version, endpoints },
            other => other,
        }
    }
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apps")
    }
}

impl fmt::Display for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("two apps")
    }
}

#[async_trait]
impl Runtime for Apps {
    async fn prepare(&self, target: &Target) -> Result<()> {
        self.memory.prepare(target).await
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        Ok(self.real(target.slot, self.memory.start(target).await?))
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        Ok(self.real(slot, self.memory.inspect(slot).await?))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        self.memory.stop(slot, grace).await
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.memory.logs(slot, tail).await
    }
}

/// A pipeline whose public address is HAProxy's.
fn pipeline(router: HaproxyRouter, haproxy: &TestHaproxy, apps: &Apps, store: &MemoryStateStore) -> Pipeline {
    let (address, runtime) = (haproxy.address(), apps.clone());
    let public = health::from_fn("public address", move |_target, _instance| {
        let (address, runtime) = (address.clone(), runtime.clone());
        async move {
            let answer = match get(&address, "shop.test", "/").await {
                Ok(answer) if answer.status == 200 => answer.body,
                other => return Ok(Health::unhealthy(format!("{other:?}"))),
            };
            let version = runtime.memory.instance(answer.parse()?).version().cloned();
            Ok(version.map_or_else(|| Health::unhealthy("stopped"), Health::healthy_as))
        }
    });
    let slot = health::from_fn("slot", async |_target, instance: Instance| {
        Ok(instance.version().cloned().map_or_else(|| Health::unhealthy("stopped"), Health::healthy_as))
    });
    Pipeline::builder("shop")
        .runtime(apps.clone())
        .router(router)
        .store(store.clone())
        .health(slot)
        .verify(public)
        .check_interval(Duration::from_millis(10))
        .build()
        .unwrap()
}

fn release(version: &str) -> Release {
    Release::new(version).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_forgets_is_drift_and_restore_puts_it_right() {
    let Some(mut haproxy) = start(generated(1), Mode::Http) else { return };
    let (apps, store) = (Apps::start().await, MemoryStateStore::new());
    let pipeline_of = |haproxy: &TestHaproxy| pipeline(builder(haproxy).build().unwrap(), haproxy, &apps, &store);
    pipeline_of(&haproxy).deploy(release("1.0")).await.unwrap();
    pipeline_of(&haproxy).deploy(release("1.1")).await.unwrap();
    for turn in 0..2 {
        if turn == 0 {
            haproxy.reload();
        } else {
            haproxy.kill();
            haproxy.run();
        }
        let tool = pipeline_of(&haproxy);
        let status = tool.status().await.unwrap();
        let switched =
            |drift: &Drift| matches!(drift, Drift::Switched { recorded: Some(split), found: None } if *split == GREEN);
        assert!(status.observed.drift.iter().any(switched), "{:?}", status.observed.drift);
        tool.restore().await.unwrap();
        assert_eq!(get(&haproxy.address(), "shop.test", "/").await.unwrap().body, "green");
        assert_eq!(tool.status().await.unwrap().observed.drift, []);
    }
    pipeline_of(&haproxy).rollback().await.unwrap();
    assert_eq!(get(&haproxy.address(), "shop.test", "/").await.unwrap().body, "blue");
}

/// The deployer dies in the middle of its shift, and HAProxy is restarted before anybody looks.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_death_in_the_shift_and_a_restart_recover_and_without_a_state_file_restore_bring_the_traffic_back() {
    for keeps_state in [false, true] {
        let section =
            generated(1).line("load-server-state-from-file local").line("server-state-file-name {dir}/state/servers");
        let section = if keeps_state { section } else { generated(1) };
        let Some(mut haproxy) = start(section, Mode::Http) else { return };
        let (apps, store) = (Apps::start().await, MemoryStateStore::new());
        let of = |haproxy: &TestHaproxy| builder(haproxy).state_file(keeps_state).build().unwrap();
        pipeline(of(&haproxy), &haproxy, &apps, &store).deploy(release("1.0")).await.unwrap();

        let dying = pipeline(of(&haproxy), &haproxy, &apps, &store);
        let deploy = tokio::spawn(async move { dying.deploy(release("1.1")).await });
        let looking = of(&haproxy);
        while looking.current().await.unwrap() != Some(GREEN) {
            tokio::task::yield_now().await;
        }
        // As a kill would: no step after this one is taken.
        deploy.abort();
        let _ = deploy.await;
        haproxy.kill();
        haproxy.run();

        let tool = pipeline(of(&haproxy), &haproxy, &apps, &store);
        tool.recover().await.unwrap();
        if !keeps_state {
            // What recover goes back to is forgotten, and it starts nothing; that is for restore.
            assert_eq!(looking.current().await.unwrap(), None);
            tool.restore().await.unwrap();
        }
        assert_eq!(looking.current().await.unwrap(), Some(BLUE));
        assert_eq!(get(&haproxy.address(), "shop.test", "/").await.unwrap().body, "blue");
        assert_eq!(tool.status().await.unwrap().observed.drift, []);
        tool.deploy(release("1.2")).await.unwrap();
    }
}
