use bluegreen_core::pipeline::{Strategy, TrafficStep};
use bluegreen_core::testing::{Fault, Faulty, ScriptedHealth};
use bluegreen_core::{ErrorKind, Health, Slot};
use tokio::time::Instant;

use crate::world::{World, release, seconds, version};

#[tokio::test(start_paused = true)]
async fn three_healthy_answers_in_a_row_are_needed_and_one_bad_one_starts_over() {
    let world = World::new();
    let good = || Health::healthy_as(version("1"));
    let health = ScriptedHealth::new([good(), good(), Health::unhealthy("503"), good(), good(), good()]);
    let report = world.builder().health(health).build().unwrap().deploy(release("1")).await.unwrap();
    let step = report.steps.iter().find(|step| step.step.to_string() == "health").unwrap();
    assert_eq!(step.detail.as_deref(), Some("3 healthy answers in a row, 6 looks"));
    assert_eq!(step.duration, seconds(5), "one look a second");
}

#[tokio::test(start_paused = true)]
async fn another_version_answering_is_not_healthy() {
    let world = World::new();
    let health = ScriptedHealth::new([Health::healthy_as(version("0.9"))]);
    let error = world.builder().health(health).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert!(error.to_string().contains("it answers as 0.9, and should be 1"), "{error}");
    assert_eq!(world.router.split(), None);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_cannot_tell_the_version_is_enough_for_health() {
    let world = World::new();
    world
        .builder()
        .health(ScriptedHealth::new([Health::healthy()]))
        .build()
        .unwrap()
        .deploy(release("1"))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_the_error_carries_the_last_reasons_and_log_lines() {
    let world = World::new();
    let runtime = world.runtime.clone();
    let health = ScriptedHealth::new([Health::unhealthy("connection refused"), Health::unhealthy("status 503")]);
    world.faults.witness(move |call| {
        if call == "after runtime.start blue 1" {
            runtime.log(Slot::Blue, "cannot reach the database");
        }
    });
    let began = Instant::now();
    let error = world.builder().health(health).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(began.elapsed() >= seconds(59) && began.elapsed() <= seconds(62), "{:?}", began.elapsed());
    let text = error.to_string();
    for part in ["not healthy within 60s", "status 503", "connection refused", "cannot reach the database"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(error.report().unwrap().logs.contains(&"cannot reach the database".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_while_it_is_waited_for_fails_at_once() {
    let world = World::new();
    let runtime = world.runtime.clone();
    world.faults.witness(move |call| {
        if call == "after health.check blue 1" {
            runtime.crash(Slot::Blue, "exit status 1");
        }
    });
    let began = Instant::now();
    let health = ScriptedHealth::new([Health::unhealthy("starting")]);
    let faulty = bluegreen_core::testing::Faulty::new(health, &world.faults);
    let error = world.builder().health(faulty).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert!(began.elapsed() <= seconds(2), "{:?}", began.elapsed());
    assert!(error.to_string().contains("exit status 1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_is_cut_off_by_its_own_timeout() {
    let world = World::new();
    world.faults.on("health.check", Fault::Hang);
    let report = world.pipeline().deploy(release("1")).await.unwrap();
    let step = report.steps.iter().find(|step| step.step.to_string() == "health").unwrap();
    assert_eq!(step.duration, seconds(5 + 1 + 2));
}

#[tokio::test(start_paused = true)]
async fn a_smoke_test_that_fails_names_itself_and_is_not_tried_again() {
    let world = World::new();
    let smoke = ScriptedHealth::new([Health::unhealthy("login: status 500"), Health::healthy()]);
    let error = world.builder().smoke(smoke).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert!(error.to_string().contains("login: status 500"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "aborted");
    assert_eq!(world.router.split(), None);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_dies_in_its_smoke_test_gets_no_traffic() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let runtime = world.runtime.clone();
    world.faults.witness(move |call| {
        if call.starts_with("after smoke.check") {
            runtime.crash(Slot::Green, "segmentation fault");
        }
    });
    let smoke = Faulty::new(ScriptedHealth::new([Health::healthy()]), &world.faults).named("smoke");
    world.faults.log().clear();
    let error = world.builder().smoke(smoke).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("segmentation fault"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "aborted");
    assert!(world.faults.log().calls_of(&["router.attach", "router.shift"]).is_empty());
    assert_eq!(world.live(), Some(Slot::Blue));
}

/// Healthy three times, and then never again.
fn unhealthy_after_its_start() -> ScriptedHealth {
    let good = || Health::healthy_as(version("2"));
    ScriptedHealth::new([good(), good(), good(), Health::unhealthy("status 503")])
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_not_healthy_any_more_when_its_traffic_is_to_move_gets_none() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.faults.log().clear();
    let pipeline = world.builder().health(OnlyGreen(unhealthy_after_its_start())).build().unwrap();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("check-slots-100: it is not healthy any more"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "aborted");
    assert!(world.faults.log().calls_of(&["router.shift"]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_not_healthy_under_traffic_fails_its_soak_and_loses_it() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let good = || Health::healthy_as(version("2"));
    let bad = || Health::unhealthy("status 503");
    // Its start, and the check before its traffic; one bad look in the soak is forgiven, three in a row are not.
    let script = [good(), good(), good(), good(), bad(), good(), bad(), bad(), bad()];
    let steps = [TrafficStep::new(10, seconds(60)), TrafficStep::new(100, seconds(0))];
    let pipeline = world
        .builder()
        .health(OnlyGreen(ScriptedHealth::new(script)))
        .strategy(Strategy::canary(steps))
        .build()
        .unwrap();
    let began = Instant::now();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("soak-10: green is not healthy under traffic: status 503"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back");
    assert!(began.elapsed() < seconds(20), "{:?}", began.elapsed());
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

/// A script for the green slot; blue is always well.
#[derive(Debug)]
struct OnlyGreen(ScriptedHealth);

impl std::fmt::Display for OnlyGreen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("health check")
    }
}

#[async_trait::async_trait]
impl bluegreen_core::HealthCheck for OnlyGreen {
    async fn check(
        &self,
        target: &bluegreen_core::Target,
        instance: &bluegreen_core::Instance,
    ) -> bluegreen_core::Result<Health> {
        match target.slot {
            Slot::Blue => Ok(Health::healthy()),
            Slot::Green => self.0.check(target, instance).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_wrong_last_is_named_first_with_how_often_it_was_seen() {
    let world = World::new();
    let refused = || Health::unhealthy("connection refused");
    let health = ScriptedHealth::new([refused(), refused(), Health::unhealthy("status 503")]);
    let error = world.builder().health(health).build().unwrap().deploy(release("1")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("status 503 (59 times); before that: connection refused (2 times)"), "{text}");
}
