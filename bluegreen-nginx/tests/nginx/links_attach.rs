//! The symlink router: only the live site takes a reload.

use bluegreen_core::{Effect, ErrorKind, Router, Slot};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, get};

use crate::setup::{BLUE, GREEN, links};

#[tokio::test(flavor = "multi_thread")]
async fn attaching_the_idle_slot_reloads_nothing() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let workers = s.nginx.workers();
    let newer = App::start("newer").await;
    s.router.attach(Slot::Green, &newer.instance()).await.unwrap();
    s.router.attach(Slot::Blue, &s.blue.instance()).await.unwrap();
    assert_eq!(s.nginx.workers(), workers);
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_port_of_the_live_slot_is_in_force_when_attach_returns() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let newer = App::start("newer").await;
    s.router.attach(Slot::Blue, &newer.instance()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(s.get().await.body, "newer");
    }
    assert!(!s.nginx.path("sites-available/.shop-blue.previous").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_backup_the_live_site_learns_where_the_idle_slot_listens() {
    let Some(s) = links(TestNginx::start(), |config| config.backup(true)).await else { return };
    s.first().await;
    let newer = App::start("newer").await;
    s.router.attach(Slot::Green, &newer.instance()).await.unwrap();
    assert!(s.nginx.read("sites-available/shop-blue").contains(&format!("server {} backup;", newer.address())));
    let address = s.nginx.address();
    drop(s.blue);
    assert_eq!(get(&address, "shop.test", "/").await.unwrap().body, "newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_reloaded_while_the_link_says_something_else_than_nginx() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    std::fs::remove_file(s.nginx.path("sites-enabled/shop")).unwrap();
    std::os::unix::fs::symlink(s.nginx.path("sites-available/shop-green"), s.nginx.path("sites-enabled/shop")).unwrap();
    let workers = s.nginx.workers();
    let error = s.router.attach(Slot::Green, &App::start("newer").await.instance()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert_eq!((s.nginx.workers(), s.get().await.body.as_str()), (workers, "blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_site_that_fails_the_test_is_put_back() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let site = s.nginx.read("sites-available/shop-blue");
    std::fs::write(s.nginx.path("conf.d/broken.conf"), "nonsense on;").unwrap();
    let error = s.router.attach(Slot::Blue, &App::start("newer").await.instance()).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("broken.conf:1"), "{error}");
    assert_eq!(s.nginx.read("sites-available/shop-blue"), site);
    assert_eq!(s.get().await.body, "blue");
}
