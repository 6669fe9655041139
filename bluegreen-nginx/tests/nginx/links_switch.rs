//! The symlink router: the switch, and what it makes of changes by other hands.

use std::net::TcpListener;
use std::time::Duration;

use bluegreen_core::testing::sample;
use bluegreen_core::{Effect, ErrorKind, Granularity, LocalHost, PerSlot, Router, Slot, Split};
use bluegreen_nginx::NginxSymlinkRouter;
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, Load, get, open_web_socket};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::setup::{BLUE, GREEN, Setup, links, share};
use crate::sites::Sites;

const LINK: &str = "sites-enabled/shop";

fn site(s: &Setup<NginxSymlinkRouter>, slot: Slot) -> String {
    s.nginx.path(format!("sites-available/shop-{slot}")).display().to_string()
}

fn relink(s: &Setup<NginxSymlinkRouter>, target: &str) {
    std::fs::remove_file(s.nginx.path(LINK)).unwrap();
    std::os::unix::fs::symlink(target, s.nginx.path(LINK)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_switches_the_whole_traffic_and_only_that() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    assert_eq!(s.router.granularity(), Granularity::AllOrNothing);
    assert_eq!((s.current().await.unwrap(), s.nginx.link(LINK)), (None, None));
    s.first().await;
    assert_eq!((s.current().await.unwrap(), s.get().await.body.as_str()), (Some(BLUE), "blue"));
    assert_eq!(s.nginx.link(LINK), Some(site(&s, Slot::Blue)));
    let error = s.router.shift(Some(BLUE), share(10)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::NotApplied));
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.nginx.link(LINK), Some(site(&s, Slot::Green)));
    assert_eq!(s.get_path("/deployment_id").await.body, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_switch_returns_no_old_answer_comes_any_more() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let load = Load::start(&s.nginx.address(), "shop.test", 0, 8);
    let mut live = Slot::Blue;
    for _ in 0..20 {
        s.router.shift(Some(Split::all(live)), Split::all(live.other())).await.unwrap();
        live = live.other();
        for _ in 0..50 {
            assert_eq!(s.get().await.body, live.as_str());
        }
    }
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "clients that open a connection per request lose nothing: {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_stays_on_the_old_slot() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let mut socket = open_web_socket(&s.nginx.address(), "shop.test").await;
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    socket.write_all(b"x").await.unwrap();
    let mut line = String::new();
    socket.read_line(&mut line).await.unwrap();
    assert_eq!(line, "blue:x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_broken_by_hand_fails_the_switch_with_nginxs_words_and_the_link_is_back() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let workers = s.nginx.workers();
    let broken = s.nginx.read("sites-available/shop-green").replace("proxy_http_version", "proxy_nonsense");
    std::fs::write(site(&s, Slot::Green), &broken).unwrap();
    let error = s.router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::NotApplied));
    assert!(error.to_string().contains("unknown directive \"proxy_nonsense\""), "{error}");
    assert_eq!(s.nginx.link(LINK), Some(site(&s, Slot::Blue)));
    assert_eq!((s.nginx.workers(), s.nginx.test().0), (workers, true), "nobody was reloaded");
    assert_eq!(s.current().await.unwrap(), Some(BLUE));

    s.router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_switch_that_nginx_refuses_leaves_no_link() {
    let Some(s) = links(TestNginx::start(), |config| config.include("/no/such/file")).await else { return };
    let error = s.router.shift(None, BLUE).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert_eq!(s.nginx.link(LINK), None);
    assert_eq!(s.current().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_busy_passes_the_test_and_the_link_is_back_all_the_same() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let busy = format!("listen 127.0.0.1:{};", taken.local_addr().unwrap().port());
    let green = s.nginx.read("sites-available/shop-green").replacen("listen", &format!("{busy}\n    listen"), 1);
    std::fs::write(site(&s, Slot::Green), green).unwrap();
    let error = s.router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error:?}");
    assert!(error.to_string().contains("Address already in use"), "{error}");
    assert_eq!(s.nginx.link(LINK), Some(site(&s, Slot::Blue)));
    assert_eq!(s.current().await.unwrap(), Some(BLUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_switched_by_hand_without_a_reload_is_drift_and_the_next_shift_ends_it() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    // Relative, as a person may write it.
    relink(&s, "../sites-available/shop-green");
    let error = s.current().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains("the link says green, and nginx says blue"), "{error}");
    assert_eq!(s.get().await.body, "blue");

    // Back to what nginx does, or on to what the link says: both end it.
    s.router.shift(Some(BLUE), BLUE).await.unwrap();
    assert_eq!(s.nginx.link(LINK), Some(site(&s, Slot::Blue)));
    assert_eq!(s.current().await.unwrap(), Some(BLUE));
    relink(&s, "../sites-available/shop-green");
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((s.current().await.unwrap(), s.get().await.body.as_str()), (Some(GREEN), "green"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_third_file_is_drift_and_left_alone() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let third = s.nginx.path("sites-available/maintenance").display().to_string();
    let maintenance = format!("server {{ listen {}; return 503; }}", s.nginx.address());
    std::fs::write(&third, maintenance).unwrap();
    relink(&s, &third);
    s.nginx.reload();
    for error in [s.current().await.unwrap_err(), s.router.shift(Some(BLUE), GREEN).await.unwrap_err()] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
        assert!(error.to_string().contains("maintenance") && error.to_string().contains("status 503"), "{error}");
    }
    assert_eq!(s.nginx.link(LINK), Some(third));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_links_place_is_left_alone() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    std::fs::write(s.nginx.path(LINK), "# mine\n").unwrap();
    let error = s.router.shift(None, BLUE).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert_eq!(s.nginx.read(LINK), "# mine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_from_another_slot_than_the_live_one_is_a_conflict() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    for from in [None, Some(GREEN), Some(share(10))] {
        let error = s.router.shift(from, GREEN).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    }
    s.router.shift(Some(GREEN), BLUE).await.expect("it is there already");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_routers_that_shift_at_once_one_moves_the_link_and_both_tell_the_truth() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let other = NginxSymlinkRouter::new(LocalHost::new(), s.nginx.config("shop")).unwrap();
    let mut live = Slot::Blue;
    for _ in 0..5 {
        let (from, to) = (Some(Split::all(live)), Split::all(live.other()));
        let (one, two) = tokio::join!(s.router.shift(from, to), other.shift(from, to));
        one.unwrap();
        two.unwrap();
        live = live.other();
        assert_eq!(s.current().await.unwrap(), Some(to));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_is_cut_off_anywhere_can_be_repeated() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let mut live = Slot::Blue;
    for step in sample(0..20, 6, |_| ()) {
        let (from, to) = (Some(Split::all(live)), Split::all(live.other()));
        let _ = tokio::time::timeout(Duration::from_millis(step * 10), s.router.shift(from, to)).await;
        // What was begun on the host goes on there; it ends, and link and nginx agree again.
        let seen = s.current().await.unwrap();
        assert!(seen == from || seen == Some(to), "{seen:?}");
        s.router.shift(from, to).await.unwrap();
        live = live.other();
        for _ in 0..30 {
            assert_eq!(s.get().await.body, live.as_str(), "cut off after {step}0 ms: the repeated switch was not over");
        }
        assert_eq!(s.current().await.unwrap(), Some(to));
        assert!(!s.nginx.path("state/shop/switching").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_not_sent_to_a_slot_that_nothing_is_attached_to() {
    let Some(nginx) = TestNginx::start() else { return };
    let router = NginxSymlinkRouter::new(LocalHost::new(), nginx.config("shop")).unwrap();
    let error = router.shift(None, BLUE).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied));
    assert_eq!(nginx.link(LINK), None);
}

/// The files of a classic hand-made setup, with nothing of ours in them.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_users_own_are_switched_and_never_written() {
    let Some(nginx) = TestNginx::start() else { return };
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let mut texts = Vec::new();
    for (slot, app) in [(Slot::Blue, &blue), (Slot::Green, &green)] {
        let text = format!(
            "upstream phoenix-{slot} {{ server {}; }}
             server {{
                 server_name shop.test;
                 listen {};
                 location /deployment_id {{ return 200 \"{slot}\"; }}
                 location / {{ proxy_pass http://phoenix-{slot}; }}
             }}\n",
            app.address(),
            nginx.address()
        );
        let path = nginx.path(format!("sites-available/{slot}"));
        std::fs::write(&path, &text).unwrap();
        texts.push((path, text));
    }
    let own = PerSlot::from_fn(|slot| nginx.path(format!("sites-available/{slot}")).display().to_string());
    let config = nginx.config("shop").own_files(true).layout(nginx.layout("shop").slot_files(own));
    let router = NginxSymlinkRouter::new(LocalHost::new(), config).unwrap();
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    assert_eq!(router.current().await.unwrap(), Some(BLUE));
    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(get(&nginx.address(), "shop.test", "/").await.unwrap().body, "green");
    for (path, text) in texts {
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
}
