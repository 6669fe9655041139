//! The flag router: what it makes of changes by other hands.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bluegreen_core::memory::{MemoryHealth, MemoryRuntime, MemoryStateStore};
use bluegreen_core::{Effect, ErrorKind, LocalHost, Pipeline, Router, Slot};
use bluegreen_nginx::NginxRouter;
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::App;

use crate::setup::{BLUE, GREEN, Setup, flags, share};
use crate::sites::Sites;

fn relink(s: &Setup<NginxRouter>, target: &str) {
    let link = s.nginx.path("state/shop/live");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(target, &link).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_switched_by_hand_to_another_share_is_followed_and_seen() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    relink(&s, "green-0");
    assert_eq!(s.get().await.body, "blue");
    assert_eq!(s.current().await.unwrap(), Some(BLUE));
    let error = s.router.shift(Some(GREEN), share(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("expected 100 % green, found 100 % blue"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_something_else_is_drift_with_both_values() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    std::fs::create_dir(s.nginx.path("state/shop/mine")).unwrap();
    // To a directory that is no share; to nothing at all; to a share that was never made; to one we would not name so.
    for target in ["mine", "nowhere", "green-77", "green-00"] {
        relink(&s, target);
        let error = s.current().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{target}: {error}");
        let said = error.to_string();
        assert!(said.contains("the link says") && said.contains("nginx says"), "{said}");
        assert!(said.contains(target) || said.contains("77 % green"), "{said}");
        let error = s.router.shift(Some(BLUE), GREEN).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{target}: {error}");
    }
    let link = s.nginx.path("state/shop/live");
    std::fs::remove_file(&link).unwrap();
    std::fs::create_dir(&link).unwrap();
    assert_eq!(s.current().await.unwrap_err().kind(), ErrorKind::Conflict, "a directory in the link's place");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_flags_are_deleted_nobody_gets_traffic_and_a_shift_from_nothing_makes_them_anew() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    let before = s.blue.requests();
    std::fs::remove_dir_all(s.nginx.path("state")).unwrap();
    assert_eq!(s.get().await.status, 503);
    assert_eq!(s.blue.requests(), before, "blue may be stopped, and got a request");
    assert_eq!(s.current().await.unwrap(), None);
    assert_eq!(s.router.shift(Some(GREEN), BLUE).await.unwrap_err().kind(), ErrorKind::Conflict);

    s.router.shift(None, GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_a_surplus_flag_is_reported_and_repaired_by_the_next_shift() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.router.shift(None, share(10)).await.unwrap();
    std::fs::remove_file(s.nginx.path("state/shop/green-10/03")).unwrap();
    let error = s.current().await.unwrap_err();
    assert!(error.to_string().contains("the link says 10 % green, and 9 flags are there"), "{error}");
    s.router.shift(Some(share(10)), share(10)).await.unwrap();
    assert_eq!(s.current().await.unwrap(), Some(share(10)));

    // One too many and one too few: the number is right, the border is not.
    std::fs::remove_file(s.nginx.path("state/shop/green-10/09")).unwrap();
    std::fs::write(s.nginx.path("state/shop/green-10/55"), "").unwrap();
    let error = s.current().await.unwrap_err();
    assert!(error.to_string().contains("nginx sends bucket 9 to blue in place of green"), "{error}");
    s.router.shift(Some(share(10)), GREEN).await.unwrap();
    s.router.shift(Some(GREEN), share(10)).await.unwrap();
    assert!(!s.nginx.path("state/shop/green-10/55").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_flags_stop_a_pipeline_which_says_the_command_that_repairs_them() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    let router = NginxRouter::new(LocalHost::new(), s.nginx.config("shop")).unwrap();
    let pipeline = Pipeline::builder("shop").runtime(MemoryRuntime::new()).router(router);
    let pipeline = pipeline.store(MemoryStateStore::new()).health(MemoryHealth::new()).verify(MemoryHealth::new());
    let pipeline = pipeline.build().unwrap();
    let mut now = None;
    for (share, lost, surplus) in [(share(10), Some("03"), None), (GREEN, Some("99"), None), (BLUE, None, Some("55"))] {
        s.router.shift(now, share).await.unwrap();
        now = Some(share);
        let flag = |name: &str| s.nginx.path("state/shop/live").join(name);
        if let Some(lost) = lost {
            std::fs::remove_file(flag(lost)).unwrap();
        }
        if let Some(surplus) = surplus {
            std::fs::write(flag(surplus), "").unwrap();
        }
        let told = pipeline.status().await.unwrap_err().chain();
        let (_, command) =
            told.split_once("to repair the flags, run on the host: ").unwrap_or_else(|| panic!("{told}"));
        assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
        assert_eq!(pipeline.status().await.unwrap().observed.split, now);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_the_workers_cannot_enter_fails_the_shift_and_leaves_no_link() {
    let Some(nginx) = TestNginx::start() else { return };
    if !std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0) {
        eprintln!("skipped: nginx's workers are another user only when root starts it");
        return;
    }
    let closed = nginx.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let config =
        nginx.config("shop").layout(nginx.layout("shop").state_directory(closed.join("shop").display().to_string()));
    let router = NginxRouter::new(LocalHost::new(), config.confirm_deadline(Duration::from_secs(1))).unwrap();
    let blue = App::start("blue").await;
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();

    let error = router.shift(None, BLUE).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied), "{error:?}");
    assert!(error.chain().contains("can nginx's workers enter the directory?"), "{error:?}");
    assert!(!closed.join("shop/live").is_symlink());

    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o711)).unwrap();
    router.shift(None, BLUE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_nginx_does_not_run_any_more_is_drift() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    std::fs::remove_file(s.nginx.path("conf.d/shop.conf")).unwrap();
    assert_eq!(s.current().await.unwrap(), Some(BLUE), "nginx goes on with what it has loaded");
    let other = format!("server {{ listen {}; return 404; }}", s.nginx.address());
    std::fs::write(s.nginx.path("conf.d/other.conf"), other).unwrap();
    s.nginx.reload();
    let error = s.current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("the link says 0 % green, and nginx says status 404"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_is_not_running_is_unreachable_and_not_nothing_routed() {
    let Some(mut s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    s.nginx.stop();
    let error = s.current().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true));
    assert_eq!(s.router.shift(Some(BLUE), GREEN).await.unwrap_err().effect(), Effect::NotApplied);

    s.nginx.run();
    assert_eq!(s.current().await.unwrap(), Some(BLUE), "the split survives a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_broken_by_hand_does_not_keep_traffic_from_being_switched() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    std::fs::write(s.nginx.path("nginx.conf"), "broken {").unwrap();
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "green");
}
