//! Who gets which request.

use crate::support::*;
use bluegreen_core::{
    Endpoint, ErrorKind, Instance, MetricSource, OperationId, Release, Router, SLOT_HEADER, Sample, ServiceName, Slot,
    Target, VERSION_HEADER, Version,
};
use bluegreen_local::Proxy;

#[tokio::test]
async fn every_hundred_requests_are_divided_exactly_and_evenly() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 10).await;
    let mut client = Client::connect(front.address).await;
    for index in 1..=100 {
        let expected = if index % 10 == 0 { "green" } else { "blue" };
        assert_eq!(client.get("/").await.unwrap().text(), expected, "request {index}");
    }
    front.shift_to(37).await;
    let (mut clients, before) = (Vec::new(), green.requests());
    for _ in 0..10 {
        clients.push(Client::connect(front.address).await);
    }
    let all = clients.iter_mut().map(async |client| {
        for _ in 0..20 {
            client.get("/").await.unwrap();
        }
    });
    futures::future::join_all(all).await;
    assert_eq!(green.requests() - before, 74);
}

#[tokio::test]
async fn nothing_routed_is_503_by_the_proxy_until_traffic_is_shifted() {
    let front = Front::start(Proxy::builder()).await;
    assert_eq!(front.router.current().await.unwrap(), None);
    let reply = fetch(front.address, "/").await;
    assert_eq!(reply.status, 503);
    assert!(reply.header("proxy-status").unwrap().starts_with("bluegreen-proxy; error="));

    let blue = Service::start("blue").await;
    front.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    assert_eq!(fetch(front.address, "/").await.status, 503, "attach moves no traffic");
    front.router.shift(None, toward_green(0)).await.unwrap();
    assert_eq!(fetch(front.address, "/").await.text(), "blue");
}

#[tokio::test]
async fn a_shift_is_a_compare_and_swap() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    for from in [None, Some(toward_green(50))] {
        let error = front.router.shift(from, toward_green(100)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, bluegreen_core::Effect::NotApplied));
        assert_eq!(fetch(front.address, "/").await.text(), "blue");
    }
    front.router.shift(Some(toward_green(50)), toward_green(0)).await.unwrap();
    front.router.shift(Some(toward_green(0)), toward_green(100)).await.unwrap();
    assert_eq!(fetch(front.address, "/").await.text(), "green");
    assert_eq!(front.router.current().await.unwrap(), Some(toward_green(100)));
}

#[tokio::test]
async fn an_instance_without_an_endpoint_is_refused_and_changes_nothing() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    for instance in [Instance::Absent, Instance::Running { version: None, endpoints: Vec::new() }] {
        let error = front.router.attach(Slot::Blue, &instance).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, bluegreen_core::Effect::NotApplied));
    }
    let error = front.router.attach(Slot::Blue, &instance_at("no address")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(fetch(front.address, "/").await.text(), "blue");
}

#[tokio::test]
async fn a_client_with_the_cookie_stays_on_its_slot_until_that_has_no_share() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::with(Proxy::builder().sticky_cookie("lane"), &blue, &green, 0).await;
    let ask = async |cookie: &str| {
        let mut client = Client::connect(front.address).await;
        let request = request("GET", "/").header("cookie", cookie).body(TestBody::text("")).unwrap();
        let reply = client.ask(request).await.unwrap();
        (reply.text().to_owned(), reply.header("set-cookie").map(|line| line.split(';').next().unwrap().to_owned()))
    };
    assert_eq!(ask("a=b").await, ("blue".to_owned(), None), "no cookie while traffic is whole");

    front.shift_to(10).await;
    let mut lanes = Vec::new();
    for _ in 0..20 {
        let (slot, cookie) = ask("a=b").await;
        lanes.push((slot, cookie.unwrap()));
    }
    assert_eq!(lanes.iter().filter(|(slot, _)| slot == "green").count(), 2);
    for percent in [10, 50, 90] {
        if percent > 10 {
            front.shift_to(percent).await;
        }
        for (slot, cookie) in &lanes {
            assert_eq!(ask(&format!("a=b; {cookie}")).await, (slot.clone(), None), "at {percent} %");
        }
    }
    front.shift_to(100).await;
    for (_, cookie) in &lanes {
        assert_eq!(ask(cookie).await, ("green".to_owned(), None));
    }
}

#[tokio::test]
async fn the_slot_is_named_only_when_asked_for() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let plain = Front::before(&blue, &green, 100).await;
    let reply = fetch(plain.address, "/").await;
    assert!(reply.headers.iter().all(|(name, value)| name == "x-service" || value != "green"), "{reply:?}");

    let named = Front::with(Proxy::builder().slot_header("X-Service"), &blue, &green, 100).await;
    assert_eq!(
        fetch(named.address, "/").await.headers.get_all("x-service").iter().count(),
        1,
        "the service has its own"
    );
    green.kill().await;
    let reply = fetch(named.address, "/").await;
    assert_eq!((reply.status.as_u16(), reply.header("x-service")), (502, Some("green")));
    assert!(Proxy::builder().slot_header("no header").build().is_err());
}

#[tokio::test]
async fn each_answer_names_its_release_when_asked_for() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::with(Proxy::builder().release_headers(true), &blue, &green, 50).await;
    let version = |text: &str| Some(Version::new(text).unwrap());
    for (slot, service, text) in [(Slot::Blue, &blue, "1.4.0+build.7"), (Slot::Green, &green, "1.5.0")] {
        let endpoints = vec![Endpoint::http(service.address.to_string())];
        front.router.attach(slot, &Instance::Running { version: version(text), endpoints }).await.unwrap();
    }
    for _ in 0..10 {
        let reply = fetch(front.address, "/release").await;
        let expected = match reply.header(SLOT_HEADER).unwrap() {
            "blue" => "1.4.0+build.7",
            _ => "1.5.0",
        };
        let versions: Vec<_> = reply.headers.get_all(VERSION_HEADER).iter().collect();
        assert_eq!(versions, [expected], "the service's own is dropped");
    }
}

#[tokio::test]
async fn the_counters_count_what_each_slot_answered_and_failed() {
    let (blue, green) = (Service::start("blue").await, Service::start("green").await);
    let front = Front::before(&blue, &green, 0).await;
    for path in ["/", "/status/404", "/status/500", "/status/503"] {
        fetch(front.address, path).await;
    }
    blue.kill().await;
    assert_eq!(fetch(front.address, "/").await.status, 502);
    let counters = async |slot| {
        let target = Target::new(
            ServiceName::new("shop").unwrap(),
            slot,
            Release::new("1").unwrap(),
            OperationId::new("op").unwrap(),
        );
        match front.router.sample(&target, &Instance::Absent).await.unwrap() {
            Sample::Data(series) => series.into_values().map(|have| (have.requests, have.bad)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(counters(Slot::Blue).await, [(5, 3)]);
    assert_eq!(counters(Slot::Green).await, [(0, 0)]);
}
