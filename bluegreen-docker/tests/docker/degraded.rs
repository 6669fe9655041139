//! What is said and done of a slot of which only a part runs, and of one that does not come up in time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bluegreen_core::event::EventKind;
use bluegreen_core::memory::{MemoryRouter, MemoryStateStore};
use bluegreen_core::pipeline::{PipelineBuilder, Strategy};
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::{Event, Health, Instance, Pipeline, Release, Runtime, Secret, Slot, observer};
use bluegreen_docker::ComposeRuntime;

use crate::support::{Shop, WAITS, docker, docker_ok, grace, needs_docker};

fn shop() -> Shop {
    let shop = Shop::new(
        "services: {api: {image: 'IMAGES/app:${VERSION}'}, worker: {image: 'IMAGES/app:${VERSION}'}, \
         setup: {image: 'IMAGES/app:${VERSION}', restart: 'no'}}",
    );
    for version in ["1.0", "1.1"] {
        shop.publish(&format!("app:{version}"), &format!("{WAITS} # {version}"));
    }
    shop
}

fn runtime(shop: &Shop) -> ComposeRuntime {
    shop.builder().endpoint("http", "api", 3000).build().unwrap()
}

/// A pipeline whose checks see nothing amiss, so that only the runtime can.
fn builder(
    shop: &Shop,
    version: &str,
    runtime: &ComposeRuntime,
    router: &MemoryRouter,
    store: &MemoryStateStore,
) -> PipelineBuilder {
    let well = ScriptedHealth::new([Health::healthy_as(version.parse().unwrap())]);
    Pipeline::builder(&shop.name)
        .runtime(runtime.clone())
        .router(router.clone())
        .store(store.clone())
        .health(ScriptedHealth::new([Health::healthy()]))
        .verify(well)
        .check_interval(Duration::from_millis(100))
        .stop_grace(grace())
        .drain(Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_which_a_part_is_down_is_degraded_and_says_what_is_down() {
    needs_docker!();
    let (shop, slot) = (shop(), Slot::Green);
    let runtime = runtime(&shop);
    runtime.prepare(&shop.version(slot, "1.0")).await.unwrap();
    runtime.start(&shop.version(slot, "1.0")).await.unwrap();
    // One that has done its work and is no endpoint is none that is missing.
    docker_ok(&["stop", "-t", "5", &shop.container(slot, "setup")]);
    let inspected = async || runtime.inspect(slot).await.unwrap();
    assert!(matches!(inspected().await, Instance::Running { .. }), "{}", inspected().await);

    let api = shop.container(slot, "api");
    docker_ok(&["kill", &api]);
    let found = inspected().await;
    assert!(found.is_running() && found.endpoints().is_empty(), "{found:?}");
    assert_eq!(found.to_string(), "degraded 1.0 (api: exit status 137 (killed))");
    docker_ok(&["rm", &api]);
    assert_eq!(inspected().await.to_string(), "degraded 1.0 (api: no container)");
    // The next start makes it whole.
    runtime.start(&shop.version(slot, "1.0")).await.unwrap();
    docker_ok(&["kill", &shop.container(slot, "worker")]);
    assert_eq!(inspected().await.to_string(), "degraded 1.0 (worker: exit status 137 (killed))");
    assert_eq!(inspected().await.endpoints().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_api_dies_during_the_bake_is_rolled_back_although_its_worker_lives() {
    needs_docker!();
    let shop = Arc::new(shop());
    let (runtime, router, store) = (runtime(&shop), MemoryRouter::new(), MemoryStateStore::new());
    builder(&shop, "1.0", &runtime, &router, &store)
        .build()
        .unwrap()
        .deploy(Release::new("1.0").unwrap())
        .await
        .unwrap();
    let killed = Mutex::new(false);
    let seen = Arc::clone(&shop);
    let kill = observer::from_fn(move |event: &Event| {
        if matches!(event.what, EventKind::Soaking { .. }) && !std::mem::replace(&mut *killed.lock().unwrap(), true) {
            docker_ok(&["kill", &seen.container(Slot::Green, "api")]);
        }
    });
    let strategy = Strategy::blue_green().bake(Duration::from_secs(20));
    let pipeline = builder(&shop, "1.1", &runtime, &router, &store).strategy(strategy).observer(kill).build().unwrap();
    let error = pipeline.deploy(Release::new("1.1").unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("degraded 1.1 (api: exit status 137 (killed))"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back", "{error}");
    assert_eq!(router.split().unwrap().sole(), Some(Slot::Blue));

    docker_ok(&["kill", &shop.container(Slot::Blue, "api")]);
    let status = pipeline.status().await.unwrap().to_string();
    assert!(status.contains("blue gets traffic and is degraded 1.0 (api: "), "{status}");
}

/// A service whose worker the engine restarts, and has a healthcheck.
fn shop_with_a_worker() -> Shop {
    let shop = Shop::new(
        "
services:
  api: {image: 'IMAGES/app:${VERSION}'}
  worker:
    image: IMAGES/app:${VERSION}
    restart: always
    healthcheck: {test: [CMD-SHELL, 'test ! -e /tmp/unhealthy || { echo no $TOKEN; false; }'], interval: 1s, retries: 1}
    environment: {TOKEN: '${TOKEN}'}
",
    );
    for version in ["1.0", "1.1"] {
        shop.publish(&format!("app:{version}"), &format!("{WAITS} # {version}"));
    }
    shop
}

fn runtime_with_a_worker(shop: &Shop) -> ComposeRuntime {
    shop.builder().env("TOKEN", Secret::new("hunter2")).endpoint("http", "api", 3000).build().unwrap()
}

/// Ends the worker from within, and waits until the engine has brought it up again.
fn restarts_by_itself(shop: &Shop, slot: Slot) {
    let worker = shop.container(slot, "worker");
    // It may be ended together with the container.
    docker(&["exec", &worker, "kill", "1"]);
    waits_for(&worker, "{{.RestartCount}} {{.State.Status}} {{.State.Restarting}}", "1 running false");
}

fn waits_for(container: &str, format: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while docker_ok(&["inspect", "--format", format, container]) != expected {
        assert!(Instant::now() < deadline, "{container} is not {expected}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_with_a_container_that_the_engine_restarted_or_that_is_unhealthy_is_degraded() {
    needs_docker!();
    let (shop, slot) = (shop_with_a_worker(), Slot::Green);
    let runtime = runtime_with_a_worker(&shop);
    runtime.prepare(&shop.version(slot, "1.0")).await.unwrap();
    runtime.start(&shop.version(slot, "1.0")).await.unwrap();
    let inspected = async || runtime.inspect(slot).await.unwrap();
    assert!(!inspected().await.is_degraded(), "{}", inspected().await);

    restarts_by_itself(&shop, slot);
    let found = inspected().await.to_string();
    assert!(found.starts_with("degraded 1.0 (worker: was restarted by the engine "), "{found}");
    // What a person does is none of that.
    let worker = shop.container(slot, "worker");
    docker_ok(&["restart", "-t", "5", &worker]);
    assert!(!inspected().await.is_degraded(), "{}", inspected().await);

    docker_ok(&["exec", &worker, "touch", "/tmp/unhealthy"]);
    waits_for(&worker, "{{.State.Health.Status}}", "unhealthy");
    assert_eq!(inspected().await.to_string(), "degraded 1.0 (worker: its healthcheck fails: no ***)");
    assert_eq!(inspected().await.endpoints().len(), 1, "the api is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_worker_dies_during_the_bake_is_rolled_back_although_the_engine_restarts_it() {
    needs_docker!();
    let shop = Arc::new(shop_with_a_worker());
    let (runtime, router, store) = (runtime_with_a_worker(&shop), MemoryRouter::new(), MemoryStateStore::new());
    let first = builder(&shop, "1.0", &runtime, &router, &store).build().unwrap();
    first.deploy(Release::new("1.0").unwrap()).await.unwrap();
    let (seen, died) = (Arc::clone(&shop), Mutex::new(false));
    let kill = observer::from_fn(move |event: &Event| {
        if matches!(event.what, EventKind::Soaking { .. }) && !std::mem::replace(&mut *died.lock().unwrap(), true) {
            restarts_by_itself(&seen, Slot::Green);
        }
    });
    let strategy = Strategy::blue_green().bake(Duration::from_secs(20));
    let pipeline = builder(&shop, "1.1", &runtime, &router, &store).strategy(strategy).observer(kill).build().unwrap();
    let error = pipeline.deploy(Release::new("1.1").unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("degraded 1.1 (worker: was restarted by the engine "), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back", "{error}");
    assert_eq!(router.split().unwrap().sole(), Some(Slot::Blue));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_with_a_shorter_deadline_still_tells_what_was_not_ready() {
    needs_docker!();
    let shop = Shop::new(
        "services: {api: {image: 'IMAGES/app:${VERSION}', healthcheck: {test: ['CMD', 'false'], interval: 60s}}}",
    );
    shop.publish("app:1.0", WAITS);
    let runtime = shop.builder().start_deadline(Duration::from_secs(20)).build().unwrap();
    let builder = builder(&shop, "1.0", &runtime, &MemoryRouter::new(), &MemoryStateStore::new());
    let pipeline = builder.start_deadline(Duration::from_secs(2)).build().unwrap();
    let error = pipeline.deploy(Release::new("1.0").unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("api: not yet healthy") && error.contains("release begins"), "{error}");
}
