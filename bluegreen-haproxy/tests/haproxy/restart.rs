//! HAProxy is killed, reloaded and restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bluegreen_core::{ErrorKind, Router, Slot};
use bluegreen_haproxy::{HaproxyBackend, Mode};
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::traffic::Load;

use crate::setup::{BLUE, GREEN, Setup, builder, generated, share, start};

/// A backend that reads what the router wrote last.
fn kept() -> HaproxyBackend {
    // `{dir}` is replaced by the directory of the test, and is no path yet.
    generated(2).line("load-server-state-from-file local").line("server-state-file-name {dir}/state/servers")
}

async fn keeping(mode: Mode) -> Option<Setup> {
    Setup::of(start(kept(), mode)?, |builder| builder.state_file(true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_state_file_addresses_and_split_survive_a_reload_a_crash_and_a_restart() {
    for mode in [Mode::Http, Mode::Tcp] {
        let Some(mut s) = keeping(mode).await else { return };
        s.first().await;
        let mut now = BLUE;
        for to in [share(10), GREEN, share(50), BLUE] {
            s.router.shift(Some(now), to).await.unwrap();
            now = to;
            let known = ["blue1", "blue2", "green1", "green2"].map(|name| s.haproxy.server(name));
            for turn in 0..3 {
                match turn {
                    0 => s.haproxy.reload(),
                    1 => {
                        s.haproxy.kill();
                        s.haproxy.run();
                    }
                    _ => {
                        s.haproxy.stop();
                        s.haproxy.run();
                    }
                }
                assert_eq!(s.current().await, Some(to), "{mode:?}, {turn}");
                assert_eq!(["blue1", "blue2", "green1", "green2"].map(|name| s.haproxy.server(name)), known);
                assert_eq!(s.get().await.status, 200);
                assert_eq!(s.router.preview(Slot::Blue).await.unwrap().notes, [""; 0]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_state_file_a_restart_routes_nothing_to_anybody_and_attach_and_shift_bring_it_back() {
    let Some(mut s) = Setup::start().await else { return };
    s.first().await;
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    let before = s.blue.requests();
    s.haproxy.reload();
    assert_eq!((s.current().await, s.get().await.status.as_u16()), (None, 503));
    s.haproxy.kill();
    assert_eq!(s.router.current().await.unwrap_err().kind(), ErrorKind::Unreachable);
    s.haproxy.run();
    assert_eq!(s.blue.requests(), before, "blue may be stopped, and got a request");
    let error = s.router.shift(None, GREEN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "its addresses are forgotten too: {error}");
    s.router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    s.router.shift(None, GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_that_is_not_what_haproxy_does_is_told_before_the_next_reload() {
    let Some(s) = keeping(Mode::Http).await else { return };
    s.first().await;
    s.haproxy.cli("set weight shop/blue1 7");
    let notes = s.router.preview(Slot::Green).await.unwrap().notes;
    assert!(notes[0].contains("state/servers is not what HAProxy does"), "{notes:?}");
    s.router.shift(Some(BLUE), BLUE).await.unwrap();
    assert_eq!(s.router.preview(Slot::Green).await.unwrap().notes, [""; 0]);
}

/// Shifts go on while HAProxy is reloaded: each ends as it says, and what it says is what the new process does.
#[tokio::test(flavor = "multi_thread")]
async fn a_shift_during_a_reload_is_made_or_refused_and_the_router_tells_which() {
    let Some(s) = keeping(Mode::Http).await else { return };
    s.first().await;
    let load = Load::start(&s.haproxy.address(), "shop.test", 0, 4);
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let keeper = builder(&s.haproxy).state_file(true).build().unwrap();
    let shifts = tokio::spawn(async move {
        let (mut made, mut failed) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let Ok(from) = keeper.current().await else { continue };
            let to = if from == Some(BLUE) { GREEN } else { BLUE };
            match keeper.shift(from, to).await {
                Ok(()) => made += 1,
                Err(_) => failed += 1,
            }
        }
        (made, failed)
    });
    for _ in 0..10 {
        s.haproxy.reload();
    }
    done.store(true, Ordering::Relaxed);
    let (made, _) = shifts.await.unwrap();
    assert!(made > 10, "{made} shifts");
    let tally = load.stop().await;
    let lost = tally.failed();
    assert!(lost * 1000 <= tally.requests(), "{tally:?}");
    let from = s.current().await;
    s.router.shift(from, GREEN).await.unwrap();
    assert_eq!((s.current().await, s.get().await.body.as_str()), (Some(GREEN), "green"));
}

/// At any moment of a shift: afterwards the router is the old split, the new one, or nothing, and the same shift converges.
#[tokio::test(flavor = "multi_thread")]
async fn haproxy_killed_in_the_middle_of_a_shift_leaves_nothing_that_a_shift_does_not_put_right() {
    let Some(mut s) = keeping(Mode::Http).await else { return };
    s.first().await;
    let mut now = BLUE;
    for micros in [0, 50, 100, 200, 400, 800, 1600, 3200] {
        let to = if now == BLUE { GREEN } else { BLUE };
        let shifter = builder(&s.haproxy).state_file(true).build().unwrap();
        let shift = tokio::spawn(async move { shifter.shift(Some(now), to).await });
        tokio::time::sleep(Duration::from_micros(micros)).await;
        s.haproxy.kill();
        let result = shift.await.unwrap();
        s.haproxy.run();
        let found = s.current().await;
        if result.is_ok() {
            assert_eq!(found, Some(to), "what was confirmed is kept");
        }
        assert!([Some(now), Some(to)].contains(&found), "{found:?} after {result:?}");
        s.router.shift(found, to).await.unwrap();
        assert_eq!(s.get().await.status, 200);
        now = to;
    }
}

#[test]
fn the_generated_section_is_one_that_haproxy_takes() {
    let Some(haproxy) = TestHaproxy::start("http", "backend shop\n  server a 127.0.0.1:9") else { return };
    let path = |name: &str| haproxy.path(name).display().to_string();
    for mode in [Mode::Http, Mode::Tcp] {
        let backend = generated(3).mode(mode).state_file(path("servers")).server_options("check inter 2s maxconn 50");
        let text = format!(
            "defaults\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\nfrontend web\n  bind 127.0.0.1:8080\n  default_backend shop\n{}",
            backend.render().unwrap()
        );
        std::fs::write(path("generated.cfg"), text).unwrap();
        bluegreen_testkit::process::run(std::process::Command::new("haproxy").args([
            "-c",
            "-f",
            &path("generated.cfg"),
        ]));
    }
}
