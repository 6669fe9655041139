//! Slots of several servers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bluegreen_core::{Endpoint, ErrorKind, Instance, Router, Slot};
use bluegreen_haproxy::{HaproxyRouter, Mode};
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::traffic::{App, Load, get};

use crate::setup::{BLUE, GREEN, at, builder, generated, router, share, start};

/// An HAProxy of five servers per slot, three of blue and two of green in use, and nothing routed.
async fn fleet() -> Option<(TestHaproxy, HaproxyRouter, Vec<App>, Vec<App>)> {
    let haproxy = start(generated(5), Mode::Http)?;
    let router = router(&haproxy);
    let blue = vec![App::start("blue").await, App::start("blue").await, App::start("blue").await];
    let green = vec![App::start("green").await, App::start("green").await];
    router.attach(Slot::Blue, &at(blue.iter().map(App::address))).await.unwrap();
    router.attach(Slot::Green, &at(green.iter().map(App::address))).await.unwrap();
    Some((haproxy, router, blue, green))
}

async fn counted(haproxy: &TestHaproxy, requests: u64) -> BTreeMap<String, u64> {
    let tally = Load::fixed(&haproxy.address(), "shop.test", "/", 4, requests).await;
    assert_eq!(tally.failed(), 0, "{tally:?}");
    tally.answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_over_unequal_numbers_of_servers_is_exact_and_even_within_a_slot() {
    let Some((haproxy, router, blue, green)) = fleet().await else { return };
    router.shift(None, BLUE).await.unwrap();
    let mut now = BLUE;
    for percent in [1, 7, 50, 99] {
        router.shift(Some(now), share(percent)).await.unwrap();
        now = share(percent);
        assert_eq!(router.current().await.unwrap(), Some(now));
        let before: Vec<_> = blue.iter().map(App::requests).collect();
        let answers = counted(&haproxy, 2000).await;
        let found = answers.get("green").copied().unwrap_or(0);
        assert!(found.abs_diff(u64::from(percent) * 20) <= 10, "{found} of 2000 at {percent} %");
        let each: Vec<_> = blue.iter().zip(before).map(|(app, before)| app.requests() - before).collect();
        let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
        assert!(most - least <= 20 + most / 10, "blue's servers got {each:?}");
    }
    let spare = haproxy.server("green3");
    assert_eq!((spare.1 & 1, spare.2), (1, 0), "a server without an endpoint stays out: {spare:?}");
    assert!(green.iter().all(|app| app.requests() > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_slot_grows_and_shrinks_under_traffic_and_its_share_stays() {
    let Some((haproxy, router, blue, _green)) = fleet().await else { return };
    router.shift(None, share(40)).await.unwrap();
    let load = Load::start(&haproxy.address(), "shop.test", 8, 2);
    let more = [App::start("blue").await, App::start("blue").await];
    let all = || blue.iter().chain(&more).map(App::address);
    router.attach(Slot::Blue, &at(all())).await.unwrap();
    assert_eq!(router.current().await.unwrap(), Some(share(40)));
    counted(&haproxy, 1000).await;
    assert!(more.iter().all(|app| app.requests() > 0), "the new servers get requests");

    router.attach(Slot::Blue, &at(all().skip(2))).await.unwrap();
    assert_eq!(router.current().await.unwrap(), Some(share(40)));
    let before = blue[0].requests();
    let answers = counted(&haproxy, 1000).await;
    assert_eq!(blue[0].requests(), before, "the one that is gone gets none");
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert!(answers["green"].abs_diff(400) < 100, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_keeps_its_place_when_others_come_and_go() {
    let Some((haproxy, router, ..)) = fleet().await else { return };
    router.attach(Slot::Blue, &at(["127.0.0.1:4001", "127.0.0.1:4002"])).await.unwrap();
    router.attach(Slot::Blue, &at(["127.0.0.1:4003", "127.0.0.1:4002", "127.0.0.1:4004"])).await.unwrap();
    let places: Vec<_> = ["blue1", "blue2", "blue3"].map(|name| haproxy.server(name).0).into();
    assert!(places.contains(&"127.0.0.1:4002".to_owned()), "{places:?}");
    assert_eq!(haproxy.server("blue2").0, "127.0.0.1:4002");
    let error = router.attach(Slot::Blue, &at((1..=6).map(|port| format!("127.0.0.1:{port}")))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("6 endpoints, and the backend 5 servers"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_on_other_hosts_are_reached_at_the_addresses_of_those_hosts() {
    let Some(haproxy) = start(generated(2), Mode::Http) else { return };
    let (one, two) = (App::start("blue").await, App::start("blue").await);
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    let on = |app: &App, host: &str| Endpoint::http(format!("localhost:{}", app.port)).on(host);
    let instance = Instance::Running { version: None, endpoints: vec![on(&one, "web1"), on(&two, "web2")] };
    let known = builder(&haproxy).host_address("web1", loopback).host_address("web2", loopback).build().unwrap();
    known.attach(Slot::Blue, &instance).await.unwrap();
    known.shift(None, BLUE).await.unwrap();
    counted(&haproxy, 40).await;
    assert_eq!((one.requests(), two.requests()), (20, 20));

    let far = Instance::Running { version: None, endpoints: vec![Endpoint::http("127.0.0.1:4000").on("web3")] };
    let error = known.attach(Slot::Green, &far).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(".host_address(\"web3\", ip)"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_and_other_endpoints_than_the_usual_ones_can_be_chosen() {
    let section = "backend shop\n  balance random\n  server web1 w.invalid:1 init-addr last,127.0.0.1 weight 0 disabled\n  \
                   server web2 w.invalid:1 init-addr last,127.0.0.1 weight 0 disabled\n  server sorry 127.0.0.1:9 backup\n";
    let Some(haproxy) = TestHaproxy::start("http", section) else { return };
    let router = builder(&haproxy).servers((["web1"], ["web2"])).endpoint("api").build().unwrap();
    let app = App::start("green").await;
    let endpoints = vec![Endpoint::http("127.0.0.1:1"), Endpoint::named("api", app.address())];
    router.attach(Slot::Green, &Instance::Running { version: None, endpoints }).await.unwrap();
    router.shift(None, GREEN).await.unwrap();
    assert_eq!(get(&haproxy.address(), "shop.test", "/").await.unwrap().body, "green");
}
