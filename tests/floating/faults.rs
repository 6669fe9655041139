//! An API that is down, and a release that dies.

use std::sync::Arc;

use bluegreen_core::Slot;
use bluegreen_testkit::fakes::Fault;
use bluegreen_testkit::lab::{Network, Outcome};

use crate::cloud::Variant;
use crate::world::World;

/// What both clouds' paths for a move have in common.
const MOVE: &str = "/actions";

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_down_before_a_deploy_keeps_everything_as_it_is_and_a_short_outage_is_waited_for() {
    for variant in [Variant::DigitalOcean, Variant::Hetzner] {
        let Some(mut world) = World::with_v1(variant).await else { return };
        let watch = world.watch();
        world.api.as_ref().unwrap().fail("GET", "", usize::MAX, Fault::html(503));
        let said = world.try_run(&["deploy", "v2"]).await;
        assert!(!said.success && said.text.contains("503"), "{}", said.text);
        let seen = watch.stop().await;
        assert_eq!((seen.order(), seen.broken().len() + seen.unconnected().len()), (vec!["v1"], 0), "{seen}");
        assert_eq!(world.network().sole_holder(Network::V4), Slot::Blue);

        world.renew_api().await;
        world.is_settled_on("v1").await;
        // Down in the moment in which the move is asked for.
        world.api.as_ref().unwrap().fail("POST", MOVE, 1, Fault::html(503));
        world.run(&["deploy", "v2"]).await;
        world.is_settled_on("v2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_the_move_that_is_lost_leads_to_one_move_whether_it_was_done_or_not() {
    for variant in [Variant::DigitalOcean, Variant::Hetzner] {
        for (fault, posts) in [(Fault::Drop, 2), (Fault::DropAfter, 1)] {
            let Some(world) = World::with_v1(variant).await else { return };
            let api = world.api.as_ref().unwrap();
            api.forget_calls();
            api.fail("POST", MOVE, 1, fault.clone());
            let watch = world.watch();
            world.run(&["deploy", "v2"]).await;
            let seen = watch.stop().await;
            println!("{} with {fault:?}: {seen}", variant.flag());
            seen.is_one_move("v1", "v2");
            assert_eq!(api.count("POST", MOVE), posts, "{:?}", api.calls());
            world.is_settled_on("v2").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_down_after_the_move_was_asked_for_is_told_as_an_unknown_outcome_that_recovery_finds() {
    for variant in [Variant::DigitalOcean, Variant::Hetzner] {
        let Some(mut world) = World::with_v1(variant).await else { return };
        let watch = world.watch();
        // From the move on, nothing is answered any more: not how it ended, and no way back either.
        let api = Arc::new(world.api.take().unwrap());
        let down = api.clone();
        world.cloud.when_moved(world.network(), move |_| {
            for method in ["GET", "POST"] {
                down.fail(method, "", usize::MAX, Fault::Drop);
            }
        });
        let said = world.try_run(&["deploy", "v2"]).await;
        assert!(!said.success, "{}", said.text);
        assert!(
            said.text.contains("STUCK") && said.text.contains("was asked for, and is not confirmed"),
            "{}",
            said.text
        );

        // The address has moved, and v2 answers: that is what recovery finds, and what it leaves.
        world.cloud.when_moved(world.network(), |_| {});
        world.renew_api().await;
        let told = world.run(&["recover"]).await;
        assert!(told.contains("the record says 100 % blue, and the router routes 100 % green"), "{told}");
        watch.stop().await.is_one_move("v1", "v2");
        world.is_settled_on("v2").await;
        world.run(&["deploy", "v3"]).await;
        world.is_settled_on("v3").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_dies_right_after_the_move_gives_the_address_back() {
    for variant in [Variant::DigitalOcean, Variant::Hetzner] {
        let Some(world) = World::with_v1(variant).await else { return };
        let green = world.green.clone();
        world.cloud.when_moved(world.network(), move |to| {
            if to == 22 {
                green.stop_nginx();
            }
        });
        let watch = world.watch();
        let said = world.try_run(&["deploy", "v2"]).await;
        assert!(!said.success && said.text.contains("rolled back"), "{}", said.text);
        let seen = watch.stop().await;
        println!("{}: {} connections, {:?}", variant.flag(), seen.connections(), seen.order());
        assert_eq!(seen.order().first().zip(seen.order().last()), Some((&"v1", &"v1")), "{seen}");
        world.is_settled_on("v1").await;

        world.cloud.when_moved(world.network(), |_| {});
        world.green.start_nginx();
        world.run(&["deploy", "v3"]).await;
        world.is_settled_on("v3").await;
    }
}

/// Its machine, not its web server alone: neither sshd nor anything else answers there.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_gone_does_not_keep_the_address() {
    let Some(world) = World::with_v1(Variant::DigitalOcean).await else { return };
    world.run(&["deploy", "v2"]).await;
    let power = |on: &str| world.network().server(Slot::Green).exec(&["ip", "link", "set", "eth0", on]);
    power("down");
    let back = world.run(&["rollback"]).await;
    assert!(back.contains("green is out of reach") && back.contains("neither drained nor stopped"), "{back}");
    assert_eq!(world.ask(Network::V4).await, Outcome::Answered("v1".to_owned()));
    let refused = world.try_run(&["deploy", "v3"]).await;
    assert!(!refused.success && refused.text.contains("inspect green"), "{}", refused.text);
    power("up");
    world.run(&["deploy", "v3"]).await;
    world.is_settled_on("v3").await;
}
