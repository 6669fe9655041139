//! Clients that are bound to a server.

use bluegreen_core::{Router, Slot};
use bluegreen_haproxy::{Mode, Park};
use bluegreen_testkit::traffic::Client;
use hyper::Request;

use crate::setup::{BLUE, GREEN, Setup, generated, share, start};

/// The slot that answers a client with this cookie, and the cookie that it has afterwards.
async fn ask(address: &str, cookie: Option<&str>) -> (String, Option<String>) {
    let mut request = Request::get("/");
    if let Some(cookie) = cookie {
        request = request.header("cookie", format!("slot={cookie}"));
    }
    let answer = Client::connect(address, "shop.test").await.unwrap().send(request).await.unwrap();
    let set = answer.header("set-cookie").and_then(|set| set.strip_prefix("slot=")?.split(';').next());
    let cookie = set.map(str::to_owned).or(cookie.map(str::to_owned));
    (answer.body, cookie)
}

async fn by_cookie(park: Park) -> Option<Setup> {
    let section = "backend shop\n  balance roundrobin\n  cookie slot insert indirect nocache\n  \
                   server blue1 b.invalid:1 init-addr last,127.0.0.1 weight 0 disabled cookie b1\n  \
                   server green1 g.invalid:1 init-addr last,127.0.0.1 weight 0 disabled cookie g1\n";
    let haproxy = bluegreen_testkit::haproxy::TestHaproxy::start("http", section)?;
    Setup::of(haproxy, |builder| builder.park(park)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_a_cookie_stay_during_a_canary_and_all_move_with_the_whole_traffic() {
    let Some(s) = by_cookie(Park::Maintenance).await else { return };
    s.first().await;
    let address = s.haproxy.address();
    let mut cookie = ask(&address, None).await.1;
    assert_eq!(cookie.as_deref(), Some("b1"));
    s.router.shift(Some(BLUE), share(90)).await.unwrap();
    for _ in 0..50 {
        let (slot, now) = ask(&address, cookie.as_deref()).await;
        assert_eq!(slot, "blue", "a canary takes no client away");
        cookie = now;
    }
    s.router.shift(Some(share(90)), GREEN).await.unwrap();
    let (slot, now) = ask(&address, cookie.as_deref()).await;
    assert_eq!((slot.as_str(), now.as_deref()), ("green", Some("g1")), "and is bound to the new slot");
    s.router.shift(Some(GREEN), BLUE).await.unwrap();
    assert_eq!(ask(&address, now.as_deref()).await.0, "blue", "so it is after a rollback");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_slot_keeps_the_clients_that_are_bound_to_it_and_gets_no_others() {
    let Some(s) = by_cookie(Park::Drain).await else { return };
    s.first().await;
    let address = s.haproxy.address();
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.current().await, Some(GREEN));
    assert_eq!(s.haproxy.server("blue1").1 & 8, 8, "blue1 is drained");
    assert_eq!(ask(&address, Some("b1")).await.0, "blue");
    for _ in 0..20 {
        assert_eq!(ask(&address, None).await.0, "green");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_a_stick_table_is_respected_in_a_canary_and_left_behind_by_a_shift_of_everything() {
    let backend = generated(1).line("stick-table type ip size 1k expire 1h").line("stick on src");
    for mode in [Mode::Http, Mode::Tcp] {
        let Some(haproxy) = start(backend.clone(), mode) else { return };
        let Some(s) = Setup::of(haproxy, |builder| builder).await else { return };
        s.first().await;
        assert_eq!(s.get().await.body, "blue");
        s.router.shift(Some(BLUE), share(99)).await.unwrap();
        for _ in 0..20 {
            assert_eq!(s.get().await.body, "blue", "{mode:?}");
        }
        s.router.shift(Some(share(99)), GREEN).await.unwrap();
        for _ in 0..20 {
            assert_eq!(s.get().await.body, "green", "{mode:?}");
        }
        assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), Some(0));
    }
}
