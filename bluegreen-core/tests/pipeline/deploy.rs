use std::time::Duration;

use bluegreen_core::pipeline::{Retention, Strategy, TrafficStep};
use bluegreen_core::state::{SlotStatus, Step};
use bluegreen_core::testing::{Fault, Faulty, ScriptedHealth};
use bluegreen_core::{Error, ErrorKind, Health, Instance, Result, Runtime, Slot, Split, Target, When};

use crate::world::{World, release, seconds};

#[tokio::test(start_paused = true)]
async fn a_deploy_does_its_steps_in_the_promised_order() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.faults.log().clear();
    world.migrations.clear();
    let report = pipeline.deploy(release("3")).await.unwrap();

    world.faults.log().assert_order(&[
        "store.commit",
        "router.current",
        "runtime.prepare blue 3",
        "migrator.migrate expand 3",
        "runtime.stop blue",
        "runtime.start blue 3",
        "health.check blue 3",
        "health.check blue 3",
        "health.check blue 3",
        "router.attach blue",
        "health.check green 2",
        "router.shift to 100 % blue",
        "public.check",
        "public.check",
        "public.check",
        "public.check",
        "public.check",
        "router.in_flight green",
        "store.commit",
    ]);
    let steps: Vec<_> = report.steps.iter().map(|step| step.step.to_string()).collect();
    assert_eq!(
        steps,
        [
            "observe",
            "prepare",
            "expand-before-start",
            "stop-occupant",
            "start",
            "health",
            "attach",
            "check-slots-100",
            "shift-100",
            "verify",
            "drain",
            "retain"
        ]
    );
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn every_side_effect_is_in_the_journal_before_it_happens() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    let calls = world.faults.log().calls();
    let acts = ["runtime.prepare", "runtime.start", "runtime.stop", "router.shift", "router.attach"];
    for (index, call) in calls.iter().enumerate() {
        if acts.iter().any(|act| call.starts_with(act)) {
            let asks = ["router.current", "runtime.inspect"];
            let mut earlier =
                calls[..index].iter().rev().skip_while(|call| asks.iter().any(|ask| call.starts_with(ask)));
            assert_eq!(earlier.next().unwrap(), "store.commit", "before {call}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_moves_traffic_in_steps_and_holds_each_for_its_soak() {
    let world = World::new();
    let steps = [(10, 60), (50, 120), (100, 0)].map(|(percent, soak)| TrafficStep::new(percent, seconds(soak)));
    let pipeline = world.builder().strategy(Strategy::canary(steps).bake(seconds(300))).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.log().clear();
    let began = tokio::time::Instant::now();
    let report = pipeline.deploy(release("2")).await.unwrap();
    world.faults.log().assert_order(&[
        "health.check blue 1",
        "router.shift to 90 % blue / 10 % green",
        "health.check blue 1",
        "router.shift to 50 % blue / 50 % green",
        "health.check blue 1",
        "router.shift to 100 % green",
    ]);
    let took = began.elapsed();
    assert!(took >= seconds(60 + 120 + 300) && took < seconds(60 + 120 + 300 + 10), "{took:?}");
    assert!(report.steps.iter().any(|step| step.step.to_string() == "soak-50" && step.duration >= seconds(120)));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_goes_to_100_at_once_because_nobody_shares_the_traffic() {
    let world = World::new();
    let steps = [TrafficStep::new(10, seconds(60)), TrafficStep::new(100, Duration::ZERO)];
    let pipeline = world.builder().strategy(Strategy::canary(steps)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    assert_eq!(world.faults.log().calls_of(&["router.shift"]), ["router.shift to 100 % blue"]);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_deploy_stops_after_stage_when_it_must_not_promote_by_itself() {
    let world = World::new();
    let pipeline = world.builder().strategy(Strategy::blue_green().auto_promote(false)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    assert_eq!(world.router.split(), None);
    assert_eq!(world.state().blue.status, SlotStatus::Staged);
    let report = pipeline.promote().await.unwrap();
    assert_eq!(report.split, Some(Split::all(Slot::Blue)));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_deploy_leaves_the_live_slot_untouched() {
    for call in ["runtime.prepare", "runtime.start", "health.check green 2", "router.attach", "runtime.inspect green"] {
        let world = World::new();
        let pipeline = world.builder().healthy_streak(1).start_deadline(seconds(2)).build().unwrap();
        pipeline.deploy(release("1")).await.unwrap();
        world.faults.log().clear();
        for _ in 0..5 {
            world.faults.on(call, Fault::Fail);
        }
        let error = pipeline.deploy(release("2")).await.unwrap_err();
        assert_eq!(error.effect(), bluegreen_core::Effect::NotApplied, "{call}: {error}");
        assert_eq!(error.report().unwrap().outcome.word(), "aborted", "{call}: {error}");
        world.faults.clear();
        assert!(world.faults.log().calls_of(&["runtime.stop blue", "router.shift"]).is_empty(), "{call}");
        assert_eq!(world.live(), Some(Slot::Blue));
        assert!(!world.runtime.instance(Slot::Green).is_running(), "{call}: what was started is stopped");
        world.recover().await.unwrap();
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_public_address_that_never_shows_the_new_version_rolls_back() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let stale = ScriptedHealth::new([Health::healthy_as(crate::world::version("1"))]);
    let pipeline = world.builder().verify(stale).build().unwrap();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy);
    assert!(error.to_string().contains("answers as 1"), "{error}");
    let report = error.report().unwrap();
    assert_eq!(report.outcome.word(), "rolled back");
    assert!(report.logs.iter().any(|line| line.contains("2 started")), "the failed slot's log is in the report");
    assert_eq!(world.live(), Some(Slot::Blue));
    assert!(!world.runtime.instance(Slot::Green).is_running());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_way_back_is_taken_before_anything_is_asked_of_the_new_slot() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let pipeline = world.builder().verify(ScriptedHealth::new([Health::unhealthy("no")])).build().unwrap();
    world.faults.log().clear();
    pipeline.deploy(release("2")).await.unwrap_err();
    world.faults.log().assert_order(&[
        "router.shift to 100 % green",
        "router.shift to 100 % blue",
        "runtime.logs green",
        "router.in_flight green",
        "runtime.stop green",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_that_fails_after_the_shift_keeps_the_traffic_and_says_so() {
    let world = World::new();
    let pipeline = world.builder().verify(ScriptedHealth::new([Health::unhealthy("no")])).build().unwrap();
    let error = pipeline.deploy(release("1")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "failed, kept", "{error}");
    assert_eq!(world.live(), Some(Slot::Blue));
    assert!(world.runtime.instance(Slot::Blue).is_running());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_that_fails_before_the_shift_stops_what_it_started() {
    let world = World::new();
    world.faults.on("router.attach", Fault::Fail);
    let error = world.pipeline().deploy(release("1")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "aborted");
    assert!(!world.runtime.instance(Slot::Blue).is_running());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_slot_that_dies_during_the_deploy_is_not_sent_traffic_again() {
    let world = World::new();
    let steps = [TrafficStep::new(10, seconds(60)), TrafficStep::new(100, Duration::ZERO)];
    let pipeline = world.builder().strategy(Strategy::canary(steps)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    let runtime = world.runtime.clone();
    world.faults.witness(move |call| {
        if call == "after router.shift to 90 % blue / 10 % green" {
            runtime.crash(Slot::Blue, "exit status 137");
        }
    });
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.report().unwrap().outcome.word(), "held", "{text}");
    assert!(text.contains("the way back is not safe: blue is stopped 1"), "{text}");
    assert!(text.contains("promote"), "says what to do: {text}");
    assert!(world.runtime.instance(Slot::Green).is_running(), "the slot that still answers is left alone");

    let report = world.pipeline().promote().await.unwrap();
    assert_eq!(report.split, Some(Split::all(Slot::Green)));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_turns_unhealthy_in_a_canary_gets_no_more_traffic() {
    let world = World::new();
    let steps = [TrafficStep::new(10, seconds(60)), TrafficStep::new(100, Duration::ZERO)];
    world.pipeline().deploy(release("1")).await.unwrap();
    let pipeline = world.builder().strategy(Strategy::canary(steps)).build().unwrap();
    let faults = world.faults.clone();
    world.faults.witness(move |call| {
        if call == "after router.shift to 90 % blue / 10 % green" {
            for _ in 0..3 {
                faults.on("health.check blue", Fault::Fail);
            }
        }
    });
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "held", "{error}");
    assert_eq!(world.router.split().unwrap().share(Slot::Green), 10, "traffic stays where it is");
    assert!(world.runtime.instance(Slot::Green).is_running());
    pipeline.promote().await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_live_release_that_is_unhealthy_can_be_replaced_where_that_is_allowed() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let unhealthy = |world: &World| {
        for _ in 0..3 {
            world.faults.on("health.check blue", Fault::Fail);
        }
    };
    unhealthy(&world);
    let error = world.pipeline().deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("require_healthy_rollback_target(false)"), "{error}");
    assert_eq!(world.live(), Some(Slot::Blue));

    unhealthy(&world);
    let report =
        world.builder().require_healthy_rollback_target(false).build().unwrap().deploy(release("3")).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("there is no way back")), "{report}");
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_slot_that_does_not_stop_is_no_reason_to_undo_the_deploy() {
    let world = World::new();
    let pipeline = world.builder().retention(Retention::Retire).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.on("runtime.stop blue", Fault::Fail);
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "failed, kept", "{error}");
    assert_eq!(world.live(), Some(Slot::Green), "traffic does not go back to a slot that was told to stop");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_says_that_something_may_have_changed_when_a_warm_release_could_not_be_brought_back() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.faults.on("runtime.start", Fault::Fail);
    world.faults.on("runtime.start", Fault::Fail);
    let error = pipeline.deploy(release("3")).await.unwrap_err();
    assert_eq!(error.effect(), bluegreen_core::Effect::Unknown, "the way back is gone: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_last_write_does_not_turn_success_into_an_error() {
    let world = World::new();
    let calls = {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        world.faults.log().calls().iter().rposition(|call| call == "store.commit").unwrap()
    };
    let faults = world.faults.clone();
    faults.at(calls as u64, Fault::LoseAnswer);
    world.pipeline().deploy(release("1")).await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_outlive_the_drain_are_reported() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    world.router.set_in_flight(Slot::Blue, 3);
    let report = pipeline.deploy(release("2")).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("3 requests still in flight on blue after 30s")), "{report}");
    assert!(world.runtime.instance(Slot::Blue).is_running(), "they can still end");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_does_not_say_what_is_in_flight_is_no_reason_to_undo() {
    for (hangs, waited) in [(1, seconds(5)), (100, seconds(30))] {
        let world = World::new();
        let pipeline = world.pipeline();
        pipeline.deploy(release("1")).await.unwrap();
        for _ in 0..hangs {
            world.faults.on("router.in_flight blue", Fault::Hang);
        }
        let report = pipeline.deploy(release("2")).await.unwrap();
        let drain = report.steps.iter().find(|step| step.step.to_string() == "drain").unwrap();
        assert!(drain.duration >= waited && drain.duration <= waited + seconds(5), "{:?}", drain.duration);
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_slot_is_kept_by_absolute_time_and_retired_when_due() {
    let world = World::new();
    let pipeline = world.builder().retention(Retention::For(seconds(3600))).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    assert!(world.state().blue.retain_until.is_some());

    let report = pipeline.retire().await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("not due")), "{report}");
    assert!(world.runtime.instance(Slot::Blue).is_running());

    tokio::time::advance(seconds(3601)).await;
    pipeline.retire().await.unwrap();
    assert!(!world.runtime.instance(Slot::Blue).is_running());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_old_slot_is_stopped_at_once_where_retention_says_so() {
    let world = World::new();
    let pipeline = world.builder().retention(Retention::Retire).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    assert!(!world.runtime.instance(Slot::Blue).is_running());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_history_says_who_did_what_when_and_how_it_ended() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.on("runtime.prepare", Fault::Fail);
    pipeline.deploy(release("2")).await.unwrap_err();
    let history = pipeline.history().await.unwrap();
    let told: Vec<_> = history.iter().map(|past| (past.by.as_str(), past.outcome.word())).collect();
    assert_eq!(told, [("me", "succeeded"), ("me", "aborted")]);
    assert_eq!(history[1].version.as_ref().unwrap().as_str(), "2");
}

/// A runtime that takes its time, and says so.
#[derive(Debug, Clone)]
struct Slow {
    inner: bluegreen_core::memory::MemoryRuntime,
    limit: Option<Duration>,
    takes: Duration,
}

impl std::fmt::Display for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("slow runtime")
    }
}

#[async_trait::async_trait]
impl Runtime for Slow {
    async fn prepare(&self, target: &Target) -> Result<()> {
        self.inner.prepare(target).await
    }
    async fn start(&self, target: &Target) -> Result<Instance> {
        let limit = self.limit.unwrap_or(Duration::MAX);
        tokio::time::sleep(self.takes.min(limit)).await;
        if self.takes >= limit {
            return Err(Error::new(ErrorKind::Timeout, "api: not yet healthy").retryable(false));
        }
        self.inner.start(target).await
    }
    fn start_timeout(&self) -> Option<Duration> {
        self.limit
    }
    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        self.inner.inspect(slot).await
    }
    async fn stop(&self, slot: Slot, grace: Duration) -> Result<bluegreen_core::Stopped> {
        self.inner.stop(slot, grace).await
    }
    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.inner.logs(slot, tail).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_watches_its_start_itself_has_the_time_that_it_says() {
    let deploy = async |limit: Option<u64>, takes: u64| {
        let world = World::new();
        let slow = Slow { inner: world.runtime.clone(), limit: limit.map(seconds), takes: seconds(takes) };
        let through: std::sync::Arc<dyn Runtime> = std::sync::Arc::new(Faulty::new(slow, &world.faults));
        let pipeline = world.builder().runtime(through).build().unwrap();
        let planned = pipeline.plan(&release("1")).await.unwrap();
        let planned = planned.steps.iter().find(|step| step.step == Step::Start).unwrap().timeout;
        let error = pipeline.deploy(release("1")).await.map_err(|error| error.to_string()).err().unwrap_or_default();
        (planned, error)
    };
    assert_eq!(deploy(Some(300), 200).await, (seconds(360), String::new()));
    let (_, told) = deploy(Some(300), 400).await;
    assert!(told.contains("api: not yet healthy"), "{told}");
    // A shorter one does not shorten the pipeline's, and without one it is the pipeline's alone.
    assert_eq!(deploy(None, 50).await, (seconds(60), String::new()));
    let (planned, told) = deploy(None, 70).await;
    assert!(told.contains("did not end within 60s") && planned == seconds(60), "{told}");
}
