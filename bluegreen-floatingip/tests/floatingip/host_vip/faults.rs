//! Servers that were touched by others, or are not what they should be.

use std::time::Duration;

use bluegreen_core::testing::{is_full_run, sample};
use bluegreen_core::{Effect, ErrorKind, Router, Slot, Split};
use bluegreen_floatingip::Lingering;
use bluegreen_testkit::lab::{Network, Outage, serve};

use super::moves::{builder_with, router};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

fn add(network: &Network, slot: Slot) {
    network.server(slot).exec(&["ip", "address", "add", "10.77.0.100/32", "dev", "eth0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_both_servers_were_given_by_hand_is_refused_and_named() {
    let Some(network) = Network::create() else { return };
    let router = router(&network, Network::address(Network::V4), Lingering::Leave);
    for slot in Slot::BOTH {
        add(&network, slot);
    }
    let error = router.current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("blue and green at once"), "{error}");
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_died_half_way_is_seen_at_the_new_server_and_completed_in_either_direction() {
    let Some(network) = Network::create() else { return };
    serve(&network).await;
    for (text, whole, mark) in [(Network::V4, "10.77.0.100/32", ""), (Network::V6, "fd77::100/128", "noprefixroute")] {
        let router = router(&network, Network::address(text), Lingering::Leave);
        for to in [GREEN, BLUE] {
            let current = router.current().await.unwrap();
            router.shift(current, BLUE).await.unwrap();
            // What a deployer leaves that dies after it has given the address to the new server.
            let add = format!("ip address add {whole} dev eth0 nodad valid_lft forever preferred_lft 0");
            network.green.exec(&add.split(' ').collect::<Vec<_>>());
            assert_eq!(router.current().await.unwrap(), Some(GREEN), "the candidate is where the traffic may be");
            router.shift(Some(GREEN), to).await.unwrap();
            assert_eq!(network.sole_holder(text), to.sole().unwrap());
            let shown = network.server(to.sole().unwrap()).exec(&["ip", "-o", "address", "show", "to", whole]);
            assert!(if mark.is_empty() { !shown.contains("deprecated") } else { shown.contains(mark) }, "{shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_take_the_address_is_found_before_anything_moves() {
    let Some(network) = Network::create() else { return };
    let router = router(&network, Network::address(Network::V4), Lingering::Leave);
    router.shift(None, BLUE).await.unwrap();
    network.green.exec(&["ip", "link", "set", "eth0", "down"]);
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("eth0 is not there, or not up"), "{error}");
    assert_eq!(network.sole_holder(Network::V4), Slot::Blue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_keeps_the_address_from_moving() {
    let Some(network) = Network::create() else { return };
    let address = Network::address(Network::V4);
    router(&network, address, Lingering::Leave).shift(None, BLUE).await.unwrap();
    let outage = Outage::of(0..usize::MAX, false);
    let builder = builder_with(&network, address, Lingering::Leave, &outage);
    let router = builder.deadline(Duration::from_millis(300)).build();
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied));
    assert_eq!(network.sole_holder(Network::V4), Slot::Blue);
}

/// A command of a move loses its server, before it was run or after; once, or for as long as it is tried.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_lost_at_any_step_leaves_the_address_somewhere_and_the_next_move_converges() {
    let Some(network) = Network::create() else { return };
    let address = Network::address(Network::V4);
    let sound = router(&network, address, Lingering::Leave);
    sound.shift(None, BLUE).await.unwrap();
    let undisturbed = Outage::of(0..0, false);
    builder_with(&network, address, Lingering::Leave, &undisturbed).build().shift(Some(BLUE), GREEN).await.unwrap();
    println!("a move runs {} commands", undisturbed.commands());
    let mut unfinished = 0;
    let once = |first| [(false, first, first + 1), (true, first, first + 1), (false, first, usize::MAX)];
    let cases = (0..undisturbed.commands()).flat_map(once);
    for (applied, first, last) in sample(cases, 5, |(applied, _, last)| (*applied, *last == usize::MAX)) {
        sound.shift(sound.current().await.unwrap(), BLUE).await.unwrap();
        let outage = Outage::of(first..last, applied);
        let shaky = builder_with(&network, address, Lingering::Leave, &outage);
        let result = shaky.deadline(Duration::from_millis(1000)).build().shift(Some(BLUE), GREEN).await;
        let holders: Vec<Slot> = Slot::BOTH.into_iter().filter(|slot| network.has(*slot, Network::V4)).collect();
        let what = format!("command {first}, applied: {applied}, {result:?}, on {holders:?}");
        match &result {
            Ok(()) => assert_eq!(holders, [Slot::Green], "{what}"),
            Err(error) if error.effect() == Effect::NotApplied => assert_eq!(holders, [Slot::Blue], "{what}"),
            Err(_) => assert!(!holders.is_empty(), "on none: {what}"),
        }
        unfinished += usize::from(holders.len() == 2);
        let current = sound.current().await.unwrap();
        assert!([Some(BLUE), Some(GREEN)].contains(&current), "{what}");
        sound.shift(current, GREEN).await.unwrap();
        assert_eq!(network.sole_holder(Network::V4), Slot::Green, "{what}");
    }
    assert!(unfinished > 0 || !is_full_run(), "no fault fell between adding and removing");
}
