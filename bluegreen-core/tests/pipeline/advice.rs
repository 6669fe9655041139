//! What an error says to do is done here, and works.

use std::time::Duration;

use bluegreen_core::pipeline::{PipelineBuilder, Strategy, TrafficStep};
use bluegreen_core::testing::{Fault, Faults, ScriptedGate, ScriptedHealth};
use bluegreen_core::{Error, Health, Phase, Reason, Release, Slot, Split, Verdict, When};

use crate::world::{World, release, seconds};

/// The hint of an error, which must speak of all of `says` and of nothing of `not`.
#[track_caller]
fn assert_hint(error: &Error, says: &[&str], not: &[&str]) {
    let hint = error.hint().unwrap_or_default();
    for part in says {
        assert!(hint.contains(part), "{part} is missing: {error}");
    }
    for part in not {
        assert!(!hint.contains(part), "{part} would not work: {error}");
    }
}

fn with_migrator(world: &World) -> PipelineBuilder {
    world.builder().migrator(world.migrator(When::BeforeStart))
}

/// 1 is retained in blue, and 2 is live in green.
async fn two_releases() -> World {
    let world = World::new();
    for version in ["1", "2"] {
        with_migrator(&world).build().unwrap().deploy(release(version)).await.unwrap();
    }
    // The invariants do not hold while slots are down.
    world.faults.witness(|_| {});
    world
}

/// The same, and the contract phase of 2 has run.
async fn contracted() -> World {
    let world = two_releases().await;
    with_migrator(&world).build().unwrap().migrate(Phase::Contract).await.unwrap();
    world
}

/// 1 is live in blue, and 2 is staged in green.
async fn staged() -> World {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.pipeline().stage(release("2")).await.unwrap();
    world
}

/// A pipeline whose deploys are held at this share of the traffic.
fn holding(world: &World, percent: u8) -> PipelineBuilder {
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "more".into() }]);
    let steps = [percent, 100].into_iter().map(|percent| TrafficStep::new(percent, seconds(2)));
    let steps = steps.take(if percent == 100 { 1 } else { 2 });
    world.builder().strategy(Strategy::canary(steps)).gate(gate)
}

/// 1 is live in blue, and 2 holds a tenth of the traffic in green.
async fn canary() -> World {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let held = holding(&world, 10).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert_hint(&held, &["`promote` goes on", "`rollback` goes back"], &[]);
    world.faults.witness(|_| {});
    world
}

/// 2 is live in green, and somebody gave a part of its traffic to 1, which is retained in blue.
async fn divided_by_hand() -> World {
    let world = two_releases().await;
    world.router.switch_by_hand(Some(Split::toward(Slot::Blue, 30).unwrap()));
    world
}

async fn deploy(world: &World, version: &str) -> Error {
    world.pipeline().deploy(release(version)).await.unwrap_err()
}

async fn assert_live(world: &World, slot: Slot, version: &str) {
    assert_eq!(world.live(), Some(slot));
    assert_eq!(world.runtime.instance(slot).version().unwrap().as_str(), version);
    world.assert_settled().await;
}

async fn assert_works(world: &World) {
    world.pipeline().deploy(release("9")).await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_retained_is_brought_back_by_rollback_or_deployed_anew() {
    let world = two_releases().await;
    let error = deploy(&world, "1").await;
    assert_hint(&error, &["`rollback` brings it back", "`retire_now` and deploy again"], &[]);
    world.pipeline().rollback().await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;

    for world in [two_releases().await, contracted().await] {
        let error = deploy(&world, "1").await;
        assert_eq!(error.reason(), Some(Reason::AlreadyRetained));
        assert_hint(&error, &["`retire_now` and deploy again"], &[]);
        world.pipeline().retire_now().await.unwrap();
        world.pipeline().deploy(release("1")).await.unwrap();
        assert_live(&world, Slot::Blue, "1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_contract_phase_no_error_names_a_rollback_that_would_be_refused() {
    let world = contracted().await;
    assert_hint(&deploy(&world, "1").await, &[], &["`rollback` brings"]);
    let error = world.pipeline().promote().await.unwrap_err();
    assert_hint(&error, &["deploy a release"], &["`rollback` brings"]);
    let error = world.pipeline().rollback().await.unwrap_err();
    assert_hint(&error, &["deploy a release that repairs"], &[]);
    assert_works(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_staged_is_promoted_or_deployed_anew() {
    let world = staged().await;
    assert_hint(&deploy(&world, "2").await, &["`promote` moves traffic", "`retire_now` and deploy again"], &[]);
    world.pipeline().promote().await.unwrap();
    assert_live(&world, Slot::Green, "2").await;

    let world = staged().await;
    world.pipeline().retire_now().await.unwrap();
    world.pipeline().deploy(release("2")).await.unwrap();
    assert_live(&world, Slot::Green, "2").await;

    let world = staged().await;
    assert_hint(&world.pipeline().rollback().await.unwrap_err(), &["`promote`"], &[]);
    world.pipeline().promote().await.unwrap();
    assert_live(&world, Slot::Green, "2").await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_staged_stage_and_deploy_help() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let error = world.pipeline().promote().await.unwrap_err();
    assert_hint(&error, &["`stage`", "`deploy`"], &[]);
    world.pipeline().stage(release("2")).await.unwrap();
    world.pipeline().promote().await.unwrap();
    assert_live(&world, Slot::Green, "2").await;

    let error = world.pipeline().promote().await.unwrap_err();
    assert_hint(&error, &["`rollback` brings it back"], &[]);
    world.pipeline().rollback().await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_ever_live_a_deploy_helps() {
    let world = World::new();
    let pipeline = with_migrator(&world).build().unwrap();
    for error in [
        pipeline.rollback().await.unwrap_err(),
        pipeline.restore().await.unwrap_err(),
        pipeline.migrate(Phase::Contract).await.unwrap_err(),
        pipeline.migrate(Phase::Expand).await.unwrap_err(),
        pipeline.migrate_slot(Slot::Green).await.unwrap_err(),
    ] {
        assert_hint(&error, &["deploy a release"], &[]);
    }
    assert_works(&world).await;
}

#[tokio::test(start_paused = true)]
async fn where_the_traffic_is_lost_restore_gives_it_back_and_rollback_works_then() {
    let world = two_releases().await;
    world.router.switch_by_hand(None);
    let pipeline = with_migrator(&world).build().unwrap();
    assert_hint(&pipeline.rollback().await.unwrap_err(), &["`restore`"], &[]);
    assert_hint(&pipeline.migrate(Phase::Contract).await.unwrap_err(), &["`restore`"], &[]);
    assert_hint(&pipeline.deploy(release("1")).await.unwrap_err(), &["`retire_now`"], &["`rollback`"]);
    assert_hint(&pipeline.promote().await.unwrap_err(), &["`restore` gives green", "`rollback` then"], &[]);
    pipeline.restore().await.unwrap();
    assert_live(&world, Slot::Green, "2").await;
    pipeline.rollback().await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_former_version_that_is_not_kept_is_deployed_again_under_its_own_name() {
    let world = two_releases().await;
    world.pipeline().retire_now().await.unwrap();
    let error = world.pipeline().rollback().await.unwrap_err();
    assert_hint(&error, &["deploy the former version again"], &["name"]);
    world.pipeline().deploy(release("1")).await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_runs_is_ended_by_promote_or_by_rollback() {
    for verb in ["promote", "rollback"] {
        let world = canary().await;
        let pipeline = with_migrator(&world).build().unwrap();
        for error in [
            pipeline.deploy(release("3")).await.unwrap_err(),
            pipeline.retire_now().await.unwrap_err(),
            pipeline.restore().await.unwrap_err(),
            pipeline.migrate(Phase::Contract).await.unwrap_err(),
        ] {
            assert_hint(&error, &["`promote` goes on", "`rollback` brings all traffic back to blue"], &[]);
        }
        match verb {
            "promote" => pipeline.promote().await.unwrap(),
            _ => pipeline.rollback().await.unwrap(),
        };
        assert_works(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_died_is_left_by_rollback_alone() {
    let world = canary().await;
    world.runtime.crash(Slot::Green, "exit status 1");
    for error in [deploy(&world, "3").await, world.pipeline().promote().await.unwrap_err()] {
        assert_hint(&error, &["`rollback`"], &["`promote`", "`stage`", "`deploy`"]);
    }
    world.pipeline().rollback().await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_split_that_somebody_made_with_the_retained_release_is_ended_by_rollback_alone() {
    let world = divided_by_hand().await;
    for error in [deploy(&world, "3").await, world.pipeline().promote().await.unwrap_err()] {
        assert_hint(&error, &["`rollback` brings all traffic back to green"], &["`promote`"]);
    }
    world.pipeline().rollback().await.unwrap();
    assert_live(&world, Slot::Green, "2").await;
}

#[tokio::test(start_paused = true)]
async fn a_live_release_that_died_beside_a_canary_is_left_by_restore_or_by_promote() {
    for (verb, live) in [("restore", Slot::Blue), ("promote", Slot::Green)] {
        let world = canary().await;
        world.runtime.crash(Slot::Blue, "exit status 1");
        let error = deploy(&world, "3").await;
        assert_hint(&error, &["`restore` starts blue", "`promote` gives all of it to green"], &["`rollback`"]);
        match verb {
            "restore" => world.pipeline().restore().await.unwrap(),
            _ => world.pipeline().promote().await.unwrap(),
        };
        assert_eq!(world.live(), Some(live), "{verb}");
        assert_works(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_release_that_died_beside_the_retained_one_is_left_by_restore_or_by_rollback() {
    for (verb, live) in [("restore", Slot::Green), ("rollback", Slot::Blue)] {
        let world = divided_by_hand().await;
        world.runtime.crash(Slot::Green, "exit status 1");
        let error = deploy(&world, "3").await;
        assert_hint(&error, &["`restore` starts green", "`rollback` gives all of it to blue"], &["`promote`"]);
        match verb {
            "restore" => world.pipeline().restore().await.unwrap(),
            _ => world.pipeline().rollback().await.unwrap(),
        };
        assert_eq!(world.live(), Some(live), "{verb}");
        assert_works(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_both_releases_of_a_canary_are_down_restore_or_a_deploy_helps() {
    for verb in ["restore", "deploy"] {
        let world = canary().await;
        Slot::BOTH.into_iter().for_each(|slot| world.runtime.crash(slot, "the machine was restarted"));
        let error = world.pipeline().retire_now().await.unwrap_err();
        assert_hint(&error, &["`restore` starts blue", "deploy a release"], &["`promote`", "by hand"]);
        if verb == "restore" {
            world.pipeline().restore().await.unwrap();
            assert_live(&world, Slot::Blue, "1").await;
        }
        assert_works(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_release_that_is_unhealthy_beside_a_canary_is_left_without_a_way_back() {
    for verb in ["promote", "deploy"] {
        let world = canary().await;
        world.runtime.degrade(Slot::Blue, "one of two is down");
        let error = deploy(&world, "3").await;
        let says = [
            "`.require_healthy_rollback_target(false)`",
            "`promote` then gives it all traffic",
            "all traffic to blue by hand",
        ];
        assert_hint(&error, &says, &["`rollback`"]);
        let pipeline = world.builder().require_healthy_rollback_target(false).build().unwrap();
        match verb {
            "promote" => pipeline.promote().await.unwrap(),
            _ => {
                world.router.switch_by_hand(Some(Split::all(Slot::Blue)));
                pipeline.deploy(release("3")).await.unwrap()
            }
        };
        assert_eq!(world.live(), Some(Slot::Green), "{verb}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_release_that_is_unhealthy_is_replaced_without_a_way_back() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.runtime.degrade(Slot::Blue, "one of two is down");
    let error = deploy(&world, "2").await;
    assert_hint(&error, &["`.require_healthy_rollback_target(false)`"], &[]);
    world.builder().require_healthy_rollback_target(false).build().unwrap().deploy(release("2")).await.unwrap();
    assert_live(&world, Slot::Green, "2").await;
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_was_held_because_the_way_back_is_unhealthy_goes_on_or_back_as_it_says() {
    for verb in ["promote", "rollback"] {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        let runtime = world.runtime.clone();
        world.faults.witness(move |call| {
            if call == "after router.shift to 90 % blue / 10 % green" {
                runtime.degrade(Slot::Blue, "one of two is down");
            }
        });
        let steps = [TrafficStep::new(10, seconds(2)), TrafficStep::new(100, Duration::ZERO)];
        let error =
            world.builder().strategy(Strategy::canary(steps)).build().unwrap().deploy(release("2")).await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "held", "{error}");
        assert_hint(
            &error,
            &["`promote` goes on", "`.require_healthy_rollback_target(false)`", "blue is healthy or stopped"],
            &[],
        );
        world.faults.witness(|_| {});
        match verb {
            "promote" => {
                world.builder().require_healthy_rollback_target(false).build().unwrap().promote().await.unwrap();
                assert_eq!(world.live(), Some(Slot::Green));
            }
            _ => {
                world.runtime.crash(Slot::Blue, "stopped by hand");
                world.pipeline().rollback().await.unwrap();
                assert_live(&world, Slot::Blue, "1").await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_with_all_traffic_names_a_rollback_only_where_there_is_one() {
    let world = World::new();
    let error = holding(&world, 100).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert_hint(&error, &["`promote` does that"], &["`rollback`"]);
    world.pipeline().promote().await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;

    for verb in ["promote", "rollback"] {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        let error = holding(&world, 100).build().unwrap().deploy(release("2")).await.unwrap_err();
        assert_hint(&error, &["`promote` does that", "`rollback` goes back"], &[]);
        match verb {
            "promote" => world.pipeline().promote().await.unwrap(),
            _ => world.pipeline().rollback().await.unwrap(),
        };
        assert_works(&world).await;
    }
}

/// The rollback of a canary died before it was seen to answer, and the address does not answer to the recovery either: what
/// waits in the other slot is that canary, and `promote` would give it the traffic.
#[tokio::test(start_paused = true)]
async fn a_hold_beside_a_staged_release_does_not_name_promote() {
    let world = canary().await;
    world.faults.on("public.check", Fault::Die);
    assert!(world.faults.run(world.pipeline().rollback()).await.is_none());
    let error = unanswered(&world).recover().await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "held", "{error}");
    assert_hint(&error, &["`restore` does that"], &["`promote`", "`rollback`"]);
    world.pipeline().restore().await.unwrap();
    assert!(world.state().blue.confirmed.is_some());
    assert_live(&world, Slot::Blue, "1").await;
}

/// A pipeline whose public address does not answer, and whose undo is tried once.
fn unanswered(world: &World) -> bluegreen_core::Pipeline {
    let verify = ScriptedHealth::new([Health::unhealthy("bad gateway")]);
    world.builder().verify(verify).verify_deadline(seconds(1)).undo_timeout(Duration::ZERO).build().unwrap()
}

fn assert_stuck(error: &Error) {
    assert_eq!(error.report().unwrap().outcome.word(), "STUCK", "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_could_not_move_the_traffic_is_ended_by_rollback() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.faults.on("router.shift to 100 % blue", Fault::Fail);
    let error = unanswered(&world).deploy(release("2")).await.unwrap_err();
    assert_stuck(&error);
    assert_hint(&error, &["if any goes to green, `rollback` gives it to blue"], &[]);
    world.pipeline().rollback().await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_could_not_stop_the_failed_release_is_ended_by_retire_now() {
    for first in [true, false] {
        let world = World::new();
        if !first {
            world.pipeline().deploy(release("1")).await.unwrap();
        }
        let slot = if first { Slot::Blue } else { Slot::Green };
        world.faults.on(format!("runtime.stop {slot}"), Fault::Fail);
        let unhealthy = world.builder().health(ScriptedHealth::new([Health::unhealthy("503")]));
        let unhealthy = unhealthy.start_deadline(seconds(5)).undo_timeout(Duration::ZERO).build().unwrap();
        let error = unhealthy.deploy(release("2")).await.unwrap_err();
        assert_stuck(&error);
        assert_hint(&error, &[&format!("`retire_now` stops what is left in {slot}")], &[]);
        assert!(world.runtime.instance(slot).is_running());
        world.pipeline().retire_now().await.unwrap();
        assert!(!world.runtime.instance(slot).is_running());
        assert_works(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_could_not_be_undone_is_ended_by_restore() {
    let world = two_releases().await;
    world.faults.on("router.shift to 100 % green", Fault::Fail);
    let error = unanswered(&world).rollback().await.unwrap_err();
    assert_stuck(&error);
    assert_hint(&error, &["`restore` sees whether blue answers", "`rollback` tries again"], &[]);
    world.pipeline().restore().await.unwrap();
    assert_live(&world, Slot::Blue, "1").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_process_left_is_recovered_and_the_plan_says_the_same() {
    for unlocked in [false, true] {
        let world = World::new();
        world.faults.on("runtime.start", Fault::Die);
        assert!(world.faults.run(world.pipeline().deploy(release("1"))).await.is_none());
        if unlocked {
            world.pipeline().unlock().await.unwrap();
        }
        let error = deploy(&world, "1").await;
        assert_hint(&error, &["`recover`"], &[]);
        let refusal = world.pipeline().plan(&release("1")).await.unwrap().refusal.unwrap();
        assert_eq!((refusal.reason, refusal.hint.as_deref()), (error.reason(), error.hint()));
        world.recover().await.unwrap();
        world.pipeline().deploy(release("1")).await.unwrap();
        assert_live(&world, Slot::Blue, "1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_hangs_is_stopped_by_unlock_and_its_work_recovered() {
    let world = World::new();
    world.faults.on("runtime.prepare", Fault::Hang);
    let hanging = world.builder().prepare_timeout(seconds(600)).build().unwrap();
    let hanging = tokio::spawn(async move { hanging.deploy(release("1")).await });
    tokio::time::sleep(seconds(30)).await;
    let second = world.builder_for(&Faults::new(), "you@elsewhere").build().unwrap();
    let error = second.recover().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::LeaseHeld), "{error}");
    assert_hint(&error, &["it is alive", "`unlock`", "`recover`"], &["dead"]);
    assert_eq!(second.unlock().await.unwrap().as_deref(), Some("me"));
    let lost = hanging.await.unwrap().unwrap_err();
    assert_eq!(lost.reason(), Some(Reason::LeaseLost), "{lost}");
    assert_hint(&lost, &["once nobody else holds it", "`recover`"], &["state store"]);
    world.recover().await.unwrap();
    assert_works(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_phase_of_migrations_that_has_no_slot_is_told_how_to_get_one() {
    let world = World::new();
    let pipeline = with_migrator(&world).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    let error = pipeline.migrate_slot(Slot::Green).await.unwrap_err();
    assert_hint(&error, &["stage or deploy a release"], &[]);
    pipeline.stage(release("2")).await.unwrap();
    pipeline.migrate_slot(Slot::Green).await.unwrap();

    let error = world.pipeline().migrate(Phase::Expand).await.unwrap_err();
    assert_hint(&error, &["`.migrator(...)`"], &[]);
    with_migrator(&world).build().unwrap().migrate(Phase::Expand).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_version_with_other_content_is_deployed_under_another_version() {
    let with = |version: &str, artifact: &str| -> Release { release(version).with_artifact(artifact) };
    let world = World::new();
    world.pipeline().deploy(with("1", "one")).await.unwrap();
    world.pipeline().deploy(release("2")).await.unwrap();
    world.pipeline().deploy(release("3")).await.unwrap();
    let error = world.pipeline().deploy(with("1", "another")).await.unwrap_err();
    assert_hint(&error, &["give the new content a new version"], &[]);
    world.pipeline().deploy(with("1.1", "another")).await.unwrap();
    world.assert_settled().await;
}

/// What is refused says each thing once: the verb stands before it, and neither the cause nor the hint repeats it.
#[tokio::test(start_paused = true)]
async fn a_refusal_says_each_thing_once() {
    let world = two_releases().await;
    world.pipeline().retire_now().await.unwrap();
    let error = world.pipeline().rollback().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rollback shop: blue is stopped 1: no release is kept there to go back to; deploy the former version again"
    );
    let text = error.render();
    for once in ["blue is stopped", "deploy the former version again", "rollback"] {
        assert_eq!(text.matches(once).count(), 1, "{once}: {text}");
    }
}
