//! What the provider does not allow.

use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router, Secret};
use bluegreen_floatingip::{DigitalOceanIp, FloatingIpRouter, HetznerIp};
use bluegreen_testkit::fakes::{Fault, TOKEN};

use super::setup::{BLUE, GREEN, NUMBER, OnDigitalOcean, OnHetzner, V4, V6};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_cannot_have_the_address_is_found_before_it_is_asked_for() {
    let on = OnDigitalOcean::at_blue(V4).await;
    let to = |droplet| {
        let provider = DigitalOceanIp::new(Secret::new(TOKEN), V4.parse().unwrap(), (11, droplet)).unwrap();
        FloatingIpRouter::new(provider.api(&on.server.url()).unwrap())
    };
    on.cloud.set_droplet(22, "off", false);
    for (droplet, kind, words) in [
        (22, ErrorKind::Unhealthy, "it is off"),
        (44, ErrorKind::Config, "it is in nyc3, and the address is in fra1"),
        (55, ErrorKind::NotFound, "check droplet 55 (green)"),
    ] {
        let error = to(droplet).shift(Some(BLUE), GREEN).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, Effect::NotApplied));
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!((on.posts(), on.holder()), (0, Some(11)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_off_and_an_address_that_is_blocked_are_found_before_it_is_asked_for() {
    let on = OnHetzner::at_blue().await;
    on.cloud.set_server(22, "off", false);
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert!(error.to_string().contains("it is off"), "{error}");
    on.cloud.set_server(22, "running", false);
    on.cloud.block(NUMBER);
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert!(error.to_string().contains("blocked"), "{error}");
    assert_eq!((error.effect(), on.posts()), (Effect::NotApplied, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_another_network_zone_is_found_before_it_is_asked_for() {
    let on = OnHetzner::at_blue().await;
    let provider = HetznerIp::new(Secret::new(TOKEN), NUMBER, (11, 44)).unwrap();
    let provider = provider.api(&on.server.url()).unwrap();
    let error = FloatingIpRouter::new(provider).shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied));
    let words = "it is in the network zone us-east, and the address is in eu-central";
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!((on.posts(), on.holder()), (0, Some(11)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_server_is_waited_for_and_one_that_stays_locked_has_changed_nothing() {
    let on = OnHetzner::at_blue().await;
    on.cloud.set_server(22, "running", true);
    let hasty = on.builder().deadline(Duration::from_millis(200)).build();
    let error = hasty.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("the server is locked"), "{error}");
    let router = on.router();
    let shifting = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(on.posts(), 0);
    on.cloud.set_server(22, "running", false);
    shifting.await.unwrap().unwrap();
    assert_eq!((on.posts(), on.holder()), (1, Some(22)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_droplet_that_has_another_reserved_ip_is_an_error_in_the_words_of_the_cloud() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.reserve("203.0.113.8");
    on.cloud.move_by_hand("203.0.113.8", Some(22));
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("already has a reserved IP. (request req-0)"), "{error}");
    assert_eq!(on.posts(), 1, "what is refused is not asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_move_the_address_is_told_which_scopes_it_needs() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("POST", "/actions", 9, Fault::refusal(403, "forbidden", "You are not authorized"));
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied));
    assert!(error.to_string().contains("reserved_ip:update"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_assigned_already_says_hetzner_is_compared_with_where_it_is() {
    let on = OnHetzner::at_blue().await;
    let assigned = serde_json::json!({ "error": { "code": "floating_ip_assigned", "message": "is assigned" } });
    on.server.fail("POST", "/assign", 1, Fault::json(422, assigned));
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "it is with blue, not where it should be");
    assert!(error.to_string().contains("floating_ip_assigned"), "{error}");
}

/// As the documentation of `DigitalOceanIp` names them.
#[tokio::test(flavor = "multi_thread")]
async fn the_scopes_that_the_documentation_names_are_enough() {
    for address in [V4, V6] {
        let on = OnDigitalOcean::at_blue(address).await;
        on.server.grant(&["reserved_ip:read", "reserved_ip:update", "droplet:read", "actions:read"]);
        on.router().shift(Some(BLUE), GREEN).await.unwrap();
        let denied = on.server.count("GET", "/actions/");
        assert!(denied <= 20, "{denied} polls");
        on.server.grant(&["reserved_ip:read", "droplet:read"]);
        let error = on.router().shift(Some(GREEN), BLUE).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("actions:read"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_project_and_a_maintenance_are_not_the_tokens_fault_and_a_token_that_may_only_read_is() {
    let on = OnHetzner::at_blue().await;
    on.server.fail("POST", "/assign", 1, Fault::code(403, "resource_limit_exceeded"));
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::NotApplied), "{error}");
    assert!(!error.to_string().contains("token"), "{error}");
    on.server.fail("POST", "/assign", 1, Fault::code(401, "token_readonly"));
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("the token may only read"), "{error}");
    on.server.fail("POST", "/assign", 2, Fault::code(403, "maintenance"));
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.holder(), Some(22));
}
