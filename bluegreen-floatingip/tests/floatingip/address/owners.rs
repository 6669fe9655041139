//! Two services and one address: the second is refused, before anything is written.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Reason, Result, Router, ServiceName, Slot};
use bluegreen_floatingip::FloatingIpRouter;
use bluegreen_testkit::fakes::Fault;
use serde_json::json;

use super::setup::{BLUE, GREEN, NUMBER, OnDigitalOcean, OnHetzner, V4, V6, fixed};

fn bound(router: FloatingIpRouter, service: &str) -> FloatingIpRouter {
    router.bind_service(&ServiceName::new(service).unwrap()).unwrap();
    router
}

fn is_anothers<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    let error: Error = result.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, Some(Reason::OtherService)), "{what}: {error}");
    assert_eq!(error.effect(), bluegreen_core::Effect::NotApplied, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_refused_at_hetzner_by_every_method_and_writes_nothing() {
    let on = OnHetzner::start().await;
    bound(on.router(), "shop").shift(None, BLUE).await.unwrap();
    on.server.forget_calls();
    let other = || bound(on.router(), "blog");
    is_anothers("current", other().current().await);
    is_anothers("preview", other().preview(Slot::Green).await);
    is_anothers("attach", other().attach(Slot::Green, &fixed(Slot::Green)).await);
    is_anothers("detach", other().detach(Slot::Green).await);
    is_anothers("in_flight", other().in_flight(Slot::Blue).await);
    for to in [BLUE, GREEN] {
        is_anothers("shift", other().shift(Some(BLUE), to).await);
    }
    assert_eq!((on.server.count("PUT", ""), on.server.count("POST", "")), (0, 0), "{:?}", on.server.calls());
    assert_eq!(on.holder(), Some(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_move_labels_the_address_once_and_keeps_the_other_labels() {
    let on = OnHetzner::at_blue().await;
    let router = bound(on.router(), "shop");
    router.current().await.unwrap();
    router.preview(Slot::Green).await.unwrap();
    assert_eq!(on.server.count("PUT", ""), 0, "who only looks writes nothing");
    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.cloud.labels(NUMBER), json!({ "environment": "prod", "bluegreen-service": "shop" }));
    bound(on.router(), "shop").shift(Some(GREEN), BLUE).await.unwrap();
    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.server.count("PUT", ""), 1, "{:?}", on.server.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_pipeline_is_not_labelled() {
    let on = OnHetzner::at_blue().await;
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.cloud.labels(NUMBER), json!({ "environment": "prod" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_removed_gives_the_address_to_the_next_service() {
    let on = OnHetzner::at_blue().await;
    bound(on.router(), "shop").shift(Some(BLUE), GREEN).await.unwrap();
    on.cloud.label_by_hand(NUMBER, json!({}));
    bound(on.router(), "blog").shift(Some(GREEN), BLUE).await.unwrap();
    assert_eq!(on.cloud.labels(NUMBER), json!({ "bluegreen-service": "blog" }));
    is_anothers("current", bound(on.router(), "shop").current().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_whose_answer_is_lost_is_written_again_and_the_address_moves_once() {
    let on = OnHetzner::at_blue().await;
    let locked = json!({ "error": { "code": "locked", "message": "busy", "details": null } });
    for fault in [Fault::Drop, Fault::DropAfter, Fault::html(502), Fault::json(423, locked)] {
        on.cloud.label_by_hand(NUMBER, json!({}));
        on.cloud.move_by_hand(NUMBER, Some(11));
        on.server.forget_calls();
        on.server.fail("PUT", "/floating_ips", 1, fault);
        bound(on.router(), "shop").shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!((on.holder(), on.posts()), (Some(22), 1));
        assert_eq!(on.cloud.labels(NUMBER), json!({ "bluegreen-service": "shop" }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_name_no_label_can_hold_is_refused_when_the_pipeline_is_built() {
    let on = OnHetzner::start().await;
    let error = on.router().bind_service(&ServiceName::new("shop+blog").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(on.server.calls().is_empty());
}

/// There is nothing to mark at DigitalOcean.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_at_digitalocean_serves_one_service_and_leaves_what_strangers_hold() {
    for address in [V4, V6] {
        let on = OnDigitalOcean::at_blue(address).await;
        let router = bound(on.router(), "shop");
        is_anothers("bind", router.bind_service(&ServiceName::new("blog").unwrap()));
        // Another service's droplet.
        on.cloud.move_by_hand(address, Some(33));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error}");
        assert_eq!((on.posts(), on.holder()), (0, Some(33)));
    }
}
