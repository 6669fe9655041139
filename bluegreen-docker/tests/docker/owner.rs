//! Two services whose projects were given one name.

use bluegreen_core::memory::{MemoryRouter, MemoryStateStore};
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::{
    Effect, ErrorKind, Health, Instance, LocalHost, Migrator, Phase, Pipeline, Reason, Release, Result, Runtime, Slot,
    When,
};
use bluegreen_docker::{ComposeMigrator, ComposeRuntime};

use crate::support::{Shop, WAITS, grace, needs_docker, unique};

/// A service that runs in these slots.
async fn shop_in(slots: &[Slot]) -> Shop {
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}}");
    shop.publish("app:1.0", WAITS);
    for slot in slots {
        shop.runtime().prepare(&shop.version(*slot, "1.0")).await.unwrap();
        shop.runtime().start(&shop.version(*slot, "1.0")).await.unwrap();
    }
    shop
}

/// Another one, from the same file, whose projects have the same names.
fn other(shop: &Shop) -> ComposeRuntime {
    let file = shop.path("compose.yaml");
    ComposeRuntime::builder("other", file.to_str().unwrap()).project(&shop.name).build().unwrap()
}

fn is_refused<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{what}: {error:?}");
    assert!(error.to_string().contains("`.project(..)`"), "{what}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_of_another_service_is_not_touched() {
    needs_docker!();
    let shop = shop_in(&[Slot::Green]).await;
    let (other, before) = (other(&shop), shop.running(Slot::Green));
    let mut target = shop.version(Slot::Green, "1.0");
    target.service = "other".parse().unwrap();
    other.prepare(&target).await.unwrap();
    is_refused(other.start(&target).await, "start");
    is_refused(other.stop(Slot::Green, grace()).await, "stop");
    is_refused(other.inspect(Slot::Green).await, "inspect");
    is_refused(other.logs(Slot::Green, 10).await, "logs");
    for when in [When::AfterStart, When::BeforeStart] {
        let migrator = ComposeMigrator::builder(&other, "api").when(when);
        let migrator = migrator.expand(["true"]).build().unwrap();
        is_refused(migrator.migrate(Phase::Expand, &target).await, "migrate");
    }
    assert_eq!(shop.running(Slot::Green), before);
    // Its other slot has nothing of anybody's.
    assert_eq!(other.inspect(Slot::Blue).await.unwrap(), Instance::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_of_another_service_is_neither_read_nor_written() {
    needs_docker!();
    let shop = shop_in(&[]).await;
    let (own, file) = (shop.path("state"), shop.path("compose.yaml"));
    let directory = own.to_str().unwrap();
    let runtime = shop.builder().state_directory(directory).build().unwrap();
    let target = shop.version(Slot::Green, "1.0");
    // As an earlier version left it: without a mark.
    std::fs::create_dir(&own).unwrap();
    runtime.preview(&target).await.unwrap();
    runtime.prepare(&target).await.unwrap();
    let kept = || {
        let files = std::fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<std::collections::BTreeMap<_, _>>()
    };
    let (before, name) = (kept(), unique("other"));
    let elsewhere = shop.path("elsewhere");
    let builder = || ComposeRuntime::builder(&name, file.to_str().unwrap());
    let other = builder().state_directory(directory).build().unwrap();
    let records = builder().state_directory(elsewhere.to_str().unwrap());
    let records = records.records_on(LocalHost::new(), directory).build().unwrap();
    let mut theirs = target.clone();
    theirs.service = name.parse().unwrap();
    for other in [other, records] {
        for refused in [
            other.preview(&theirs).await.map(drop),
            other.prepare(&theirs).await,
            other.start(&theirs).await.map(drop),
            other.stop(Slot::Green, grace()).await.map(drop),
            other.logs(Slot::Green, 1).await.map(drop),
            other.prune(1).await.map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::OtherService), "{error:?}");
            assert!(error.to_string().contains("`.state_directory(..)`"), "{error}");
        }
    }
    assert_eq!(kept(), before);
    runtime.start(&target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_deploy_of_a_service_does_not_stop_another_one_whose_projects_have_its_name() {
    needs_docker!();
    let shop = shop_in(&Slot::BOTH).await;
    let before = Slot::BOTH.map(|slot| shop.running(slot));
    let pipeline = Pipeline::builder("other")
        .runtime(other(&shop))
        .router(MemoryRouter::new())
        .store(MemoryStateStore::new())
        .health(ScriptedHealth::new([Health::healthy()]))
        .verify(ScriptedHealth::new([Health::healthy_as("1.0".parse().unwrap())]))
        .stop_grace(grace())
        .build()
        .unwrap();
    let refused = pipeline.deploy(Release::new("1.0").unwrap()).await.unwrap_err();
    assert!(refused.chain().contains(&format!("belongs to the service {}", shop.name)), "{}", refused.chain());
    let retired = pipeline.retire_now().await.unwrap_err();
    assert!(retired.chain().contains(&format!("belongs to the service {}", shop.name)), "{}", retired.chain());
    assert_eq!(Slot::BOTH.map(|slot| shop.running(slot)), before);
}
