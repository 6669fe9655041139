//! An address that somebody moved by hand.

use bluegreen_core::Slot;
use bluegreen_testkit::lab::{Network, Outcome};

use crate::cloud::Variant;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_address_moved_by_hand_in_the_cloud_is_noticed_and_decides_what_is_idle() {
    for variant in [Variant::DigitalOcean, Variant::Hetzner] {
        let Some(world) = World::with_v1(variant).await else { return };
        world.run(&["deploy", "v2"]).await;
        // To green, which has it: nothing changes.
        world.cloud.move_by_hand(22);
        world.is_settled_on("v2").await;

        // To blue, where v1 is kept warm: it is live from then on, and green is idle.
        world.cloud.move_by_hand(11);
        assert!(world.run(&["status"]).await.contains("drift"));
        assert_eq!(world.ask(Network::V4).await, Outcome::Answered("v1".to_owned()));
        world.run(&["deploy", "v3"]).await;
        world.is_settled_on("v3").await;
        assert_eq!(world.state().live, Some(Slot::Green));

        // To a third server: nothing is done until somebody has found out why.
        world.cloud.move_by_hand(33);
        let said = world.try_run(&["deploy", "v4"]).await;
        assert!(
            !said.success && said.text.contains("33") && said.text.contains("neither blue nor green"),
            "{}",
            said.text
        );
        world.cloud.move_by_hand(22);
        world.run(&["deploy", "v4"]).await;
        world.is_settled_on("v4").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_moved_by_hand_between_own_servers_is_noticed_and_one_on_both_is_refused() {
    let Some(world) = World::with_v1(Variant::OwnServers).await else { return };
    world.run(&["deploy", "v2"]).await;
    let address = format!("{}/32", Network::V4);
    let change = |slot: Slot, verb: &str| {
        world.network().server(slot).exec(&["ip", "address", verb, &address, "dev", "eth0"]);
        // A person who forgets to announce it: the client's kernel is told here, instead of after half a minute.
        world.network().client.exec(&["ip", "neighbour", "flush", "all"]);
    };
    change(Slot::Blue, "add");
    let said = world.try_run(&["deploy", "v3"]).await;
    assert!(!said.success && said.text.contains("blue and green at once"), "{}", said.text);

    change(Slot::Green, "del");
    assert!(world.run(&["status"]).await.contains("drift"));
    assert_eq!(world.ask(Network::V4).await, Outcome::Answered("v1".to_owned()));
    world.run(&["deploy", "v3"]).await;
    world.is_settled_on("v3").await;
    assert_eq!(world.state().live, Some(Slot::Green));
}

/// An address that was only added to an interface is gone when its server comes up again.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_a_restart_has_lost_is_given_back_to_the_release_that_was_live() {
    let Some(world) = World::with_v1(Variant::OwnServers).await else { return };
    world.run(&["deploy", "v2"]).await;
    let address = format!("{}/32", Network::V4);
    world.network().server(Slot::Green).exec(&["ip", "address", "del", &address, "dev", "eth0"]);
    let refused = world.try_run(&["rollback"]).await;
    assert!(!refused.success && refused.text.contains("green was live last"), "{}", refused.text);
    world.run(&["restore"]).await;
    world.is_settled_on("v2").await;
}
