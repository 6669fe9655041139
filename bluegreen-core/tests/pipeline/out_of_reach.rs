//! The machine of one slot is off or away.

use bluegreen_core::ErrorKind;
use bluegreen_core::pipeline::Drift;
use bluegreen_core::state::SlotStatus;
use bluegreen_core::testing::{Fault, ScriptedHealth};
use bluegreen_core::{Health, Slot};

use crate::world::{World, release, seconds};

async fn two_releases(world: &World) {
    world.pipeline().deploy(release("1")).await.unwrap();
    world.pipeline().deploy(release("2")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rollback_leaves_a_machine_that_nobody_can_reach() {
    let world = World::new();
    two_releases(&world).await;
    world.runtime.set_reachable(Slot::Green, false);
    let status = world.pipeline().status().await.unwrap();
    assert!(matches!(status.observed.drift[..], [Drift::OutOfReach { slot: Slot::Green, .. }]), "{status}");
    assert!(status.to_string().contains("green is out of reach: inspect green: no route to host"), "{status}");

    let report = world.pipeline().rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    assert!(report.notes.iter().any(|note| note.contains("neither drained nor stopped")), "{report}");
    let left = world.state().green;
    assert_eq!((left.status, left.version.unwrap().as_str()), (SlotStatus::Retained, "2"), "what is on record stays");
    assert_eq!(world.pipeline().rollback().await.unwrap_err().kind(), ErrorKind::Unreachable);

    // It comes back as it was, or empty.
    world.runtime.set_reachable(Slot::Green, true);
    world.pipeline().recover().await.unwrap();
    world.assert_settled().await;
    world.pipeline().rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_loses_its_machine_right_after_the_shift_is_rolled_back() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let runtime = world.runtime.clone();
    world.faults.witness(move |call| {
        if call == "after router.shift to 100 % green" {
            runtime.set_reachable(Slot::Green, false);
        }
    });
    let error = world.pipeline().deploy(release("2")).await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.outcome.word(), "rolled back", "{error}");
    assert_eq!(error.effect(), bluegreen_core::Effect::Unknown, "it may still run");
    assert!(report.notes.iter().any(|note| note.contains("green could not be stopped")), "{report}");
    assert_eq!(world.live(), Some(Slot::Blue));
    assert!(world.state().lease.is_none() && world.state().operation.is_none());

    // Nothing is deployed to where nobody can look; afterwards what is still there is stopped first.
    let refused = world.pipeline().deploy(release("3")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unreachable, "{refused}");
    world.faults.witness(|_| {});
    world.runtime.set_reachable(Slot::Green, true);
    world.pipeline().deploy(release("3")).await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployer_that_dies_together_with_the_new_machine_is_recovered_from() {
    for (call, outcome) in [("runtime.start green", "aborted"), ("router.shift to 100 % green", "rolled back")] {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        world.faults.on(call, Fault::ApplyThenDie);
        assert!(world.faults.run(world.pipeline().deploy(release("2"))).await.is_none(), "{call}");
        world.runtime.set_reachable(Slot::Green, false);
        let report = world.recover().await.unwrap();
        assert_eq!(report.outcome.word(), outcome, "{call}: {report}");
        assert_eq!(world.live(), Some(Slot::Blue), "{call}");
        assert!(world.state().lease.is_none() && world.state().operation.is_none(), "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovery_with_all_traffic_on_the_new_release_does_not_wait_for_the_machine_to_go_back_to() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.faults.on("router.shift to 100 % green", Fault::ApplyThenDie);
    assert!(world.faults.run(world.pipeline().deploy(release("2"))).await.is_none());
    world.runtime.set_reachable(Slot::Blue, false);
    let report = world.recover().await.unwrap();
    assert!(report.outcome.is_success(), "the public address answers with the new version: {report}");
    assert!(world.state().slot(Slot::Green).confirmed.is_some());
    world.runtime.set_reachable(Slot::Blue, true);
    world.assert_settled().await;
    world.pipeline().rollback().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_both_machines_out_of_reach_nothing_is_guessed() {
    let world = World::new();
    two_releases(&world).await;
    let before = world.state();
    Slot::BOTH.into_iter().for_each(|slot| world.runtime.set_reachable(slot, false));
    for error in [
        world.pipeline().rollback().await.unwrap_err(),
        world.pipeline().recover().await.unwrap_err(),
        world.pipeline().status().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
    let after = world.state();
    assert_eq!((after.blue, after.green, after.live), (before.blue, before.green, before.live));
}

#[tokio::test(start_paused = true)]
async fn an_undo_whose_failed_slot_is_only_refused_is_still_stuck() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let verify = ScriptedHealth::new([Health::unhealthy("bad gateway")]);
    let pipeline = world.builder().verify(verify).verify_deadline(seconds(1)).build().unwrap();
    (0..100).for_each(|_| world.faults.on("runtime.stop green", Fault::Fail));
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "STUCK", "{error}");
}
