//! A deployer that is killed.

use std::time::Duration;

use bluegreen_core::Slot;
use bluegreen_core::testing::sample;
use bluegreen_testkit::lab::{Network, Watch};
use bluegreen_testkit::pids::send;
use bluegreen_tests::deployer::STEPS;
use rustix::process::Signal;

use crate::cloud::Variant;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_any_step_is_recovered_from_where_a_cloud_moves_the_address() {
    killed_in_any_step(Variant::DigitalOcean).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_any_step_is_recovered_from_where_the_servers_move_the_address() {
    killed_in_any_step(Variant::OwnServers).await;
}

async fn killed_in_any_step(variant: Variant) {
    let Some(world) = World::with_v1(variant).await else { return };
    world.run(&["deploy", "v2"]).await;
    let mut live = "v2".to_owned();
    for (number, (step, outcome)) in sample(STEPS, 2, |(_, outcome)| *outcome).into_iter().enumerate() {
        let version = format!("v{}", number + 3);
        let watch = world.watch();
        let killed = world.try_run(&["--crash-at", step, "deploy", &version]).await;
        assert_eq!(killed.signal, Some(9), "{step}: {}", killed.text);
        assert_eq!(world.state().operation.unwrap().last().unwrap().step.to_string(), step);

        let recovered = world.run(&["recover"]).await;
        let seen = watch.stop().await;
        assert_eq!(world.state().history.last().unwrap().outcome.word(), outcome, "{step}: {recovered}");
        // It had the traffic when the process died, and lost it again.
        let moved = ["verify", "drain", "retain"].contains(&step);
        let stays = outcome == "succeeded" && step != "observe";
        let order = match (moved, stays) {
            (true, true) => vec![live.as_str(), version.as_str()],
            (true, false) => vec![live.as_str(), version.as_str(), live.as_str()],
            (false, _) => vec![live.as_str()],
        };
        assert_eq!(seen.order(), order, "{step}: {seen}");
        assert!(seen.unconnected().is_empty(), "{step}: {seen}");
        assert!(seen.broken().len() * 20 <= seen.connections(), "{step}: {seen}");
        if stays {
            live = version;
        }
        world.is_settled_on(&live).await;
    }
}

/// A step, and after how many milliseconds of it.
const MIDDLES: [(&str, u32); 6] =
    [("prepare", 60), ("prepare", 200), ("start", 40), ("start", 120), ("shift-100", 100), ("shift-100", 250)];

/// What a step does on the servers goes on, or is half done, when its deployer dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_the_middle_of_what_a_step_does_on_own_servers_is_recovered_from() {
    let Some(world) = World::with_v1(Variant::OwnServers).await else { return };
    world.run(&["deploy", "v2"]).await;
    for (number, (step, moment)) in sample(MIDDLES, 1, |(step, _)| *step).into_iter().enumerate() {
        let (at, version) = (format!("{step}+{moment}"), format!("v{}", number + 3));
        let watch = world.watch();
        let killed = world.try_run(&["--crash-at", &at, "deploy", &version]).await;
        assert_eq!(killed.signal, Some(9), "{at}: {}", killed.text);
        assert_eq!(world.state().operation.unwrap().last().unwrap().step.to_string(), step);
        goes_back(&world, watch, "v2", &version, &at).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_right_after_the_new_one_of_own_servers_took_the_address_is_recovered_from() {
    let Some(world) = World::with_v1(Variant::OwnServers).await else { return };
    let watch = world.watch();
    let (pid, deploying) = world.begin(&["deploy", "v2"]);
    while !world.network().has(Slot::Green, Network::V4) {
        assert!(!deploying.is_finished(), "the address never came to green");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    send(pid.cast_signed(), Signal::KILL);
    let killed = deploying.await.unwrap();
    assert_eq!(killed.signal, Some(9), "{}", killed.text);
    goes_back(&world, watch, "v1", "v2", "taken").await;
}

/// A recovery brings everything back to the old version; the new one may have had the traffic until then, or not.
async fn goes_back(world: &World, watch: Watch, old: &str, new: &str, at: &str) {
    let holders = Slot::BOTH.map(|slot| world.network().has(slot, Network::V4));
    let recovered = world.run(&["recover"]).await;
    let seen = watch.stop().await;
    println!("{at}: blue and green had the address: {holders:?}; {seen}");
    let outcome = world.state().history.last().unwrap().outcome.word();
    assert!(["aborted", "rolled back"].contains(&outcome), "{at}: {outcome}, {recovered}");
    let order = seen.order();
    assert!(order == [old] || (outcome == "rolled back" && order == [old, new, old]), "{at}: {seen}");
    assert!(seen.unconnected().is_empty(), "{at}: {seen}");
    assert!(seen.broken().len() * 20 <= seen.connections(), "{at}: {seen}");
    world.is_settled_on(old).await;
}

/// It dies after it has asked for the move, and before the cloud has answered that it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_while_the_address_moves_is_recovered_from() {
    for variant in [Variant::DigitalOcean, Variant::Hetzner] {
        let Some(world) = World::with_v1(variant).await else { return };
        let watch = world.watch();
        let (pid, deploying) = world.begin(&["deploy", "v2"]);
        world.cloud.when_moved(world.network(), move |to| {
            if to == 22 {
                send(pid.cast_signed(), Signal::KILL);
            }
        });
        let killed = deploying.await.unwrap();
        assert_eq!(killed.signal, Some(9), "{}", killed.text);
        world.cloud.when_moved(world.network(), |_| {});
        world.run(&["recover"]).await;
        let seen = watch.stop().await;
        assert_eq!(seen.order(), ["v1", "v2", "v1"], "{seen}");
        assert!(seen.unconnected().is_empty(), "{seen}");
        world.is_settled_on("v1").await;
    }
}
