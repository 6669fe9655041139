use std::time::Duration;

use bluegreen_core::pipeline::{Contract, Strategy, TrafficStep};
use bluegreen_core::testing::Fault;
use bluegreen_core::{Phase, Slot, When};

use crate::world::{World, release, seconds, service};

async fn die_in(world: &World, call: &str, fault: Fault) {
    let steps = [TrafficStep::new(10, seconds(60)), TrafficStep::new(100, Duration::ZERO)];
    let pipeline = world.builder().strategy(Strategy::canary(steps).bake(seconds(300))).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.on(call, fault);
    assert!(world.faults.run(pipeline.deploy(release("2"))).await.is_none(), "{call} was reached");
}

#[tokio::test(start_paused = true)]
async fn a_death_before_the_shift_stops_what_was_started() {
    let world = World::new();
    die_in(&world, "runtime.start green", Fault::ApplyThenDie).await;
    let report = world.recover().await.unwrap();
    assert_eq!(report.outcome.word(), "aborted");
    assert!(
        report.notes.iter().any(|note| note.contains("found: deploy") && note.contains("in step start")),
        "{report}"
    );
    assert!(!world.runtime.instance(Slot::Green).is_running());
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_with_traffic_divided_brings_the_traffic_back() {
    let world = World::new();
    die_in(&world, "router.shift to 90 % blue", Fault::ApplyThenDie).await;
    let report = world.recover().await.unwrap();
    assert_eq!(report.outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_before_the_public_address_confirmed_brings_the_traffic_back() {
    let world = World::new();
    die_in(&world, "router.shift to 100 % green", Fault::ApplyThenDie).await;
    assert_eq!(world.recover().await.unwrap().outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_death_after_the_confirmation_completes_the_deploy() {
    let world = World::new();
    die_in(&world, "router.in_flight", Fault::Die).await;
    let report = world.recover().await.unwrap();
    assert_eq!(report.outcome.word(), "succeeded");
    assert_eq!(world.live(), Some(Slot::Green));
    assert!(world.runtime.instance(Slot::Blue).is_running(), "the way back is kept");
    world.assert_settled().await;
    world.pipeline().rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
}

#[tokio::test(start_paused = true)]
async fn a_bake_that_was_cut_off_is_held_for_what_is_left_of_it() {
    let world = World::new();
    let pipeline = world.builder().strategy(Strategy::blue_green().bake(seconds(300))).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    let deploy = tokio::spawn(async move { pipeline.deploy(release("2")).await });
    tokio::time::sleep(seconds(100)).await;
    assert_eq!(world.state().operation.unwrap().last().unwrap().step.to_string(), "bake");
    deploy.abort();
    assert!(deploy.await.unwrap_err().is_cancelled());
    let ends = world.state().operation.unwrap().soak_until.unwrap();

    let rescuer = world.builder().strategy(Strategy::blue_green().bake(seconds(300))).build().unwrap();
    rescuer.recover().await.unwrap();
    use bluegreen_core::Clock;
    let over = world.clock.now();
    assert!(over >= ends && over.since(ends) < seconds(5), "{over} against {ends}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_bake_is_not_held_for_longer_because_the_clocks_of_two_machines_differ() {
    let world = World::new();
    let pipeline = world.builder().strategy(Strategy::blue_green().bake(seconds(300))).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    let deploy = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { pipeline.deploy(release("2")).await }
    });
    tokio::time::sleep(seconds(100)).await;
    deploy.abort();
    assert!(deploy.await.unwrap_err().is_cancelled());
    world.store.edit(&service(), |state| {
        let operation = state.operation.as_mut().unwrap();
        operation.soak_until = operation.soak_until.map(|until| until.plus(seconds(24 * 3600)));
    });
    let began = tokio::time::Instant::now();
    pipeline.recover().await.unwrap();
    assert!(began.elapsed() < seconds(300 + 30), "{:?}", began.elapsed());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_whose_process_died_after_the_shift_is_completed() {
    let world = World::new();
    world.faults.on("public.check", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("1"))).await.is_none());
    assert_eq!(world.recover().await.unwrap().outcome.word(), "succeeded");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_old_slot_is_dead_too_the_new_one_takes_all_traffic() {
    let world = World::new();
    die_in(&world, "router.shift to 90 % blue", Fault::ApplyThenDie).await;
    world.runtime.crash(Slot::Blue, "killed by signal 9");
    let quiet = bluegreen_core::testing::Faults::new();
    let report = world.builder_for(&quiet, "rescuer").build().unwrap().recover().await.unwrap();
    assert_eq!(report.outcome.word(), "succeeded", "{report}");
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_contract_that_was_cut_off_is_completed_and_never_gone_back_from() {
    let world = World::new();
    let builder = || world.builder().migrator(world.migrator(When::BeforeStart)).contract(Contract::AfterBake);
    builder().build().unwrap().deploy(release("1")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::Die);
    assert!(world.faults.run(builder().build().unwrap().deploy(release("2"))).await.is_none());
    world.migrations.clear();
    let report = builder().build().unwrap().recover().await.unwrap();
    assert_eq!(report.outcome.word(), "succeeded", "{report}");
    assert_eq!(world.migrations.calls(), ["migrate contract 2"]);
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_whose_process_died_is_completed_or_left_alone() {
    for (call, fault, live) in [
        ("health.check blue", Fault::Die, Slot::Green),
        ("router.shift to 100 % blue", Fault::Die, Slot::Blue),
        ("router.shift to 100 % blue", Fault::ApplyThenDie, Slot::Blue),
        ("public.check", Fault::Die, Slot::Blue),
        ("router.in_flight", Fault::Die, Slot::Blue),
    ] {
        let world = World::new();
        let pipeline = world.pipeline();
        pipeline.deploy(release("1")).await.unwrap();
        pipeline.deploy(release("2")).await.unwrap();
        world.faults.on(call, fault);
        assert!(world.faults.run(pipeline.rollback()).await.is_none());
        world.recover().await.unwrap();
        assert_eq!(world.live(), Some(live), "{call} {fault:?}");
        world.assert_settled().await;
        assert!(world.runtime.instance(live.other()).is_running(), "the other release is still retained");
    }
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_was_cut_off_is_run_again() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.on("migrator.migrate expand", Fault::Die);
    assert!(world.faults.run(pipeline.migrate(Phase::Expand)).await.is_none());
    world.migrations.clear();
    pipeline.recover().await.unwrap();
    assert_eq!(world.migrations.calls(), ["migrate expand 1"]);
    world.assert_settled().await;

    pipeline.stage(release("2")).await.unwrap();
    world.faults.on("migrator.migrate expand", Fault::Die);
    assert!(world.faults.run(pipeline.migrate_slot(Slot::Blue)).await.is_none());
    world.migrations.clear();
    pipeline.recover().await.unwrap();
    assert_eq!(world.migrations.calls(), ["migrate expand 1"], "the slot that it was asked for");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_recovery_that_cannot_look_leaves_the_dead_operation_for_the_next_one() {
    let world = World::new();
    die_in(&world, "router.shift to 90 % blue", Fault::ApplyThenDie).await;
    world.faults.on("router.current", Fault::Fail);
    let error = world.pipeline().recover().await.unwrap_err();
    assert!(error.to_string().contains("injected fault"), "{error}");
    assert!(world.state().operation.is_some() && world.state().lease.is_none());
    assert_eq!(world.recover().await.unwrap().outcome.word(), "rolled back");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_had_failed_is_undone_and_not_completed() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let gate = bluegreen_core::testing::ScriptedGate::new([bluegreen_core::Verdict::Fail { reason: "bad".into() }]);
    let strategy = Strategy::blue_green().bake(seconds(60));
    let pipeline = world.builder().strategy(strategy).gate(gate).build().unwrap();
    world.faults.on("router.shift to 100 % blue", Fault::Die);
    assert!(world.faults.run(pipeline.deploy(release("2"))).await.is_none());
    assert_eq!(world.recover().await.unwrap().outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_cannot_be_completed_any_more_does_not_block_the_service() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.faults.on("router.shift to 100 % blue", Fault::Die);
    assert!(world.faults.run(pipeline.rollback()).await.is_none());
    world.runtime.crash(Slot::Blue, "killed by signal 9");
    world.faults.on("runtime.start blue", Fault::Fail);
    let report = pipeline.recover().await.unwrap();
    assert_eq!(report.outcome.word(), "aborted", "{report}");
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
    pipeline.deploy(release("3")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_nothing_unfinished_recover_changes_nothing() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.log().clear();
    let report = pipeline.recover().await.unwrap();
    assert!(report.notes.contains(&"nothing was unfinished".to_owned()), "{report}");
    let acts = ["runtime.prepare", "runtime.start", "runtime.stop", "router.shift", "router.attach"];
    assert_eq!(world.faults.log().calls_of(&acts), Vec::<String>::new());
    assert_eq!(pipeline.history().await.unwrap().len(), 1, "it leaves no line in the history");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_history_holds_the_dead_operation_and_its_recovery() {
    let world = World::new();
    die_in(&world, "runtime.start green", Fault::Die).await;
    world.recover().await.unwrap();
    let history = world.state().history;
    let last: Vec<_> =
        history[history.len() - 2..].iter().map(|past| (past.kind.to_string(), past.by.as_str())).collect();
    assert_eq!(last, [("deploy".to_owned(), "me"), ("recover".to_owned(), "rescuer")]);
}
