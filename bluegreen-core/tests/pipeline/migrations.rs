use bluegreen_core::pipeline::{Contract, Strategy};
use bluegreen_core::testing::Fault;
use bluegreen_core::{ErrorKind, Phase, Slot, When};

use crate::world::{World, release, seconds};

#[tokio::test(start_paused = true)]
async fn expand_runs_before_the_start_or_inside_the_healthy_release() {
    for (when, order) in [
        (When::BeforeStart, ["runtime.prepare", "migrator.migrate expand 1", "runtime.start", "health.check"]),
        (When::AfterStart, ["runtime.start", "health.check", "migrator.migrate expand 1", "router.shift"]),
    ] {
        let world = World::new();
        world.builder().migrator(world.migrator(when)).build().unwrap().deploy(release("1")).await.unwrap();
        world.faults.log().assert_order(&order);
        assert_eq!(world.migrations.calls(), ["migrate expand 1"], "once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_fails_leaves_the_live_slot_untouched() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.on("migrator.migrate", Fault::Fail);
    world.faults.log().clear();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "aborted");
    assert!(world.faults.log().calls_of(&["runtime.start", "runtime.stop", "router.shift"]).is_empty());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn contract_runs_only_when_asked_and_only_after_the_bake() {
    let world = World::new();
    let builder = || world.builder().migrator(world.migrator(When::BeforeStart));
    builder().build().unwrap().deploy(release("1")).await.unwrap();
    assert_eq!(world.migrations.calls(), ["migrate expand 1"]);

    world.faults.log().clear();
    let strategy = Strategy::blue_green().bake(seconds(60));
    let pipeline = builder().strategy(strategy).contract(Contract::AfterBake).build().unwrap();
    let report = pipeline.deploy(release("2")).await.unwrap();
    let steps: Vec<_> = report.steps.iter().map(|step| step.step.to_string()).collect();
    let end = ["verify", "drain", "bake", "contract", "retire"];
    assert_eq!(&steps[steps.len() - 5..], end);
    assert!(!world.state().rollback_safe);
    assert!(!world.runtime.instance(Slot::Blue).is_running(), "the old release cannot live with the data any more");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_contract_that_fails_freezes_and_is_never_rolled_back() {
    let world = World::new();
    let builder = || world.builder().migrator(world.migrator(When::BeforeStart)).contract(Contract::AfterBake);
    builder().build().unwrap().deploy(release("1")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::ApplyThenFail);
    let error = builder().build().unwrap().deploy(release("2")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "frozen", "{error}");
    assert_eq!(world.live(), Some(Slot::Green));
    assert!(!world.state().rollback_safe);
    let error = world.pipeline().rollback().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn no_way_back_is_written_before_the_contract_begins() {
    let world = World::new();
    let builder = || world.builder().migrator(world.migrator(When::BeforeStart));
    builder().build().unwrap().deploy(release("1")).await.unwrap();
    builder().build().unwrap().deploy(release("2")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::Die);
    assert!(world.faults.run(builder().build().unwrap().migrate(Phase::Contract)).await.is_none());
    assert!(!world.state().rollback_safe);
}

#[tokio::test(start_paused = true)]
async fn a_phase_can_be_run_on_its_own() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    assert_eq!(pipeline.migrate(Phase::Expand).await.unwrap_err().kind(), ErrorKind::NotFound);
    pipeline.deploy(release("1")).await.unwrap();
    world.migrations.clear();
    pipeline.migrate(Phase::Expand).await.unwrap();
    pipeline.stage(release("2")).await.unwrap();
    world.migrations.clear();
    pipeline.migrate(Phase::Expand).await.unwrap();
    pipeline.migrate(Phase::Contract).await.unwrap();
    assert_eq!(world.migrations.calls(), ["migrate expand 2", "migrate contract 1"]);
    world.migrations.clear();
    pipeline.migrate_slot(Slot::Blue).await.unwrap();
    pipeline.migrate_slot(Slot::Green).await.unwrap();
    assert_eq!(world.migrations.calls(), ["migrate expand 1", "migrate expand 2"]);
    let error = world.pipeline().migrate(Phase::Expand).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
