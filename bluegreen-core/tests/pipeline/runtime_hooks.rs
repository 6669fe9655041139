//! What a runtime is told beside what it is asked for, and what it says of its stops.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::memory::MemoryRuntime;
use bluegreen_core::state::Step;
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::{
    Error, ErrorKind, Health, Instance, LocalHost, Preview, Result, Runtime, Slot, Stopped, Target, changed_file,
};
use futures::future::BoxFuture;

use crate::world::{World, release, seconds};

/// Longer than a pipeline waits by itself.
const LONG: Duration = Duration::from_secs(600);

/// A runtime whose releases have a scheduler that runs once, and take their time to end.
#[derive(Debug, Clone, Default)]
struct Scheduling {
    inner: MemoryRuntime,
    /// Where the scheduler runs.
    scheduler: Arc<Mutex<Option<Slot>>>,
    refuses: Arc<Mutex<Option<Slot>>>,
    takes: Duration,
    /// What it says of a release that ends while its health is waited for.
    ended: Option<&'static str>,
    /// What a person has changed of what was written for the slots.
    changed: Arc<Mutex<Option<&'static str>>>,
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scheduling runtime")
    }
}

#[async_trait::async_trait]
impl Runtime for Scheduling {
    async fn preview_slot(&self, _: Slot) -> Result<Preview> {
        match *self.changed.lock().unwrap() {
            Some(line) => Err(changed_file("environment", "/srv/shop/env", &LocalHost::new(), [line.to_owned()])),
            None => Ok(Preview::default().note("all as it was")),
        }
    }
    async fn prepare(&self, target: &Target) -> Result<()> {
        self.inner.prepare(target).await
    }
    async fn start(&self, target: &Target) -> Result<Instance> {
        self.inner.start(target).await
    }
    async fn supervise(&self, _: &Target, healthy: BoxFuture<'_, Result<()>>) -> Result<()> {
        match self.ended {
            Some(ended) => tokio::select! {
                done = healthy => done,
                () = tokio::time::sleep(seconds(2)) => Err(Error::new(ErrorKind::Unhealthy, ended)),
            },
            None => healthy.await,
        }
    }
    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        self.inner.inspect(slot).await
    }
    async fn stop_grace(&self, _: Slot, grace: Duration) -> Result<Duration> {
        Ok(grace.max(self.takes))
    }
    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        tokio::time::sleep(self.takes.min(grace)).await;
        self.inner.stop(slot, grace).await?;
        Ok(Stopped::default().killing("worker").with_hint("set `init: true`"))
    }
    async fn promoted(&self, live: Slot) -> Result<()> {
        if *self.refuses.lock().unwrap() == Some(live) {
            return Err(Error::new(ErrorKind::Unexpected, "the scheduler does not start"));
        }
        *self.scheduler.lock().unwrap() = Some(live);
        Ok(())
    }
    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.inner.logs(slot, tail).await
    }
}

impl Scheduling {
    fn of(world: &World) -> Self {
        Self { inner: world.runtime.clone(), ..Self::default() }
    }

    fn runs_in(&self) -> Option<Slot> {
        *self.scheduler.lock().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_runtime_is_told_which_slot_is_live_after_each_shift_and_each_way_back() {
    let world = World::new();
    let runtime = Scheduling::of(&world);
    let pipeline = world.builder().runtime(runtime.clone()).build().unwrap();
    pipeline.stage(release("1")).await.unwrap();
    assert_eq!(runtime.runs_in(), None, "a staged release is not live");
    pipeline.promote().await.unwrap();
    assert_eq!(runtime.runs_in(), Some(Slot::Blue));
    pipeline.deploy(release("2")).await.unwrap();
    assert_eq!(runtime.runs_in(), Some(Slot::Green));
    pipeline.rollback().await.unwrap();
    assert_eq!(runtime.runs_in(), Some(Slot::Blue));

    let unanswered = ScriptedHealth::new([Health::unhealthy("bad gateway")]);
    let failing = world.builder().runtime(runtime.clone()).verify(unanswered).verify_deadline(seconds(1));
    failing.build().unwrap().deploy(release("3")).await.unwrap_err();
    assert_eq!(runtime.runs_in(), Some(Slot::Blue), "the undo tells too");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_whose_live_only_part_does_not_start_is_rolled_back_with_its_traffic() {
    let world = World::new();
    let runtime = Scheduling::of(&world);
    let pipeline = world.builder().runtime(runtime.clone()).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    *runtime.refuses.lock().unwrap() = Some(Slot::Green);
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("the scheduler does not start"), "{error}");
    assert_eq!(runtime.runs_in(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_asks_for_a_longer_grace_has_it_and_what_was_killed_is_in_the_report() {
    let world = World::new();
    let runtime = Scheduling { takes: LONG, ..Scheduling::of(&world) };
    let pipeline = world.builder().runtime(runtime).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    let report = pipeline.retire_now().await.unwrap();
    let retire = report.steps.iter().find(|step| step.step == Step::Retire).unwrap();
    assert!(retire.duration >= LONG, "{report}");
    for told in [retire.detail.clone().unwrap(), report.notes.join("\n")] {
        assert!(told.contains("worker") && told.contains("by force") && told.contains("init: true"), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_its_runtime_has_seen_end_is_not_waited_for() {
    let world = World::new();
    let runtime = Scheduling { ended: Some("worker: exit status 3"), ..Scheduling::of(&world) };
    let health = ScriptedHealth::new([Health::unhealthy("the queue has no worker")]);
    let pipeline = world.builder().runtime(runtime).health(health).start_deadline(LONG).build().unwrap();
    let began = tokio::time::Instant::now();
    let error = pipeline.deploy(release("1")).await.unwrap_err();
    assert!(began.elapsed() < LONG, "it was waited for");
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    assert!(error.chain().contains("worker: exit status 3"), "{}", error.chain());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_tells_what_others_have_changed_of_what_the_runtime_wrote() {
    let world = World::new();
    let runtime = Scheduling::of(&world);
    let pipeline = world.builder().runtime(runtime.clone()).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    assert_eq!(pipeline.status().await.unwrap().notes, ["all as it was"]);
    *runtime.changed.lock().unwrap() = Some("+DEBUG");
    let status = pipeline.status().await.unwrap().to_string();
    assert!(status.contains("the next deploy is refused") && status.contains("+DEBUG"), "{status}");
}
