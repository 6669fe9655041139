//! The flag router: when it reloads nginx, and what happens when nginx refuses.

use std::net::TcpListener;
use std::time::Duration;

use bluegreen_core::{Effect, Endpoint, ErrorKind, Instance, LocalHost, Router, Slot};
use bluegreen_nginx::NginxRouter;
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, get};

use crate::setup::{BLUE, GREEN, flags};
use crate::sites::Sites;

const SITE: &str = "conf.d/shop.conf";

#[tokio::test(flavor = "multi_thread")]
async fn attaching_what_is_attached_reloads_nothing() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let (workers, site) = (s.nginx.workers(), s.nginx.read(SITE));
    for _ in 0..3 {
        s.router.attach(Slot::Blue, &s.blue.instance()).await.unwrap();
        s.router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    }
    // Another process with the same configuration, too.
    let other = NginxRouter::new(LocalHost::new(), s.nginx.config("shop")).unwrap();
    other.attach(Slot::Green, &s.green.instance()).await.unwrap();
    assert_eq!((s.nginx.workers(), s.nginx.read(SITE)), (workers, site));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_port_of_the_idle_slot_is_taken_up_and_the_split_stays() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let (newer, workers) = (App::start("newer").await, s.nginx.workers());
    s.router.attach(Slot::Green, &newer.instance()).await.unwrap();
    assert!(s.nginx.workers().iter().all(|pid| !workers.contains(pid)), "it returned before the reload was over");
    assert_eq!(s.current().await.unwrap(), Some(BLUE));
    assert_eq!(s.get().await.body, "blue");
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "newer");
    assert!(!s.nginx.path("conf.d/.shop.conf.previous").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_endpoints_of_one_name_share_the_slots_traffic_and_others_are_left_out() {
    let Some(nginx) = TestNginx::start() else { return };
    let (one, two, api) = (App::start("one").await, App::start("two").await, App::start("api").await);
    let named = |name: &str, app: &App| Endpoint::named(name, app.address());
    let endpoints = vec![named("api", &api), named("web", &one), named("web", &two)];
    let instance = Instance::Running { version: None, endpoints };
    for (endpoint, wanted) in [(Some("web"), vec!["one", "two"]), (None, vec!["api"])] {
        let config = endpoint.map_or(nginx.config("shop"), |name| nginx.config("shop").endpoint(name));
        let router = NginxRouter::new(LocalHost::new(), config).unwrap();
        router.attach(Slot::Blue, &instance).await.unwrap();
        router.shift(router.current().await.unwrap(), BLUE).await.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..40 {
            seen.insert(get(&nginx.address(), "shop.test", "/").await.unwrap().body);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_an_address_is_refused_unless_the_configuration_has_one() {
    let Some(nginx) = TestNginx::start() else { return };
    let silent = Instance::Running { version: None, endpoints: vec![] };
    let router = NginxRouter::new(LocalHost::new(), nginx.config("shop")).unwrap();
    for instance in [&silent, &Instance::Absent] {
        let error = router.attach(Slot::Blue, instance).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied));
    }
    let hostile = Endpoint::http("127.0.0.1:80; return 200");
    let error = router.attach(Slot::Blue, &Instance::Running { version: None, endpoints: vec![hostile] }).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
    assert!(!nginx.path(SITE).exists());

    let app = App::start("fixed").await;
    let router = NginxRouter::new(LocalHost::new(), nginx.config("shop").slots((vec![app.address()], vec![]))).unwrap();
    router.attach(Slot::Blue, &silent).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    assert_eq!(get(&nginx.address(), "shop.test", "/").await.unwrap().body, "fixed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_fails_the_test_is_put_back_before_anyone_reloads() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let (site, workers) = (s.nginx.read(SITE), s.nginx.workers());
    std::fs::write(s.nginx.path("conf.d/broken.conf"), "server { listen nonsense; nonsense on; }").unwrap();
    let newer = App::start("newer").await;
    let error = s.router.attach(Slot::Green, &newer.instance()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::NotApplied));
    assert!(error.to_string().contains("broken.conf:1"), "nginx's own words are missing: {error}");
    assert_eq!((s.nginx.read(SITE), s.nginx.workers()), (site.clone(), workers));
    assert!(!s.nginx.path("conf.d/.shop.conf.previous").exists());

    std::fs::remove_file(s.nginx.path("conf.d/broken.conf")).unwrap();
    s.router.attach(Slot::Green, &newer.instance()).await.unwrap();
    assert_ne!(s.nginx.read(SITE), site);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_site_of_a_service_that_fails_the_test_is_removed_again() {
    let Some(nginx) = TestNginx::start() else { return };
    let config = nginx.config("shop").include("/no/such/file");
    let router = NginxRouter::new(LocalHost::new(), config).unwrap();
    let error = router.attach(Slot::Blue, &App::start("blue").await.instance()).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
    assert_eq!(std::fs::read_dir(nginx.path("conf.d")).unwrap().count(), 0);
    assert!(nginx.test().0);
    assert_eq!(router.current().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_busy_passes_the_test_and_is_a_refusal_all_the_same() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = format!("127.0.0.1:{}", taken.local_addr().unwrap().port());
    let (site, workers) = (s.nginx.read(SITE), s.nginx.workers());
    let router = NginxRouter::new(LocalHost::new(), s.nginx.config("shop").listen(&busy)).unwrap();
    let error = router.attach(Slot::Green, &s.green.instance()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::NotApplied), "{error:?}");
    assert!(error.to_string().contains(&format!("bind() to {busy} failed")), "{error}");
    assert_eq!((s.nginx.read(SITE), s.nginx.workers()), (site, workers));
    assert_eq!(s.current().await.unwrap(), Some(BLUE));

    drop(taken);
    router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    assert_eq!(get(&busy, "shop.test", "/").await.unwrap().body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_is_not_running_cannot_be_reloaded_and_the_site_is_as_before() {
    let Some(mut s) = flags(TestNginx::start(), |config| config).await else { return };
    let site = s.nginx.read(SITE);
    s.nginx.stop();
    let error = s.router.attach(Slot::Green, &App::start("newer").await.instance()).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("is nginx running?"), "{error}");
    assert_eq!(s.nginx.read(SITE), site);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_does_not_end_is_a_timeout_and_can_be_repeated() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    let never = s
        .nginx
        .config("shop")
        .commands(s.nginx.commands().reload(["true"]))
        .confirm_deadline(Duration::from_millis(500));
    let router = NginxRouter::new(LocalHost::new(), never).unwrap();
    let newer = App::start("newer").await;
    let error = router.attach(Slot::Green, &newer.instance()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error:?}");
    assert!(error.to_string().contains("2 workers with the old configuration still take requests"), "{error}");

    s.router.attach(Slot::Green, &newer.instance()).await.unwrap();
    s.router.shift(None, GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "newer");
    assert!(!s.nginx.path("conf.d/.shop.conf.previous").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_workers_cannot_be_seen_the_answers_must_be_new_for_longer() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let nowhere =
        s.nginx.config("shop").layout(s.nginx.layout("shop").pid_file(s.nginx.path("no.pid").display().to_string()));
    let router = NginxRouter::new(LocalHost::new(), nowhere).unwrap();
    let (newer, start) = (App::start("newer").await, std::time::Instant::now());
    router.attach(Slot::Blue, &newer.instance()).await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(1));
    for _ in 0..20 {
        assert_eq!(s.get().await.body, "newer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_that_is_cut_off_anywhere_can_be_repeated_and_leaves_nginx_a_sound_configuration() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    for step in 0..20 {
        let newer = App::start("newer").await;
        let instance = newer.instance();
        let attach = s.router.attach(Slot::Green, &instance);
        let _ = tokio::time::timeout(Duration::from_millis(step * 8), attach).await;
        assert_eq!(s.get().await.body, "blue");
        s.router.attach(Slot::Green, &newer.instance()).await.unwrap();
        assert!(s.nginx.read(SITE).contains(&newer.address()));
        assert!(s.nginx.test().0);
        assert!(!s.nginx.path("conf.d/.shop.conf.previous").exists());
        s.router.shift(Some(BLUE), GREEN).await.unwrap();
        for _ in 0..20 {
            assert_eq!(s.get().await.body, "newer", "a worker still has the old address");
        }
        s.router.shift(Some(GREEN), BLUE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_edited_by_hand_is_made_whole_by_the_next_attach() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let site = s.nginx.read(SITE);
    std::fs::write(s.nginx.path(SITE), site.replace("server {", "server {{")).unwrap();
    assert!(!s.nginx.test().0);
    s.router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    assert_eq!(s.nginx.read(SITE), site);
    assert!(s.nginx.test().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_lost_the_live_slots_address_is_not_guessed_at() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    for damage in ["", "# slots: {"] {
        std::fs::write(s.nginx.path(SITE), damage).unwrap();
        let error = s.router.attach(Slot::Green, &s.green.instance()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::NotApplied), "{error:?}");
        assert_eq!(s.get().await.body, "blue");
    }
    // Who knows the live slot's address can say it.
    s.router.attach(Slot::Blue, &s.blue.instance()).await.unwrap();
    s.router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    assert_eq!(s.get().await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_attach_at_once_do_not_undo_each_other() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    for _ in 0..5 {
        let other = NginxRouter::new(LocalHost::new(), s.nginx.config("shop")).unwrap();
        let (blue, green) = (App::start("blue").await, App::start("green").await);
        let (one, two) = (blue.instance(), green.instance());
        let (one, two) = tokio::join!(s.router.attach(Slot::Blue, &one), other.attach(Slot::Green, &two));
        // One of them may find a reload of the other's text in its way; then it can be repeated.
        if one.is_err() {
            s.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
        }
        if two.is_err() {
            other.attach(Slot::Green, &green.instance()).await.unwrap();
        }
        let site = s.nginx.read(SITE);
        assert!(site.contains(&blue.address()) && site.contains(&green.address()));
        assert_eq!(s.get().await.body, "blue");
        s.router.shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!(s.get().await.body, "green");
        s.router.shift(Some(GREEN), BLUE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_of_the_users_own_is_switched_and_never_written() {
    let Some(nginx) = TestNginx::start() else { return };
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let config = nginx.config("shop").slots(([blue.address()], [green.address()]));
    let mine = config.render().unwrap().replace("location / {", "location / {\n        add_header X-Mine yes;");
    std::fs::write(nginx.path(SITE), &mine).unwrap();
    nginx.reload();
    let router = NginxRouter::new(LocalHost::new(), config.own_files(true)).unwrap();
    router.attach(Slot::Blue, &App::start("elsewhere").await.instance()).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(router.current().await.unwrap(), Some(GREEN));
    let answer = get(&nginx.address(), "shop.test", "/").await.unwrap();
    assert_eq!((answer.body.as_str(), answer.header("x-mine")), ("green", Some("yes")));
    assert_eq!(nginx.read(SITE), mine);
}
