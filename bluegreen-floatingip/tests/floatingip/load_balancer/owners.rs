//! Two services and one load balancer: the second is refused, before anything is written.

use bluegreen_core::{Endpoint, ErrorKind, Instance, Reason, Result, Router, ServiceName, Slot, Split};
use bluegreen_floatingip::LoadBalancerRouter;
use serde_json::json;

use super::setup::{OnDigitalOcean, OnHetzner};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

fn bound(router: LoadBalancerRouter, service: &str) -> LoadBalancerRouter {
    router.bind_service(&ServiceName::new(service).unwrap()).unwrap();
    router
}

fn is_anothers<T: std::fmt::Debug>(what: &str, result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, Some(Reason::OtherService)), "{what}: {error}");
    assert_eq!(error.effect(), bluegreen_core::Effect::NotApplied, "{what}");
}

/// The first shift is `shop`'s.
async fn refuses_another_service(on: &OnHetzner, router: impl Fn() -> LoadBalancerRouter) {
    let mut labels = on.lb.balancer()["labels"].clone();
    let shop = bound(router(), "shop");
    shop.current().await.unwrap();
    assert_eq!(on.server.count("PUT", ""), 0, "who only looks writes nothing");
    shop.shift(Some(BLUE), GREEN).await.unwrap();
    labels["bluegreen-service"] = json!("shop");
    assert_eq!(on.lb.balancer()["labels"], labels, "the other labels stay");
    assert_eq!(on.server.count("PUT", ""), 1, "{:?}", on.server.calls());
    on.server.forget_calls();
    let (before, other) = (on.lb.balancer(), || bound(router(), "blog"));
    let instance = Instance::Running { version: None, endpoints: vec![Endpoint::http("10.0.0.11:3000")] };
    is_anothers("current", other().current().await);
    is_anothers("plan", other().plan(Slot::Blue).await);
    is_anothers("preview", other().preview(Slot::Blue).await);
    is_anothers("attach", other().attach(Slot::Blue, &instance).await);
    is_anothers("detach", other().detach(Slot::Blue).await);
    is_anothers("in_flight", other().in_flight(Slot::Green).await);
    for to in [BLUE, GREEN] {
        is_anothers("shift", other().shift(Some(GREEN), to).await);
    }
    assert_eq!((on.server.count("PUT", ""), on.server.count("POST", "")), (0, 0), "{:?}", on.server.calls());
    assert_eq!(on.lb.balancer(), before);
    bound(router(), "shop").shift(Some(GREEN), BLUE).await.unwrap();
    assert_eq!(on.server.count("PUT", ""), 0, "the label is written once");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_refused_by_servers_at_hetzner_and_writes_nothing() {
    let on = OnHetzner::start(&[11, 12]).await;
    refuses_another_service(&on, || on.by_servers()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_refused_by_ports_at_hetzner_and_writes_nothing() {
    let on = OnHetzner::start(&[11, 12]).await;
    refuses_another_service(&on, || on.by_ports()).await;
}

/// There is nothing to mark at DigitalOcean.
#[tokio::test(flavor = "multi_thread")]
async fn a_router_at_digitalocean_serves_one_service_and_leaves_servers_and_ports_of_strangers() {
    for by_ports in [false, true] {
        let on = OnDigitalOcean::start(&[11, 12]).await;
        let router = bound(if by_ports { on.by_ports() } else { on.by_servers() }, "shop");
        is_anothers("bind", router.bind_service(&ServiceName::new("blog").unwrap()));
        // Another service's.
        on.lb.change_by_hand(|balancer| {
            balancer["droplet_ids"] = json!([98, 99]);
            for rule in balancer["forwarding_rules"].as_array_mut().unwrap() {
                rule["target_port"] = json!(9000);
            }
        });
        let before = on.lb.balancer();
        router.shift(Some(BLUE), GREEN).await.unwrap_err();
        let writes: Vec<String> = on.server.calls().into_iter().filter(|call| !call.starts_with("GET")).collect();
        assert!(writes.is_empty(), "{writes:?}");
        assert_eq!(on.lb.balancer(), before);
    }
}
