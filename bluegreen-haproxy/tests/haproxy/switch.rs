//! Switches under traffic.

use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router, Slot, Split};
use bluegreen_haproxy::Mode;
use bluegreen_testkit::patience::eventually;
use bluegreen_testkit::traffic::{Load, open_web_socket};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::setup::{BLUE, GREEN, Setup, generated, share, start};

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_in_switches_and_canaries_in_both_modes() {
    for mode in [Mode::Http, Mode::Tcp] {
        let Some(s) = Setup::of(
            match start(generated(1), mode) {
                Some(haproxy) => haproxy,
                None => return,
            },
            |builder| builder,
        )
        .await
        else {
            return;
        };
        s.first().await;
        let load = Load::start(&s.haproxy.address(), "shop.test", 8, 4);
        for _ in 0..10 {
            let mut now = BLUE;
            for to in [share(1), share(50), GREEN, share(25), BLUE] {
                s.router.shift(Some(now), to).await.unwrap();
                now = to;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let tally = load.stop().await;
        assert_eq!(tally.failed(), 0, "{mode:?}: {tally:?}");
        assert!(tally.of("blue") > 50 && tally.of("green") > 50, "{mode:?}: {tally:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slot_gets_exactly_its_share_of_many_requests() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    let mut now = BLUE;
    for percent in [1, 10, 50] {
        s.router.shift(Some(now), share(percent)).await.unwrap();
        now = share(percent);
        let tally = Load::fixed(&s.haproxy.address(), "shop.test", "/", 8, 2000).await;
        assert_eq!((tally.failed(), tally.requests()), (0, 2000));
        // Weights are exact over each round; two workers of HAProxy share one count.
        let (found, wanted) = (tally.of("green"), u64::from(percent) * 20);
        assert!(found.abs_diff(wanted) <= 4, "{found} of 2000 at {percent} %");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_stays_where_it_is_and_is_counted_until_it_ends() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    let mut socket = open_web_socket(&s.haproxy.address(), "shop.test").await;
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "green");
    socket.get_mut().write_all(b"x").await.unwrap();
    let mut line = String::new();
    socket.read_line(&mut line).await.unwrap();
    assert_eq!(line, "blue:x\n");
    assert_eq!(s.router.in_flight(Slot::Blue).await.unwrap(), Some(1));
    assert_eq!(s.router.in_flight(Slot::Green).await.unwrap(), Some(0));
    drop(socket);
    eventually("the socket has ended", async || s.router.in_flight(Slot::Blue).await.unwrap() == Some(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_that_died_with_the_lock_holds_nobody_up_for_long_and_its_lock_is_taken_once() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    let dead = "0123456789abcdef0123456789abcdef";
    let take = format!("experimental-mode on;set var proc.bluegreen_lock_shop str({dead})");
    s.haproxy.cli(&take);
    let other = crate::setup::router(&s.haproxy);
    let (one, two) = tokio::join!(s.router.shift(Some(BLUE), share(30)), other.shift(Some(BLUE), share(70)));
    let (won, lost) = if one.is_ok() { (share(30), two) } else { (share(70), one) };
    let lost = lost.unwrap_err();
    assert_eq!((lost.kind(), lost.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{lost}");
    assert_eq!(s.current().await, Some(won));
    // Nobody holds it any more.
    let lock = s.haproxy.cli("get var proc.bluegreen_lock_shop");
    assert!(lock.starts_with("Variable not found"), "{lock}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deployers_at_once_move_the_traffic_one_after_the_other() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    let shifts = (1..=20).map(|percent| {
        let router = crate::setup::router(&s.haproxy);
        async move { (percent, router.shift(Some(BLUE), share(percent)).await) }
    });
    let mut won = Vec::new();
    for (percent, result) in futures_of(shifts).await {
        match result {
            Ok(()) => won.push(percent),
            Err(error) => {
                assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}")
            }
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(s.current().await, Some(Split::toward(Slot::Green, won[0]).unwrap()));
}

async fn futures_of<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut set: tokio::task::JoinSet<T> = futures.collect();
    let mut all = Vec::new();
    while let Some(done) = set.join_next().await {
        all.push(done.unwrap());
    }
    all
}
