use bluegreen_core::testing::{Fault, ScriptedHealth};
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
