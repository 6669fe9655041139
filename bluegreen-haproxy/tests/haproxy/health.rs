//! HAProxy's own checks of the servers.

use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router, Slot};
use bluegreen_haproxy::{Mode, Park};
use bluegreen_testkit::address::free_address;
use bluegreen_testkit::patience::eventually;
use bluegreen_testkit::traffic::App;

use crate::setup::{BLUE, GREEN, Setup, at, builder, generated, share, start};

/// Checked every 50 ms; a drained slot is checked too.
async fn checked() -> Option<Setup> {
    let haproxy = start(generated(1).server_options("check inter 50ms fall 2 rise 1"), Mode::Http)?;
    Setup::of(haproxy, |builder| builder.park(Park::Drain)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_haproxys_check_holds_down_is_refused_and_named() {
    let Some(s) = checked().await else { return };
    s.first().await;
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    s.router.shift(Some(GREEN), BLUE).await.unwrap();
    s.router.attach(Slot::Green, &at([free_address()])).await.unwrap();
    let is_down = async || !s.router.preview(Slot::Green).await.unwrap().notes.is_empty();
    eventually("green is down", is_down).await;
    let notes = s.router.preview(Slot::Green).await.unwrap().notes;
    assert!(notes[0].contains("holds servers of green down: green1"), "{notes:?}");
    for to in [share(10), GREEN] {
        let error = s.router.shift(Some(BLUE), to).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unhealthy, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("holds every server of green down: green1"), "{error}");
    }
    assert_eq!((s.current().await, s.get().await.body.as_str()), (Some(BLUE), "blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_slot_that_goes_down_keeps_its_share_on_record_and_can_be_left() {
    let Some(s) = checked().await else { return };
    s.first().await;
    let Setup { router, blue, haproxy, green } = s;
    drop(blue);
    let is_down = async || !router.preview(Slot::Blue).await.unwrap().notes.is_empty();
    eventually("blue is down", is_down).await;
    assert_eq!(router.current().await.unwrap(), Some(BLUE), "it has the traffic again when it is up");
    router.shift(Some(BLUE), GREEN).await.unwrap();
    let answer = bluegreen_testkit::traffic::get(&haproxy.address(), "shop.test", "/").await.unwrap();
    assert_eq!(answer.body, "green");
    drop(green);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_slowstart_keeps_back_is_waited_for() {
    let Some(haproxy) = start(generated(1).server_options("check inter 50ms slowstart 2s"), Mode::Http) else { return };
    let apps = [App::start("blue").await, App::start("green").await];
    let patient = builder(&haproxy).build().unwrap();
    patient.attach(Slot::Blue, &apps[0].instance()).await.unwrap();
    patient.attach(Slot::Green, &apps[1].instance()).await.unwrap();
    patient.shift(None, BLUE).await.unwrap();
    let begin = std::time::Instant::now();
    patient.shift(Some(BLUE), share(50)).await.unwrap();
    assert!(begin.elapsed() > Duration::from_millis(500), "confirmed after {:?}", begin.elapsed());
    assert!(!haproxy.cli("show stat shop 4 -1").contains("UP 1/1,0"));

    patient.shift(Some(share(50)), BLUE).await.unwrap();
    let hasty = builder(&haproxy).confirm_deadline(Duration::from_millis(200)).build().unwrap();
    let error = hasty.shift(Some(BLUE), share(50)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error}");
    assert!(error.to_string().contains("slowstart"), "{error}");
}
