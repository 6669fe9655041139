use bluegreen_core::pipeline::{Strategy, TrafficStep, Undecided};
use bluegreen_core::state::SlotStatus;
use bluegreen_core::testing::{Fault, ScriptedGate};
use bluegreen_core::{ErrorKind, Phase, Slot, Split, Verdict, When};

use crate::world::{World, release, seconds};

async fn two_deploys(world: &World) -> bluegreen_core::Pipeline {
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    pipeline
}

#[tokio::test(start_paused = true)]
async fn a_rollback_moves_traffic_to_the_retained_release_and_can_be_rolled_back() {
    let world = World::new();
    let pipeline = two_deploys(&world).await;
    let report = pipeline.rollback().await.unwrap();
    assert_eq!((report.slot, report.version.as_ref().unwrap().as_str()), (Some(Slot::Blue), "1"));
    assert_eq!(world.live(), Some(Slot::Blue));
    assert_eq!(world.state().green.status, SlotStatus::Retained);
    world.assert_settled().await;
    pipeline.rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_checks_the_retained_slot_before_it_moves_anything() {
    let world = World::new();
    let pipeline = two_deploys(&world).await;
    world.faults.log().clear();
    pipeline.rollback().await.unwrap();
    world.faults.log().assert_order(&[
        "health.check blue 1",
        "health.check blue 1",
        "health.check blue 1",
        "router.shift to 100 % blue",
        "public.check",
    ]);
}

#[tokio::test(start_paused = true)]
async fn a_retained_slot_that_is_dead_and_cannot_be_started_is_not_rolled_back_to() {
    let world = World::new();
    let pipeline = two_deploys(&world).await;
    world.runtime.crash(Slot::Blue, "killed by signal 9");
    world.faults.on("runtime.start blue", Fault::Fail);
    let error = pipeline.rollback().await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.outcome.word(), "aborted");
    assert!(report.to_string().contains("killed by signal 9"), "{report}");
    assert_eq!(world.live(), Some(Slot::Green));
}

#[tokio::test(start_paused = true)]
async fn a_retained_slot_that_is_unhealthy_is_not_rolled_back_to() {
    let world = World::new();
    let pipeline = two_deploys(&world).await;
    for _ in 0..100 {
        world.faults.on("health.check blue", Fault::Fail);
    }
    world.faults.log().clear();
    let error = pipeline.rollback().await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "aborted", "{error}");
    assert!(world.faults.log().calls_of(&["router.shift", "runtime.stop"]).is_empty());
    assert_eq!(world.live(), Some(Slot::Green));
    assert!(world.runtime.instance(Slot::Blue).is_running(), "what is retained is not stopped");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_to_go_back_to_is_said_so() {
    let world = World::new();
    let pipeline = world.pipeline();
    assert_eq!(pipeline.rollback().await.unwrap_err().kind(), ErrorKind::NotFound);
    pipeline.deploy(release("1")).await.unwrap();
    let error = pipeline.rollback().await.unwrap_err();
    assert!(error.to_string().contains("no release is kept there to go back to"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_staged_release_is_not_a_way_back() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.stage(release("2")).await.unwrap();
    let error = pipeline.rollback().await.unwrap_err();
    assert!(error.to_string().contains("`promote`"), "{error}");
    assert_eq!(world.live(), Some(Slot::Blue));
}

#[tokio::test(start_paused = true)]
async fn after_the_contract_phase_rollback_refuses_until_the_next_deploy() {
    let world = World::new();
    let pipeline = two_deploys(&world).await;
    pipeline.migrate(Phase::Contract).await.unwrap();
    let error = pipeline.rollback().await.unwrap_err();
    assert!(error.to_string().contains("the contract phase of the migrations has run"), "{error}");
    assert_eq!(world.live(), Some(Slot::Green));
    pipeline.deploy(release("3")).await.unwrap();
    pipeline.rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
}

#[tokio::test(start_paused = true)]
async fn after_the_contract_phase_a_stopped_slot_is_answered_with_the_way_forward() {
    let world = World::new();
    let pipeline = two_deploys(&world).await;
    pipeline.migrate(Phase::Contract).await.unwrap();
    pipeline.retire_now().await.unwrap();
    let error = pipeline.rollback().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("the contract phase of the migrations has run"), "{error}");
    assert!(error.to_string().contains("roll forward"), "{error}");
    assert!(!error.to_string().contains("under a new name"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_held_canary_can_be_rolled_back_or_promoted() {
    for promote in [false, true] {
        let world = World::new();
        let gate = ScriptedGate::new([Verdict::Undecided { needs: "12 more requests".into() }]);
        let steps = [TrafficStep::new(10, seconds(10)), TrafficStep::new(100, seconds(10))];
        let strategy = Strategy::canary(steps).when_undecided(Undecided::Hold);
        let pipeline = world.builder().strategy(strategy).gate(gate.clone()).build().unwrap();
        // A first deploy is judged too, and held at 100.
        let error = pipeline.deploy(release("1")).await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "held");
        let error = pipeline.deploy(release("2")).await.unwrap_err();
        let report = error.report().unwrap();
        assert_eq!(report.outcome.word(), "held");
        assert!(error.to_string().contains("12 more requests"), "{error}");
        assert_eq!(world.router.split(), Some(Split::toward(Slot::Green, 10).unwrap()), "traffic stays where it is");
        assert!(world.state().lease.is_none());
        assert_eq!(world.state().live, Some(Slot::Blue));

        if promote {
            gate.judge_as([Verdict::Pass { evidence: "0 of 9,999".into() }]);
            world.faults.log().clear();
            pipeline.promote().await.unwrap();
            assert_eq!(world.faults.log().calls_of(&["router.shift"]), ["router.shift to 100 % green"]);
            assert_eq!(world.live(), Some(Slot::Green));
        } else {
            pipeline.rollback().await.unwrap();
            assert_eq!(world.live(), Some(Slot::Blue));
            assert!(!world.runtime.instance(Slot::Green).is_running(), "a canary that was rolled back is stopped");
        }
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_of_a_canary_that_fails_to_move_leaves_the_traffic_as_it_was() {
    let world = World::new();
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "more".into() }]);
    let steps = [TrafficStep::new(10, seconds(10)), TrafficStep::new(100, seconds(0))];
    let pipeline = world.builder().strategy(Strategy::canary(steps)).gate(gate).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap_err();
    world.faults.on("router.shift", Fault::Fail);
    let error = pipeline.rollback().await.unwrap_err();
    assert_eq!(world.router.split(), Some(Split::toward(Slot::Green, 10).unwrap()), "{error}");
    assert!(world.runtime.instance(Slot::Green).is_running());
    pipeline.rollback().await.unwrap();
    world.assert_settled().await;
}
