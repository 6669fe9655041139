//! What is kept for a rollback stays that, whatever happens beside it.

use bluegreen_core::state::SlotStatus;
use bluegreen_core::testing::Fault;
use bluegreen_core::{Phase, Pipeline, Reason, Slot, When};

use crate::world::{World, release, version};

fn pipeline(world: &World) -> Pipeline {
    world.builder().migrator(world.migrator(When::BeforeStart)).build().unwrap()
}

/// 1 is retained in blue, and 2 is live in green.
async fn two_releases() -> World {
    let world = World::new();
    for version in ["1", "2"] {
        pipeline(&world).deploy(release(version)).await.unwrap();
    }
    world
}

/// A restart policy brings the retained release back after a verb has looked.
async fn blink(world: &World) {
    world.runtime.crash(Slot::Blue, "restarting");
    pipeline(world).recover().await.unwrap();
    world.runtime.start_by_hand(Slot::Blue, version("1"));
}

#[tokio::test(start_paused = true)]
async fn a_retained_release_that_blinks_stays_retained_and_is_not_promoted_after_a_contract_phase() {
    let world = two_releases().await;
    pipeline(&world).migrate(Phase::Contract).await.unwrap();
    blink(&world).await;
    let refused = pipeline(&world).promote().await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::AlreadyRetained), "{refused}");
    assert_eq!(pipeline(&world).rollback().await.unwrap_err().reason(), Some(Reason::ContractHasRun));
    assert_eq!(world.live(), Some(Slot::Green));
    assert_eq!(world.state().slot(Slot::Blue).status, SlotStatus::Retained);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_contract_phase_a_blink_does_not_lose_the_release_to_go_back_to() {
    let world = two_releases().await;
    blink(&world).await;
    pipeline(&world).rollback().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_retained_release_that_is_down_is_started_by_a_rollback() {
    let world = two_releases().await;
    world.runtime.crash(Slot::Blue, "out of memory");
    let report = pipeline(&world).rollback().await.unwrap();
    assert!(report.steps.iter().any(|step| step.step.to_string() == "start"), "{report}");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_whose_release_cannot_be_started_leaves_the_traffic_where_it_is() {
    let world = two_releases().await;
    world.runtime.crash(Slot::Blue, "out of memory");
    world.faults.on("runtime.start blue", Fault::Fail);
    let error = pipeline(&world).rollback().await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "aborted", "{error}");
    assert_eq!(world.live(), Some(Slot::Green));
    pipeline(&world).rollback().await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_saw_coming_up_is_not_promoted_after_a_contract_phase() {
    let world = two_releases().await;
    pipeline(&world).migrate(Phase::Contract).await.unwrap();
    pipeline(&world).retire_now().await.unwrap();
    world.runtime.start_by_hand(Slot::Blue, version("1"));
    let refused = pipeline(&world).promote().await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::ContractHasRun), "{refused}");
    assert_eq!(world.live(), Some(Slot::Green));
}

#[tokio::test(start_paused = true)]
async fn a_staged_release_is_promoted_after_a_contract_phase_of_the_live_one() {
    let world = two_releases().await;
    pipeline(&world).stage(release("3")).await.unwrap();
    pipeline(&world).migrate(Phase::Contract).await.unwrap();
    pipeline(&world).promote().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_fails_brings_back_what_it_stopped_and_its_rollback_still_works() {
    for (call, fault) in [
        ("runtime.stop blue", Fault::ApplyThenFail),
        ("runtime.start blue 3", Fault::Fail),
        ("runtime.start blue 3", Fault::ApplyThenFail),
        ("router.shift to 100 % blue", Fault::Fail),
        ("router.shift to 100 % blue", Fault::ApplyThenFail),
    ] {
        let world = two_releases().await;
        let before = world.state();
        world.faults.on(call, fault);
        let error = pipeline(&world).deploy(release("3")).await.unwrap_err();
        let report = error.report().unwrap();
        assert!(report.notes.iter().any(|note| note.contains("blue holds 1 again (retained)")), "{call}: {report}");
        assert_eq!(world.state().blue, before.blue, "{call}");
        assert_eq!(world.runtime.instance(Slot::Blue).version(), Some(&version("1")), "{call}");
        world.assert_settled().await;
        pipeline(&world).rollback().await.unwrap();
        assert_eq!(world.live(), Some(Slot::Blue), "{call}");
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recovered_deploy_brings_back_what_it_stopped() {
    for (call, fault) in [
        ("runtime.stop blue", Fault::ApplyThenDie),
        ("runtime.start blue 3", Fault::Die),
        ("health.check blue 3", Fault::Die),
        ("router.shift to 100 % blue", Fault::ApplyThenDie),
    ] {
        let world = two_releases().await;
        let before = world.state();
        world.faults.on(call, fault);
        assert!(world.faults.run(pipeline(&world).deploy(release("3"))).await.is_none());
        world.recover().await.unwrap();
        assert_eq!(world.state().blue, before.blue, "{call}");
        world.assert_settled().await;
        pipeline(&world).rollback().await.unwrap();
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_undone_deploy_after_a_contract_phase_does_not_make_the_former_release_safe_again() {
    let world = two_releases().await;
    pipeline(&world).migrate(Phase::Contract).await.unwrap();
    world.faults.on("runtime.start blue 3", Fault::Fail);
    pipeline(&world).deploy(release("3")).await.unwrap_err();
    assert!(!world.state().rollback_safe);
    assert_eq!(pipeline(&world).rollback().await.unwrap_err().reason(), Some(Reason::ContractHasRun));
}

#[tokio::test(start_paused = true)]
async fn a_staged_release_that_a_failed_deploy_took_the_place_of_is_staged_again() {
    let world = two_releases().await;
    pipeline(&world).stage(release("3")).await.unwrap();
    world.faults.on("runtime.start blue 4", Fault::Fail);
    pipeline(&world).deploy(release("4")).await.unwrap_err();
    assert_eq!(world.state().slot(Slot::Blue).status, SlotStatus::Staged);
    pipeline(&world).promote().await.unwrap();
    assert_eq!(world.runtime.instance(Slot::Blue).version(), Some(&version("3")));
    world.assert_settled().await;
}
