use bluegreen_core::pipeline::Drift;
use bluegreen_core::state::SlotStatus;
use bluegreen_core::{Slot, Split};

use crate::world::{World, release, service, version};

#[tokio::test(start_paused = true)]
async fn a_lost_state_file_is_rebuilt_from_the_router_and_the_runtime() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    world.store.lose(&service());
    let report = pipeline.deploy(release("2")).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("there is no record")), "{report}");
    assert_eq!(world.live(), Some(Slot::Green), "it went into the slot without traffic");
    assert!(world.runtime.instance(Slot::Blue).is_running(), "the live release was not touched");
    pipeline.rollback().await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_router_switched_by_hand_is_believed() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.router.switch_by_hand(Some(Split::all(Slot::Blue)));
    let status = pipeline.status().await.unwrap();
    assert!(matches!(status.observed.drift[..], [Drift::Switched { .. }]), "{status}");

    let report = pipeline.deploy(release("3")).await.unwrap();
    assert_eq!(report.slot, Some(Slot::Green));
    assert!(report.notes.iter().any(|note| note.contains("the router routes 100 % blue")), "{report}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_started_by_hand_in_the_idle_slot_is_named_and_replaced() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    world.runtime.start_by_hand(Slot::Green, version("9"));
    let plan = pipeline.plan(&release("2")).await.unwrap();
    assert!(plan.to_string().contains("drift: green should be empty and is running 9"), "{plan}");
    assert!(plan.to_string().contains("stop what is in green: running 9"), "{plan}");

    let report = pipeline.deploy(release("2")).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("green should be empty")), "{report}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn both_slots_empty_is_a_first_deploy_into_blue() {
    let world = World::new();
    let report = world.pipeline().deploy(release("1")).await.unwrap();
    assert_eq!(report.slot, Some(Slot::Blue));
    assert!(report.notes.is_empty(), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_takes_the_free_slot_when_something_runs_in_blue() {
    let world = World::new();
    world.runtime.start_by_hand(Slot::Blue, version("0"));
    let report = world.pipeline().deploy(release("1")).await.unwrap();
    assert_eq!(report.slot, Some(Slot::Green));
}

#[tokio::test(start_paused = true)]
async fn a_crashed_retained_slot_is_named_and_the_deploy_goes_on() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.runtime.crash(Slot::Blue, "exit status 1");
    let report = pipeline.deploy(release("3")).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("blue is recorded as retained and is stopped 1")), "{report}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_of_which_a_part_is_down_is_drift_and_no_way_back() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.runtime.degrade(Slot::Blue, "api: exit status 1");
    world.runtime.degrade(Slot::Green, "worker: exit status 2");
    let status = pipeline.status().await.unwrap().to_string();
    assert!(status.contains("green gets traffic and is degraded 2 (worker: exit status 2)"), "{status}");
    assert!(status.contains("blue is recorded as retained and is degraded 1 (api: exit status 1)"), "{status}");

    let error = pipeline.deploy(release("3")).await.unwrap_err();
    assert!(error.to_string().contains("the way back is not safe: green is degraded 2"), "{error}");
    assert_eq!(world.live(), Some(Slot::Green));
    let pipeline = world.builder().require_healthy_rollback_target(false).build().unwrap();
    pipeline.deploy(release("3")).await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
}

#[tokio::test(start_paused = true)]
async fn a_crashed_live_slot_is_replaced_at_once_without_a_way_back() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    world.runtime.crash(Slot::Blue, "exit status 1");
    // The invariants do not hold while the live slot is down, which is what this deploy ends.
    world.faults.witness(|_| {});
    world.faults.log().clear();
    let report = pipeline.deploy(release("2")).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("blue gets traffic and is stopped 1")), "{report}");
    assert!(world.faults.log().calls_of(&["health.check blue"]).is_empty(), "{report}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn recover_brings_the_record_into_agreement_with_what_there_is() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.router.switch_by_hand(Some(Split::all(Slot::Blue)));
    pipeline.recover().await.unwrap();
    world.assert_settled().await;
    assert_eq!(world.state().green.status, SlotStatus::Retained);
    assert!(pipeline.status().await.unwrap().agrees());
}

#[tokio::test(start_paused = true)]
async fn without_drift_nothing_is_reported_as_drift() {
    let world = World::new();
    let pipeline = world.pipeline();
    for number in 1..5 {
        let report = pipeline.deploy(release(&number.to_string())).await.unwrap();
        assert_eq!(report.notes, Vec::<String>::new());
        assert!(pipeline.status().await.unwrap().agrees());
    }
    pipeline.rollback().await.unwrap();
    assert!(pipeline.status().await.unwrap().agrees());
    pipeline.retire_now().await.unwrap();
    assert!(pipeline.status().await.unwrap().agrees());
}
