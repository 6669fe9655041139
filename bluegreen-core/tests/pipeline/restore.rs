//! After a restart of a machine, or when the router has lost its traffic.

use bluegreen_core::testing::Fault;
use bluegreen_core::{ErrorKind, Slot, Split};

use crate::world::{World, release, seconds};

/// A world in which 2 is live in green and 1 retained in blue.
async fn two_releases() -> World {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.pipeline().deploy(release("2")).await.unwrap();
    // The invariants do not hold while the service is down.
    world.faults.witness(|_| {});
    world
}

fn restart_of_the_machine(world: &World) {
    Slot::BOTH.into_iter().for_each(|slot| world.runtime.crash(slot, "the machine was restarted since"));
}

#[tokio::test(start_paused = true)]
async fn a_live_release_that_does_not_run_is_started_again() {
    let world = two_releases().await;
    restart_of_the_machine(&world);
    let report = world.pipeline().restore().await.unwrap();
    assert_eq!((report.slot, report.version.unwrap().as_str()), (Some(Slot::Green), "2"));
    assert_eq!(world.live(), Some(Slot::Green));
    assert!(world.runtime.instance(Slot::Green).is_running());
    assert!(!world.runtime.instance(Slot::Blue).is_running(), "only what was live");
    world.assert_settled().await;
    world.pipeline().deploy(release("3")).await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn traffic_that_the_router_has_lost_goes_back_to_what_was_live_last() {
    let world = two_releases().await;
    world.router.switch_by_hand(None);
    for _ in 0..2 {
        let refused = world.pipeline().rollback().await.unwrap_err();
        assert!(
            refused.to_string().contains("green was live last") && refused.to_string().contains("`restore`"),
            "{refused}"
        );
    }
    let refused = world.pipeline().promote().await.unwrap_err();
    assert!(refused.to_string().contains("`restore` gives green its traffic back"), "{refused}");
    world.pipeline().recover().await.unwrap();
    world.pipeline().retire_now().await.unwrap();
    assert!(world.runtime.instance(Slot::Green).is_running(), "what was live last is not what waits");
    world.pipeline().restore().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn both_at_once_are_restored() {
    let world = two_releases().await;
    world.router.switch_by_hand(None);
    restart_of_the_machine(&world);
    world.pipeline().recover().await.unwrap();
    world.pipeline().restore().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_without_any_routing_leaves_what_was_live_last() {
    let world = two_releases().await;
    world.router.switch_by_hand(None);
    let report = world.pipeline().deploy(release("3")).await.unwrap();
    assert_eq!(report.slot, Some(Slot::Blue));
    assert!(world.runtime.instance(Slot::Green).is_running());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_fails_undoes_nothing_and_can_be_repeated() {
    for call in ["runtime.start green", "health.check green", "router.attach green", "router.shift to 100 % green"] {
        let world = two_releases().await;
        world.router.switch_by_hand(None);
        restart_of_the_machine(&world);
        (0..200).for_each(|_| world.faults.on(call, Fault::Fail));
        world.faults.log().clear();
        let error = world.builder().start_deadline(seconds(5)).build().unwrap().restore().await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "failed, kept", "{call}: {error}");
        assert!(error.to_string().contains("injected fault"), "{call}: {error}");
        let undone = world.faults.log().calls_of(&["runtime.stop", "router.shift to 100 % blue"]);
        assert_eq!(undone, Vec::<String>::new(), "{call}");
        world.faults.clear();
        world.pipeline().restore().await.unwrap();
        assert_eq!(world.live(), Some(Slot::Green), "{call}");
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_whose_process_died_is_run_again() {
    for call in ["runtime.start green", "health.check green", "router.shift to 100 % green", "public.check"] {
        for fault in [Fault::Die, Fault::ApplyThenDie] {
            let world = two_releases().await;
            world.router.switch_by_hand(None);
            restart_of_the_machine(&world);
            world.faults.on(call, fault);
            assert!(world.faults.run(world.pipeline().restore()).await.is_none(), "{call}");
            world.pipeline().recover().await.unwrap();
            assert_eq!(world.live(), Some(Slot::Green), "{call} {fault:?}");
            world.assert_settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_runs_with_its_traffic_is_left_alone() {
    let world = two_releases().await;
    world.faults.log().clear();
    world.pipeline().restore().await.unwrap();
    let acts = ["runtime.prepare", "runtime.start", "runtime.stop", "router.shift"];
    assert_eq!(world.faults.log().calls_of(&acts), Vec::<String>::new());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn there_must_be_something_to_restore_and_its_machine_in_reach() {
    let error = World::new().pipeline().restore().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    let world = two_releases().await;
    world.runtime.set_reachable(Slot::Green, false);
    let error = world.pipeline().restore().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    world.runtime.set_reachable(Slot::Green, true);

    world.router.switch_by_hand(Some(Split::toward(Slot::Blue, 30).unwrap()));
    let error = world.pipeline().restore().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}
