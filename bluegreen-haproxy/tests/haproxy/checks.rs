//! A backend that is not what it should be is refused before anything is touched.

use bluegreen_core::{Effect, ErrorKind, Router, Slot};
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::traffic::{App, get};

use crate::setup::{BLUE, GREEN, at, builder, router};

const OUT: &str = "init-addr last,127.0.0.1 weight 0 disabled";

#[tokio::test(flavor = "multi_thread")]
async fn each_unfit_backend_is_refused_with_what_is_wrong() {
    let section = |lines: &str| format!("backend shop\n  balance roundrobin\n{lines}");
    let blue = format!("  server blue1 b.invalid:1 {OUT}\n");
    let green = format!("  server green1 g.invalid:1 {OUT}\n");
    let cases = [
        (section(&blue), "has no server for green: its servers are blue1"),
        (
            section(&format!("{blue}{green}  server web1 127.0.0.1:9\n")),
            "web1 belongs to neither slot, and has traffic",
        ),
        (section(&format!("{blue}  server green1 127.0.0.1:9 backup\n")), "green1 is a backup"),
        (section(&format!("{blue}{green}")).replace("roundrobin", "static-rr"), "`balance static-rr` does not divide"),
        (section(&format!("{blue}{green}")).replace("roundrobin", "first"), "`balance first` does not divide"),
        ("backend other\n  server blue1 127.0.0.1:9\nbackend shop\n".to_owned(), "has no server for blue"),
    ];
    for (sections, wrong) in cases {
        let Some(haproxy) = TestHaproxy::start("http", &sections) else { return };
        let before = haproxy.cli("show servers state");
        let router = router(&haproxy);
        let results = [
            router.current().await.map(drop),
            router.preview(Slot::Blue).await.map(drop),
            router.shift(None, BLUE).await,
            router.attach(Slot::Blue, &at(["127.0.0.1:4000"])).await,
        ];
        for result in results {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
            assert!(error.to_string().contains(wrong), "{error}");
        }
        assert_eq!(told(&haproxy.cli("show servers state")), told(&before), "nothing was changed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_the_users_own_with_fixed_addresses_is_switched_and_never_moved() {
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let sections = format!(
        "backend shop\n  balance roundrobin\n  server blue 127.0.0.1:{}\n  server green 127.0.0.1:{} disabled\n",
        blue.port, green.port
    );
    let Some(haproxy) = TestHaproxy::start("http", &sections) else { return };
    let router = router(&haproxy);
    assert_eq!(router.current().await.unwrap(), Some(BLUE), "as the configuration has it");
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.attach(Slot::Green, &green.instance()).await.unwrap();
    // A runtime that reports no endpoints leaves the addresses to the configuration.
    router.attach(Slot::Green, &at::<String>([])).await.unwrap();
    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(get(&haproxy.address(), "shop.test", "/").await.unwrap().body, "green");

    let error = router.attach(Slot::Blue, &at(["127.0.0.1:4000"])).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert!(
        error.to_string().contains("a reload would send its requests to the address in the configuration"),
        "{error}"
    );
    let keeping = builder(&haproxy).state_file(true).build().unwrap();
    let error = keeping.attach(Slot::Green, &at(["127.0.0.2:4000"])).await.unwrap_err();
    assert!(error.to_string().contains("only where the configuration has a name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_never_given_to_a_slot_that_was_not_attached() {
    let sections = format!("backend shop\n  server blue1 b.invalid:1 {OUT}\n  server green1 g.invalid:1 {OUT}\n");
    let Some(haproxy) = TestHaproxy::start("http", &sections) else { return };
    let router = router(&haproxy);
    let error = router.shift(None, BLUE).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error}");
    let error = router.attach(Slot::Blue, &at::<String>([])).await.unwrap_err();
    assert!(error.to_string().contains("reports no endpoint"), "{error}");
    assert_eq!(router.current().await.unwrap(), None);
}

/// The columns before the time since the last change.
fn told(states: &str) -> Vec<Vec<&str>> {
    states.lines().map(|line| line.split(' ').take(9).collect()).collect()
}
