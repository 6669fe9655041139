//! A state store that cannot be written for a while, or from some write on, while the lease is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bluegreen_core::pipeline::{PipelineBuilder, Strategy, TrafficStep};
use bluegreen_core::state::State;
use bluegreen_core::{Error, ErrorKind, Result, Revision, ServiceName, Slot, StateStore, Versioned};
use tokio::time::Instant;

use crate::world::{World, release, seconds};

/// Refuses all writes from the `first` on, for `lasts`.
#[derive(Debug, Clone)]
struct FullDisk<S> {
    inner: S,
    first: u64,
    lasts: Duration,
    writes: Arc<AtomicU64>,
    full_since: Arc<std::sync::OnceLock<Instant>>,
}

impl<S> FullDisk<S> {
    fn new(inner: S, first: u64, lasts: Duration) -> Self {
        Self { inner, first, lasts, writes: Arc::default(), full_since: Arc::default() }
    }
}

impl<S: StateStore> std::fmt::Display for FullDisk<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a full disk")
    }
}

#[async_trait::async_trait]
impl<S: StateStore> StateStore for FullDisk<S> {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        self.inner.load(service).await
    }

    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        if self.writes.fetch_add(1, Ordering::Relaxed) >= self.first {
            let since = *self.full_since.get_or_init(Instant::now);
            if since.elapsed() < self.lasts {
                return Err(Error::new(ErrorKind::Unexpected, "no space left on device").not_applied());
            }
        }
        self.inner.commit(service, expected, state).await
    }
}

fn canary(world: &World) -> PipelineBuilder {
    let steps = [TrafficStep::new(10, seconds(3)), TrafficStep::new(100, Duration::ZERO)];
    world.builder().strategy(Strategy::canary(steps))
}

/// How many writes a second deploy makes.
async fn writes() -> u64 {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let disk = FullDisk::new(world.store.clone(), u64::MAX, Duration::ZERO);
    canary(&world).store(disk.clone()).build().unwrap().deploy(release("2")).await.unwrap();
    disk.writes.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_for_a_moment_fails_no_deploy() {
    for first in 1..writes().await {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        let disk = FullDisk::new(world.store.clone(), first, seconds(2));
        let result = canary(&world).store(disk).build().unwrap().deploy(release("2")).await;
        assert!(result.is_ok(), "full from write {first} on: {result:?}");
        assert_eq!(world.live(), Some(Slot::Green), "full from write {first} on");
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stays_full_leaves_no_divided_traffic_and_the_next_recovery_settles_it() {
    for first in 1..writes().await {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        let disk = FullDisk::new(world.store.clone(), first, seconds(3600));
        let what = format!("full from write {first} on");
        match canary(&world).store(disk).build().unwrap().deploy(release("2")).await {
            // What is left to write after the success is the end itself.
            Ok(report) => panic!("{what}: {report}"),
            Err(error) => assert!(error.report().is_some(), "{what}: {error}"),
        }
        assert!(world.live().is_some(), "{what}: {:?}", world.router.split());
        assert!(world.runtime.instance(world.live().unwrap()).is_running(), "{what}");
        world.recover().await.unwrap();
        world.assert_settled().await;
    }
}
