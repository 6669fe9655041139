use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bluegreen_core::pipeline::{Contract, Strategy};
use bluegreen_core::testing::Fault;
use bluegreen_core::{Effect, ErrorKind, Phase, Slot, When};

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

#[tokio::test(start_paused = true)]
async fn a_contract_that_is_refused_before_it_began_leaves_the_way_back() {
    let world = World::new();
    let builder = || world.builder().migrator(world.migrator(When::BeforeStart)).contract(Contract::AfterBake);
    builder().build().unwrap().deploy(release("1")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::Fail);
    let error = builder().build().unwrap().deploy(release("2")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "held", "{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::Unknown), "{error}");
    assert!(error.to_string().contains("injected fault") && error.to_string().contains("`migrate`"), "{error}");
    assert_eq!(world.live(), Some(Slot::Green), "the release that was confirmed stays");
    assert!(world.state().rollback_safe);
    assert!(world.state().blue.retain_until.is_some(), "kept as after a success");
    world.assert_settled().await;

    world.pipeline().rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_contract_that_was_refused_can_be_run_again() {
    let world = World::new();
    let builder = || world.builder().migrator(world.migrator(When::BeforeStart)).contract(Contract::AfterBake);
    builder().build().unwrap().deploy(release("1")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::Fail);
    builder().build().unwrap().deploy(release("2")).await.unwrap_err();
    builder().build().unwrap().migrate(Phase::Contract).await.unwrap();
    assert!(!world.state().rollback_safe);
    assert_eq!(world.pipeline().rollback().await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_contract_run_on_its_own_that_is_refused_changes_nothing() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::Fail);
    let error = pipeline.migrate(Phase::Contract).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "aborted", "{error}");
    assert_eq!(error.effect(), Effect::NotApplied, "{error}");
    assert!(world.state().rollback_safe);
    world.assert_settled().await;
    pipeline.rollback().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_give_back_what_an_earlier_contract_took() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    for fault in [Fault::ApplyThenFail, Fault::Fail] {
        world.faults.on("migrator.migrate contract", fault);
        let error = pipeline.migrate(Phase::Contract).await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "frozen", "{error}");
        assert!(!world.state().rollback_safe, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_between_a_refusal_and_its_record_leaves_no_way_back_until_it_is_recovered() {
    // The commits after the refusal: that the step failed, that the way back is there, that the operation ended.
    for (nth, safe) in [(0, false), (1, false), (2, true)] {
        let world = World::new();
        let builder = || world.builder().migrator(world.migrator(When::BeforeStart)).contract(Contract::AfterBake);
        builder().build().unwrap().deploy(release("1")).await.unwrap();
        world.faults.on("migrator.migrate contract", Fault::Fail);
        die_at_nth_commit_after(&world, "before migrator.migrate contract", nth);
        assert!(world.faults.run(builder().build().unwrap().deploy(release("2"))).await.is_none());
        assert_eq!(world.state().rollback_safe, safe, "{nth}");

        world.watch_invariants(&world.faults, "me");
        world.migrations.clear();
        builder().build().unwrap().recover().await.unwrap();
        assert_eq!(world.migrations.calls(), ["migrate contract 2"], "{nth}: the deploy is brought to its end");
        assert_eq!(world.live(), Some(Slot::Green), "{nth}");
        assert!(!world.state().rollback_safe);
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_contract_whose_process_died_is_not_run_by_a_recovery() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::Fail);
    die_at_nth_commit_after(&world, "before migrator.migrate contract", 2);
    assert!(world.faults.run(pipeline.migrate(Phase::Contract)).await.is_none());
    world.migrations.clear();
    world.watch_invariants(&world.faults, "me");
    pipeline.recover().await.unwrap();
    assert_eq!(world.migrations.calls(), Vec::<String>::new());
    assert!(world.state().rollback_safe);
    world.assert_settled().await;
}

/// Counts the commits from 0.
fn die_at_nth_commit_after(world: &World, call: &'static str, nth: usize) {
    let (faults, reached, seen) = (world.faults.clone(), AtomicBool::new(false), AtomicUsize::new(0));
    world.faults.witness(move |now| {
        if now.starts_with(call) {
            reached.store(true, Ordering::Relaxed);
            if nth == 0 {
                faults.on("store.commit", Fault::Die);
            }
        } else if now == "after store.commit"
            && reached.load(Ordering::Relaxed)
            && seen.fetch_add(1, Ordering::Relaxed) + 1 == nth
        {
            faults.on("store.commit", Fault::Die);
        }
    });
}
