//! How long ago the last deploy was, and what counts as one.

use std::time::Duration;

use bluegreen_core::pipeline::{Retention, Strategy};
use bluegreen_core::testing::Fault;
use bluegreen_core::{Pipeline, ServiceName, StateStore};
use tokio::time::sleep;

use crate::world::{World, release, seconds};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn days_and_version(pipeline: &Pipeline) -> Option<(u64, String)> {
    let since = pipeline.since_last_deploy().await.unwrap()?;
    let last = pipeline.last_deploy().await.unwrap().unwrap();
    Some((since.as_secs() / DAY.as_secs(), last.version.to_string()))
}

#[tokio::test(start_paused = true)]
async fn the_time_since_the_last_deploy_is_that_of_the_last_release_that_succeeded() {
    let world = World::new();
    let pipeline = world.builder().lease_ttl(seconds(3000)).build().unwrap();
    assert_eq!(pipeline.since_last_deploy().await.unwrap(), None, "there was none");
    pipeline.deploy(release("1")).await.unwrap();
    sleep(DAY).await;
    pipeline.deploy(release("2")).await.unwrap();
    sleep(DAY * 3).await;
    let second = Some((3, "2".to_owned()));
    assert_eq!(days_and_version(&pipeline).await, second);

    // None of these brings a new release live.
    world.faults.on("public.check", Fault::Fail);
    world.faults.on("runtime.start", Fault::Fail);
    pipeline.deploy(release("3")).await.unwrap_err();
    pipeline.deploy(release("2")).await.unwrap_err();
    pipeline.rollback().await.unwrap();
    pipeline.rollback().await.unwrap();
    pipeline.stage(release("4")).await.unwrap();
    pipeline.retire_now().await.unwrap();
    let only_stages = world.builder().strategy(Strategy::blue_green().auto_promote(false)).build().unwrap();
    only_stages.deploy(release("5")).await.unwrap();
    assert_eq!(days_and_version(&pipeline).await, second);

    pipeline.promote().await.unwrap();
    assert_eq!(days_and_version(&pipeline).await, Some((0, "5".to_owned())));
    assert_eq!(pipeline.last_deploy().await.unwrap().unwrap().by, "me");
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_a_recovery_completed_counts_and_the_length_of_the_history_does_not() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    sleep(DAY).await;
    let pipeline = world.builder().retention(Retention::Retire).build().unwrap();
    world.faults.on("runtime.stop blue", Fault::Die);
    assert!(world.faults.run(pipeline.deploy(release("2"))).await.is_none());
    assert_eq!(days_and_version(&pipeline).await, Some((1, "1".to_owned())), "it is not at its end");
    world.recover().await.unwrap();
    sleep(DAY * 2).await;
    for _ in 0..60 {
        pipeline.retire().await.unwrap();
    }
    assert!(pipeline.history().await.unwrap().iter().all(|past| past.version.is_none()), "it is out of the history");
    assert_eq!(days_and_version(&pipeline).await, Some((2, "2".to_owned())));
    // A document of an older version has its history only.
    let service = ServiceName::new("shop").unwrap();
    let found = world.store.load(&service).await.unwrap().unwrap();
    let mut older = found.value.clone();
    older.deployed = None;
    world.store.commit(&service, Some(&found.revision), &older).await.unwrap();
    assert_eq!(days_and_version(&pipeline).await, None);
    pipeline.deploy(release("3")).await.unwrap();
    let found = world.store.load(&service).await.unwrap().unwrap();
    let mut older = found.value.clone();
    older.deployed = None;
    world.store.commit(&service, Some(&found.revision), &older).await.unwrap();
    assert_eq!(days_and_version(&pipeline).await, Some((0, "3".to_owned())));
}
