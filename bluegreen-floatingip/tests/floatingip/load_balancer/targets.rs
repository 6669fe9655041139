//! Servers as targets at Hetzner: at which address, how many, and what the API says to it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router, Slot, Split};
use bluegreen_floatingip::{HetznerBalancer, LoadBalancerRouter};
use bluegreen_testkit::fakes::{After, Fault};
use serde_json::json;

use super::setup::{OnHetzner, pools, quick};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

/// An address in the IPv6 network of a server.
fn v6(server: u64) -> String {
    format!("2001:db8:0:{server}::1")
}

fn v4(server: u64) -> String {
    format!("192.0.2.{server}")
}

fn targets<const N: usize>(list: [(u64, String); N]) -> BTreeSet<(u64, String)> {
    list.into()
}

fn at(balancer: HetznerBalancer, server: u64, addresses: &[String]) -> HetznerBalancer {
    balancer.reached_at(server, addresses.iter().map(|address| address.parse::<IpAddr>().unwrap()))
}

fn by_servers(on: &OnHetzner, balancer: HetznerBalancer) -> LoadBalancerRouter {
    quick(balancer, &on.front).servers(pools()).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_targets_at_ipv6_addresses_or_twice_are_exchanged_and_come_back_as_they_were() {
    let on = OnHetzner::start(&[]).await;
    on.lb.without_ipv4(&[12, 23]);
    on.lb.set_targets(&[(11, None), (11, Some(&v6(11))), (12, Some(&v6(12)))]);
    let blue = targets([(11, v4(11)), (11, v6(11)), (12, v6(12))]);
    let balancer = at(at(on.balancer(), 22, &[v4(22), v6(22)]), 23, &[v6(23)]);
    let router = by_servers(&on, at(at(balancer, 11, &[v4(11), v6(11)]), 12, &[v6(12)]));
    let change = router.plan(Slot::Green).await.unwrap();
    assert!(change.lines().contains(&"targets/server 22 at 2001:db8:0:22::1: added".to_owned()), "{change}");

    // Right after the last of the old targets was removed, the API fails: they come back.
    let no_more = Fault::code(401, "unauthorized");
    on.server.fail_after(After(3, "POST", "remove_target"), "GET", "/load_balancers", 1, no_more);
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert_eq!(on.lb.reached_at(), blue);

    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.lb.reached_at(), targets([(22, v4(22)), (22, v6(22)), (23, v6(23))]));
    router.shift(Some(GREEN), BLUE).await.unwrap();
    assert_eq!(on.lb.reached_at(), blue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_whose_ipv6_address_is_not_told_is_refused_before_anything_is_changed() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.set_targets(&[(11, None), (12, Some(&v6(12)))]);
    let router = on.by_servers();
    for error in [router.plan(Slot::Green).await.unwrap_err(), router.shift(Some(BLUE), GREEN).await.unwrap_err()] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("`reached_at(22, [ADDRESS])`"), "{error}");
    }
    on.lb.reach_privately(&[11, 12]);
    let error = by_servers(&on, at(on.balancer(), 22, &[v6(22)])).shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert_eq!(on.server.count("POST", ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_ipv4_address_is_refused_in_the_words_of_the_cloud_with_advice() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.without_ipv4(&[22]);
    let error = on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("name an IPv6 address of it with `reached_at`"), "{error}");
    let foreign = by_servers(&on, at(on.balancer(), 22, &[v6(77)]));
    let error = foreign.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert_eq!(on.lb.reached_at(), targets([(11, v4(11)), (12, v4(12))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_with_more_targets_than_the_balancers_type_takes_is_refused_before_anything_is_changed() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.change_by_hand(|balancer| balancer["load_balancer_type"]["max_targets"] = json!(3));
    let router = on.by_servers();
    for error in [router.plan(Slot::Green).await.unwrap_err(), router.shift(Some(BLUE), GREEN).await.unwrap_err()] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("4 targets would be behind it"), "{error}");
    }
    assert_eq!(on.server.count("POST", ""), 0);
    let one_by_one = on.servers_builder().at_a_time(1, Duration::ZERO).build().unwrap();
    one_by_one.plan(Slot::Green).await.unwrap();
    one_by_one.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.lb.reached_at(), targets([(22, v4(22)), (23, v4(23))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_already_counts_as_removed_whatever_the_cloud_calls_that() {
    for (status, code) in [(404, "load_balancer_target_not_found"), (404, "not_found"), (422, "invalid_input")] {
        let on = OnHetzner::start(&[11, 12]).await;
        let body = json!({ "error": { "code": code, "message": "not found", "details": null } }).to_string();
        on.server.fail_after(
            After(1, "POST", "remove_target"),
            "POST",
            "remove_target",
            1,
            Fault::AnswerAfter(status, body),
        );
        on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_or_else(|error| panic!("{code}: {error}"));
        assert_eq!(on.lb.reached_at(), targets([(22, v4(22)), (23, v4(23))]), "{code}");
        assert_eq!(on.server.count("POST", "remove_target"), 2, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_whose_answer_was_lost_is_asked_for_the_rest_only() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.server.fail("POST", "remove_target", 1, Fault::DropAfter);
    on.by_servers().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.lb.reached_at(), targets([(22, v4(22)), (23, v4(23))]));
    assert_eq!(on.server.count("POST", "remove_target"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_project_and_a_maintenance_are_not_the_tokens_fault_and_a_token_that_may_only_read_is() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.server.fail("POST", "add_target", 1, Fault::code(403, "resource_limit_exceeded"));
    let error = on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("the project's limit is reached"), "{error}");
    assert!(!error.to_string().contains("token"), "{error}");

    on.server.fail("POST", "add_target", 9999, Fault::code(403, "maintenance"));
    // The deadline falls into a pause, and not into a call whose end would be unknown.
    let pause = Duration::from_millis(700);
    let router = on.servers_builder().poll_every(pause, pause).deadline(Duration::from_secs(2)).build().unwrap();
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied), "{error}");
    assert_eq!(error.to_string().matches("not done within").count(), 1, "{error}");
    assert!(error.to_string().contains("maintenance") && !error.to_string().contains("token"), "{error}");
    on.server.forget_faults();

    on.server.fail("POST", "add_target", 1, Fault::code(401, "token_readonly"));
    let error = on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("the token may only read"), "{error}");

    on.server.fail("POST", "add_target", 3, Fault::code(403, "maintenance"));
    on.by_servers().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.lb.reached_at(), targets([(22, v4(22)), (23, v4(23))]));
}
