//! What has all traffic and was never seen to answer at the public address: who asks, and what is said when it does not.

use std::time::Duration;

use bluegreen_core::pipeline::{Outcome, PipelineBuilder, Strategy, TrafficStep, Undecided};
use bluegreen_core::state::SlotStatus;
use bluegreen_core::testing::{Fault, Faults, Faulty, RecordingMigrator, ScriptedGate, ScriptedHealth};
use bluegreen_core::{Effect, Error, ErrorKind, Health, Phase, Slot, Split, Verdict, When};

use crate::world::{World, release, seconds, service};

fn bad_gateway() -> ScriptedHealth {
    ScriptedHealth::new([Health::unhealthy("bad gateway")])
}

/// A pipeline whose public address does not answer.
fn unanswered(world: &World) -> PipelineBuilder {
    let verify = Faulty::new(bad_gateway(), &world.faults).named("public");
    world.builder().verify(verify).verify_deadline(seconds(1)).undo_timeout(Duration::ZERO)
}

/// Version 2 has all traffic in green and could not be confirmed, and the traffic could not be brought back to blue.
async fn stuck() -> World {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.faults.on("router.shift to 100 % blue", Fault::Fail);
    let error = unanswered(&world).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert_eq!(word(&error), "STUCK", "{error}");
    assert_eq!(world.live(), Some(Slot::Green));
    world
}

/// Version 2 has all traffic in green, and was held there before it was confirmed. Version 1 waits in blue.
async fn held_with_all_traffic() -> (World, ScriptedGate) {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "12 more requests".into() }]);
    let error = strict(&world, &gate).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert_eq!(word(&error), "held");
    assert!(error.to_string().contains("was not confirmed at the public address: `promote` does that"), "{error}");
    assert_eq!(world.live(), Some(Slot::Green));
    gate.judge_as([Verdict::Pass { evidence: "0 of 9,999".into() }]);
    (world, gate)
}

fn strict(world: &World, gate: &ScriptedGate) -> PipelineBuilder {
    let strategy = Strategy::canary([TrafficStep::new(100, seconds(10))]).bake(seconds(60));
    world.builder().strategy(strategy.when_undecided(Undecided::Hold)).gate(gate.clone())
}

fn word(error: &Error) -> &'static str {
    error.report().unwrap().outcome.word()
}

#[tokio::test(start_paused = true)]
async fn a_recovery_does_not_accept_unseen_what_an_undo_was_stuck_with() {
    let world = stuck().await;
    let status = world.pipeline().status().await.unwrap();
    assert!(status.to_string().contains("not confirmed at the public address"), "{status}");
    let error = unanswered(&world).build().unwrap().recover().await.unwrap_err();
    assert_eq!((word(&error), error.kind(), error.effect()), ("held", ErrorKind::Unhealthy, Effect::Unknown));
    let text = error.to_string();
    assert!(text.contains("bad gateway") && text.contains("`rollback` goes back"), "{text}");
    assert_eq!(world.live(), Some(Slot::Green), "a recovery that cannot tell moves nothing");
    world.assert_settled().await;

    world.pipeline().rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_recovery_confirms_what_answers_after_all_and_asks_only_once() {
    let world = stuck().await;
    world.faults.log().clear();
    let report = world.pipeline().recover().await.unwrap();
    assert_eq!(report.version.unwrap().as_str(), "2");
    assert_eq!(world.faults.log().calls_of(&["public.check"]).len(), 5);
    assert!(world.state().green.confirmed.is_some());
    world.faults.log().clear();
    world.pipeline().recover().await.unwrap();
    assert!(world.faults.log().calls_of(&["public.check"]).is_empty());
    assert_eq!(world.state().blue.status, SlotStatus::Retained);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_that_died_unconfirmed_is_no_success_until_it_answers() {
    let world = World::new();
    world.faults.on("public.check", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("1"))).await.is_none());
    let error = unanswered(&world).build().unwrap().recover().await.unwrap_err();
    assert_eq!(word(&error), "failed, kept", "{error}");
    world.assert_settled().await;
    // That was told. Who recovers before each deploy can still deploy what mends it.
    let report = unanswered(&world).build().unwrap().recover().await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("was not confirmed at the public address")), "{report}");
    assert!(world.state().blue.confirmed.is_none());
    world.pipeline().promote().await.unwrap();
    assert!(world.state().blue.confirmed.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_recovery_that_goes_back_does_not_need_the_public_address() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.faults.on("router.shift to 100 % green", Fault::ApplyThenDie);
    assert!(world.faults.run(world.pipeline().deploy(release("2"))).await.is_none());
    let report = unanswered(&world).build().unwrap().recover().await.unwrap();
    assert_eq!(report.outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
    world.pipeline().deploy(release("3")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_died_is_brought_to_an_end_even_when_the_public_address_is_down() {
    for (call, fault) in [("public.check", Fault::Die), ("router.shift to 100 % blue", Fault::Die)] {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        world.pipeline().deploy(release("2")).await.unwrap();
        world.faults.on(call, fault);
        assert!(world.faults.run(world.pipeline().rollback()).await.is_none());

        let error = unanswered(&world).build().unwrap().recover().await.unwrap_err();
        assert_eq!(word(&error), "held", "{error}");
        assert!(error.to_string().contains("bad gateway"), "{error}");
        assert_eq!(world.live(), Some(Slot::Blue), "the traffic is where it was asked to go");
        world.assert_settled().await;
        assert!(world.state().blue.confirmed.is_none(), "not a success");
        unanswered(&world).build().unwrap().recover().await.unwrap();
        assert!(world.state().blue.confirmed.is_none(), "told once, and noted from then on");
        world.pipeline().deploy(release("3")).await.unwrap();
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_never_moved_leaves_what_was_confirmed_as_it_is() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.pipeline().deploy(release("2")).await.unwrap();
    world.faults.on("health.check blue", Fault::Die);
    assert!(world.faults.run(world.pipeline().rollback()).await.is_none());
    unanswered(&world).build().unwrap().recover().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
}

#[tokio::test(start_paused = true)]
async fn a_divided_split_is_not_asked_for_one_version() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "more".into() }]);
    let steps = [TrafficStep::new(10, seconds(10)), TrafficStep::new(100, seconds(0))];
    let pipeline = world.builder().strategy(Strategy::canary(steps)).gate(gate).build().unwrap();
    pipeline.deploy(release("2")).await.unwrap_err();
    unanswered(&world).build().unwrap().recover().await.unwrap();
    assert_eq!(world.router.split(), Some(Split::toward(Slot::Green, 10).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_does_not_open_a_way_back_that_a_contract_has_closed() {
    let world = World::new();
    let pipeline = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    pipeline.migrate(Phase::Contract).await.unwrap();
    world.store.edit(&service(), |state| {
        state.green.confirmed = None;
        let undo = "the router is gone".to_owned();
        let stuck = Outcome::Stuck { cause: "no answer".to_owned(), undo, advice: String::new() };
        state.history.last_mut().unwrap().outcome = stuck;
    });
    pipeline.recover().await.unwrap();
    assert!(world.state().green.confirmed.is_some());
    assert!(!world.state().rollback_safe);
}

#[tokio::test(start_paused = true)]
async fn a_hold_with_all_traffic_is_confirmed_and_made_final_by_promote() {
    let (world, gate) = held_with_all_traffic().await;
    world.faults.log().clear();
    let report = strict(&world, &gate).build().unwrap().promote().await.unwrap();
    assert!(world.faults.log().calls_of(&["router.shift", "runtime.start", "runtime.stop"]).is_empty());
    let steps: Vec<_> = report.steps.iter().map(|step| step.step.to_string()).collect();
    assert_eq!(steps, ["observe", "health", "verify", "drain", "bake", "retain"]);
    assert!(world.state().green.confirmed.is_some());
    world.assert_settled().await;

    let error = world.pipeline().promote().await.unwrap_err();
    assert!(error.to_string().contains("`rollback` brings it back"), "there is nothing more to promote: {error}");
    world.pipeline().rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
}

#[tokio::test(start_paused = true)]
async fn a_hold_with_all_traffic_that_does_not_answer_is_rolled_back_by_promote() {
    let (world, _) = held_with_all_traffic().await;
    let error = unanswered(&world).build().unwrap().promote().await.unwrap_err();
    assert_eq!(word(&error), "rolled back", "{error}");
    assert_eq!(world.live(), Some(Slot::Blue));
    assert!(!world.runtime.instance(Slot::Green).is_running());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_hold_with_all_traffic_is_not_gone_back_from_after_a_contract() {
    let (world, _) = held_with_all_traffic().await;
    let migrator = || RecordingMigrator::new(When::BeforeStart, &world.migrations);
    world.builder().migrator(migrator()).build().unwrap().migrate(Phase::Contract).await.unwrap();
    let error = unanswered(&world).build().unwrap().promote().await.unwrap_err();
    assert_eq!(word(&error), "failed, kept", "{error}");
    assert_eq!(world.live(), Some(Slot::Green));
    assert!(!world.state().rollback_safe);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_promotion_of_what_was_held_that_dies_unconfirmed_is_brought_back() {
    let (world, gate) = held_with_all_traffic().await;
    world.faults.on("public.check", Fault::Die);
    let promote = strict(&world, &gate).build().unwrap();
    assert!(world.faults.run(promote.promote()).await.is_none());
    assert_eq!(world.recover().await.unwrap().outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_staged_release_is_promoted_before_an_unconfirmed_one_is_looked_at() {
    let world = World::new();
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "more".into() }]);
    strict(&world, &gate).build().unwrap().deploy(release("1")).await.unwrap_err();
    let pipeline = world.builder_for(&Faults::new(), "me").build().unwrap();
    pipeline.stage(release("2")).await.unwrap();
    pipeline.promote().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}
