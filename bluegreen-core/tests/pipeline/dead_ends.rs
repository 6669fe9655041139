//! States that no verb led out of once: for each, one does now.

use bluegreen_core::pipeline::{Strategy, TrafficStep};
use bluegreen_core::state::SlotStatus;
use bluegreen_core::testing::{Fault, ScriptedGate};
use bluegreen_core::{ErrorKind, Phase, Reason, Slot, Split, Verdict, When};

use crate::world::{World, release, seconds};

/// 1 is live in blue, and 2 holds a tenth of the traffic in green.
async fn held_canary() -> World {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "more".into() }]);
    let steps = [TrafficStep::new(10, seconds(2)), TrafficStep::new(100, seconds(0))];
    let canary = world.builder().strategy(Strategy::canary(steps)).gate(gate).build().unwrap();
    assert_eq!(canary.deploy(release("2")).await.unwrap_err().report().unwrap().outcome.word(), "held");
    // The invariants do not hold while machines are down.
    world.faults.witness(|_| {});
    world
}

/// 1 is retained in blue, and 2 is live in green.
async fn two_releases() -> World {
    let world = World::new();
    for version in ["1", "2"] {
        world
            .builder()
            .migrator(world.migrator(When::BeforeStart))
            .build()
            .unwrap()
            .deploy(release(version))
            .await
            .unwrap();
    }
    world.faults.witness(|_| {});
    world
}

#[tokio::test(start_paused = true)]
async fn a_reboot_during_a_canary_is_left_by_restore_and_by_rollback() {
    for verb in ["restore", "rollback"] {
        let world = held_canary().await;
        Slot::BOTH.into_iter().for_each(|slot| world.runtime.crash(slot, "the machine was restarted"));
        world.pipeline().recover().await.unwrap();
        let report = match verb {
            "restore" => world.pipeline().restore().await.unwrap(),
            _ => world.pipeline().rollback().await.unwrap(),
        };
        assert_eq!(report.version.as_ref().map(ToString::to_string).as_deref(), Some("1"), "{verb}: {report}");
        assert_eq!(world.live(), Some(Slot::Blue), "{verb}");
        assert!(!world.runtime.instance(Slot::Green).is_running(), "{verb}: only what was live is started");
        world.assert_settled().await;
        world.pipeline().deploy(release("3")).await.unwrap();
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_slot_that_dies_alone_during_a_canary_is_started_again_by_restore() {
    let world = held_canary().await;
    world.runtime.crash(Slot::Blue, "exit status 1");
    let refused = world.pipeline().deploy(release("3")).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::TrafficDivided), "{refused}");
    assert!(refused.to_string().contains("`restore`"), "{refused}");
    world.pipeline().restore().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_leaves_a_canary_alone_whose_live_release_runs() {
    let world = held_canary().await;
    let refused = world.pipeline().restore().await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::TrafficDivided), "{refused}");
    assert_eq!(world.router.split(), Some(Split::toward(Slot::Green, 10).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_canary_of_which_neither_release_can_be_started_any_more_is_left_by_a_deploy() {
    let world = held_canary().await;
    Slot::BOTH.into_iter().for_each(|slot| world.runtime.crash(slot, "the machine was restarted"));
    world.faults.on("runtime.start blue 1", Fault::Fail);
    world.pipeline().restore().await.unwrap_err();
    world.pipeline().deploy(release("3")).await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_live_machine_is_gone_can_be_promoted() {
    let world = held_canary().await;
    world.runtime.set_reachable(Slot::Blue, false);
    let refused = world.pipeline().rollback().await.unwrap_err();
    assert!(refused.to_string().contains("`promote`"), "{refused}");
    world.pipeline().promote().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
    world.runtime.set_reachable(Slot::Blue, true);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_live_release_whose_machine_is_gone_can_be_replaced_on_the_other_machine() {
    let world = two_releases().await;
    world.pipeline().retire_now().await.unwrap();
    world.runtime.set_reachable(Slot::Green, false);
    let refused = world.pipeline().deploy(release("3")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable);
    assert!(refused.to_string().contains("require_healthy_rollback_target(false)"), "{refused}");
    world.builder().require_healthy_rollback_target(false).build().unwrap().deploy(release("3")).await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    world.runtime.set_reachable(Slot::Green, true);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_died_and_fails_again_ends_as_failed_and_the_fix_can_be_deployed() {
    for (phase, word) in [(Phase::Expand, "aborted"), (Phase::Contract, "frozen")] {
        let world = two_releases().await;
        let with_migrator = || world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
        world.faults.on("migrator.migrate", Fault::Die);
        assert!(world.faults.run(with_migrator().migrate(phase)).await.is_none());
        world.faults.on("migrator.migrate", Fault::Fail);
        let outcome = match with_migrator().recover().await {
            Ok(report) => report.outcome,
            Err(error) => error.report().unwrap().outcome.clone(),
        };
        assert_eq!(outcome.word(), word);
        world.assert_settled().await;
        with_migrator().deploy(release("3")).await.unwrap();
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_died_ends_as_failed_in_a_pipeline_without_a_migrator() {
    for (phase, word) in [(Phase::Expand, "aborted"), (Phase::Contract, "frozen")] {
        let world = two_releases().await;
        world.faults.on("migrator.migrate", Fault::Die);
        let migrating = world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
        assert!(world.faults.run(migrating.migrate(phase)).await.is_none());
        let outcome = match world.pipeline().recover().await {
            Ok(report) => report.outcome,
            Err(error) => error.report().unwrap().outcome.clone(),
        };
        assert_eq!(outcome.word(), word);
        world.assert_settled().await;
        world.pipeline().deploy(release("3")).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_migration_that_was_called_off_is_left_for_the_next_recovery() {
    let world = two_releases().await;
    world.faults.on("migrator.migrate", Fault::Die);
    let migrating = || world.builder().migrator(world.migrator(When::BeforeStart));
    assert!(world.faults.run(migrating().build().unwrap().migrate(Phase::Expand)).await.is_none());
    let cancel = tokio_util::sync::CancellationToken::new();
    let (faults, token) = (world.faults.clone(), cancel.clone());
    world.faults.witness(move |call| {
        if call.starts_with("before migrator.migrate") {
            token.cancel();
        }
    });
    faults.on("migrator.migrate", Fault::Hang);
    let error = migrating().cancel_on(cancel).build().unwrap().recover().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(world.state().operation.is_some());
    world.faults.witness(|_| {});
    assert!(migrating().build().unwrap().recover().await.unwrap().outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_migration_that_died_on_a_machine_that_is_gone_does_not_keep_the_service_from_going_back() {
    let world = two_releases().await;
    world.faults.on("migrator.migrate", Fault::Die);
    let migrating = || world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap();
    assert!(world.faults.run(migrating().migrate(Phase::Expand)).await.is_none());
    world.runtime.set_reachable(Slot::Green, false);
    let report = migrating().recover().await.unwrap();
    assert!(report.to_string().contains("out of reach"), "{report}");
    migrating().rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
}

#[tokio::test(start_paused = true)]
async fn a_retirement_that_died_does_not_need_the_live_machine() {
    let world = two_releases().await;
    world.faults.on("runtime.stop blue", Fault::Die);
    assert!(world.faults.run(world.pipeline().retire_now()).await.is_none());
    world.runtime.set_reachable(Slot::Green, false);
    world.pipeline().recover().await.unwrap();
    assert!(!world.runtime.instance(Slot::Blue).is_running(), "what was asked for is done");
}

#[tokio::test(start_paused = true)]
async fn a_canary_whose_deployer_died_and_whose_live_machine_is_gone_is_held_and_can_go_either_way() {
    for verb in ["promote", "rollback"] {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        world.faults.on("router.shift to 90 % blue / 10 % green", Fault::ApplyThenDie);
        let steps = [TrafficStep::new(10, seconds(2)), TrafficStep::new(100, seconds(0))];
        let canary = || world.builder().strategy(Strategy::canary(steps.clone())).build().unwrap();
        assert!(world.faults.run(canary().deploy(release("2"))).await.is_none());
        world.runtime.set_reachable(Slot::Blue, false);
        let error = canary().recover().await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "held", "{error}");
        assert!(world.state().operation.is_none() && world.state().lease.is_none());
        match verb {
            "promote" => {
                canary().promote().await.unwrap();
                assert_eq!(world.live(), Some(Slot::Green));
            }
            _ => {
                world.runtime.set_reachable(Slot::Blue, true);
                canary().rollback().await.unwrap();
                assert_eq!(world.live(), Some(Slot::Blue));
            }
        }
        world.runtime.set_reachable(Slot::Blue, true);
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovered_retirement_stops_neither_what_has_traffic_by_now_nor_another_release() {
    for drift in ["switched", "replaced"] {
        let world = two_releases().await;
        world.faults.on("runtime.stop blue", Fault::Die);
        assert!(world.faults.run(world.pipeline().retire_now()).await.is_none());
        match drift {
            "switched" => world.router.switch_by_hand(Some(Split::all(Slot::Blue))),
            _ => {
                world.runtime.crash(Slot::Blue, "by hand");
                world.runtime.start_by_hand(Slot::Blue, crate::world::version("9"));
            }
        }
        world.faults.log().clear();
        world.pipeline().recover().await.unwrap();
        assert!(world.faults.log().calls_of(&["runtime.stop"]).is_empty(), "{drift}: {:?}", world.faults.log().calls());
        for slot in Slot::BOTH {
            assert!(world.runtime.instance(slot).is_running(), "{drift}: {slot}");
        }
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovered_deploy_does_not_stop_what_somebody_put_into_its_slot_since() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.faults.on("health.check green 2", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("2"))).await.is_none());
    world.runtime.crash(Slot::Green, "by hand");
    world.runtime.start_by_hand(Slot::Green, crate::world::version("9"));
    let report = world.recover().await.unwrap();
    assert!(world.runtime.instance(Slot::Green).is_running(), "{report}");
    assert_eq!(world.state().slot(Slot::Green).status, SlotStatus::Staged);
    world.assert_settled().await;
}
