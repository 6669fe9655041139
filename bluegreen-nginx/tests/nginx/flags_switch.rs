//! The flag router: what clients see of its switches.

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{Effect, Error, ErrorKind, Granularity, LocalHost, Reason, Router, Slot};
use bluegreen_nginx::{BucketBy, NginxRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, Client, Load, get, open_web_socket};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::setup::{BLUE, GREEN, flags, share};
use crate::sites::Sites;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_routed_before_the_first_shift() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    assert_eq!(s.router.granularity(), Granularity::Percent);
    assert_eq!(s.current().await.unwrap(), None);
    assert_eq!(s.get().await.status, 503);
    assert_eq!(s.blue.requests() + s.green.requests(), 0);

    s.first().await;
    assert_eq!(s.current().await.unwrap(), Some(BLUE));
    assert_eq!(s.get().await.body, "blue");
    assert_eq!(s.get_path("/deployment_id").await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_before_the_caller_has_written_down_that_it_is() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let (site, newer) = (s.nginx.read("conf.d/shop.conf"), App::start("newer").await);
    let refused = || {
        Box::pin(async {
            // Until all looks are over.
            tokio::time::sleep(Duration::from_millis(500)).await;
            Err(Error::new(ErrorKind::Conflict, "the lease is lost"))
        })
    };
    let shifted = s.router.shift_after(Some(BLUE), GREEN, refused()).await;
    let attached = s.router.attach_after(Slot::Green, &newer.instance(), refused()).await;
    for result in [shifted, attached] {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("the lease is lost"), "{error}");
    }
    assert_eq!((s.current().await.unwrap(), s.nginx.read("conf.d/shop.conf")), (Some(BLUE), site));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_switches_under_load_lose_no_request_and_are_over_when_they_return() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let load = Load::start(&s.nginx.address(), "shop.test", 32, 8);
    let mut live = Slot::Blue;
    for _ in 0..100 {
        s.router.shift(Some(bluegreen_core::Split::all(live)), bluegreen_core::Split::all(live.other())).await.unwrap();
        live = live.other();
        for _ in 0..3 {
            assert_eq!(s.get().await.body, live.as_str(), "an old answer after the switch was confirmed");
        }
    }
    let tally = load.stop().await;
    assert_eq!(tally.failures, BTreeMap::new());
    assert!(tally.requests() > 1000 && tally.of("blue") > 0 && tally.of("green") > 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_measured_split_is_the_one_that_was_asked_for() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let mut now = BLUE;
    // Four standard deviations of a fair draw of 20,000: 0.28, 0.85 and 1.41 points.
    for (percent, tolerance) in [(1, 0.28), (10, 0.85), (50, 1.41)] {
        s.router.shift(Some(now), share(percent)).await.unwrap();
        now = share(percent);
        let tally = Load::fixed(&s.nginx.address(), "shop.test", "/", 16, 20_000).await;
        assert_eq!((tally.requests(), tally.failed()), (20_000, 0));
        let measured = tally.of("green") as f64 / 200.0;
        assert!((measured - f64::from(percent)).abs() < tolerance, "{measured} % in place of {percent} %");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_split_holds_for_clients_that_open_a_connection_per_request() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.router.shift(None, share(50)).await.unwrap();
    let mut green = 0;
    for _ in 0..1000 {
        green += u32::from(s.get().await.body == "green");
    }
    // Four standard deviations: 63.
    assert!((437..=563).contains(&green), "{green} of 1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_share_from_0_to_100_is_confirmed_bucket_by_bucket() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    let mut now = None;
    for percent in [0, 1, 7, 50, 99, 100] {
        s.router.shift(now, share(percent)).await.unwrap();
        now = Some(share(percent));
        assert_eq!(s.current().await.unwrap(), now);
        let mut green = 0;
        for bucket in 0..100 {
            let answer = s.get_path(&format!("/deployment_id?bucket={bucket:02}")).await.body;
            assert_eq!(answer, if bucket < percent { "green" } else { "blue" }, "bucket {bucket} at {percent} %");
            green += u8::from(answer == "green");
        }
        assert_eq!(green, percent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_requests_and_web_sockets_stay_on_the_slot_they_began_on() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let mut socket = open_web_socket(&s.nginx.address(), "shop.test").await;
    let address = s.nginx.address();
    let slow = tokio::spawn(async move { get(&address, "shop.test", "/slow?1500").await.unwrap().body });
    tokio::time::sleep(Duration::from_millis(300)).await;

    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.get().await.body, "green");
    socket.write_all(b"x").await.unwrap();
    let mut line = String::new();
    socket.read_line(&mut line).await.unwrap();
    assert_eq!(line, "blue:x\n");
    assert_eq!(slow.await.unwrap(), "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_the_sticky_cookie_moves_to_the_growing_slot_once_and_never_back() {
    let sticky = |config: bluegreen_nginx::NginxConfig| config.bucket_by(BucketBy::Cookie("shop_bucket".into()));
    let Some(s) = flags(TestNginx::start(), sticky).await else { return };
    s.router.shift(None, share(0)).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let answer = s.get().await;
        let cookie = answer.header("set-cookie").expect("a new client gets a cookie").to_owned();
        assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"), "{cookie}");
        clients.push((cookie.split(';').next().unwrap().to_owned(), answer.body));
    }
    let mut now = share(0);
    for percent in [10, 50, 90, 100] {
        s.router.shift(Some(now), share(percent)).await.unwrap();
        now = share(percent);
        for (cookie, last) in &mut clients {
            let mut client = Client::connect(&s.nginx.address(), "shop.test").await.unwrap();
            let request = || hyper::Request::get("/").header("cookie", cookie.as_str());
            let answer = client.send(request()).await.unwrap();
            assert_eq!(answer.header("set-cookie"), None, "a client that has a cookie keeps it");
            assert_eq!(client.send(request()).await.unwrap().body, answer.body);
            let bucket: u8 = cookie.rsplit('=').next().unwrap().parse().unwrap();
            assert_eq!(answer.body, if bucket < percent { "green" } else { "blue" });
            assert!(!(last == "green" && answer.body == "blue"), "a client moved back");
            *last = answer.body;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cookie_reads_no_other_file() {
    let sticky = |config: bluegreen_nginx::NginxConfig| config.bucket_by(BucketBy::Cookie("b".into()));
    let Some(s) = flags(TestNginx::start(), sticky).await else { return };
    s.first().await;
    // A bucket that reached the file check unchecked would find these and answer green.
    for forged in
        ["../../../../../../etc/passwd", "..", ".", "/etc/passwd", "1", "001", "0a", "%2e%2e", "00/../../live"]
    {
        let mut client = Client::connect(&s.nginx.address(), "shop.test").await.unwrap();
        let answer = client.send(hyper::Request::get("/").header("cookie", format!("b={forged}"))).await.unwrap();
        assert_eq!(answer.body, "blue", "{forged}");
        assert!(answer.header("set-cookie").is_some(), "{forged}: a cookie that is none of ours is replaced");
        let answer = s.get_path(&format!("/deployment_id?bucket={forged}")).await;
        assert_eq!(answer.body, "blue", "{forged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_address_stays_on_its_slot() {
    let by_address = |config: bluegreen_nginx::NginxConfig| config.bucket_by(BucketBy::ClientAddress);
    let Some(s) = flags(TestNginx::start(), by_address).await else { return };
    s.router.shift(None, share(50)).await.unwrap();
    let first = s.get().await.body;
    for _ in 0..50 {
        assert_eq!(s.get().await.body, first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_open_files_in_nginx_does_not_delay_a_switch() {
    let cache = "open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s; open_file_cache_min_uses 1;
                 open_file_cache_errors on; disable_symlinks on;";
    let Some(s) = flags(TestNginx::start_with(cache), |config| config).await else { return };
    s.first().await;
    let mut now = BLUE;
    for next in [GREEN, BLUE, GREEN, BLUE] {
        s.router.shift(Some(now), next).await.unwrap();
        now = next;
        for _ in 0..20 {
            assert_eq!(s.get().await.body, next.sole().unwrap().as_str());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_from_another_split_than_the_present_one_is_a_conflict() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    for from in [None, Some(GREEN), Some(share(10))] {
        let error = s.router.shift(from, share(30)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    }
    assert_eq!(s.current().await.unwrap(), Some(BLUE));
    s.router.shift(Some(GREEN), BLUE).await.expect("it is there already");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_routers_that_shift_at_once_exactly_one_wins() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let other = NginxRouter::new(LocalHost::new(), s.nginx.config("shop")).unwrap();
    let mut now = BLUE;
    for round in 0..20 {
        let targets = if round % 2 == 0 { [share(10), share(50)] } else { [share(20), GREEN] };
        let results = tokio::join!(s.router.shift(Some(now), targets[0]), other.shift(Some(now), targets[1]));
        let results = [results.0, results.1];
        let winners: Vec<_> = (0..2).filter(|index| results[*index].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        let loser = results.into_iter().find_map(Result::err).unwrap();
        assert_eq!((loser.kind(), loser.effect()), (ErrorKind::Conflict, Effect::NotApplied));
        now = targets[winners[0]];
        assert_eq!(s.current().await.unwrap(), Some(now));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_is_cut_off_anywhere_leaves_the_old_or_the_new_split_and_can_be_repeated() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let mut now = BLUE;
    for millis in 0..40 {
        let next = if now == BLUE { share(30) } else { BLUE };
        let _ = tokio::time::timeout(Duration::from_millis(millis), s.router.shift(Some(now), next)).await;
        let seen = s.current().await.unwrap();
        assert!(seen == Some(now) || seen == Some(next), "{seen:?} after {millis} ms");
        s.router.shift(Some(now), next).await.unwrap();
        assert_eq!(s.current().await.unwrap(), Some(next));
        now = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_not_sent_to_a_slot_that_nothing_is_attached_to() {
    let Some(nginx) = TestNginx::start() else { return };
    let router = NginxRouter::new(LocalHost::new(), nginx.config("shop")).unwrap();
    let blue = App::start("blue").await;
    let error = router.shift(None, BLUE).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied));

    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    for split in [GREEN, share(1)] {
        let error = router.shift(None, split).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied));
    }
    router.shift(None, BLUE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_have_a_long_name() {
    let Some(nginx) = TestNginx::start() else { return };
    let app = App::start("app").await;
    for name in ["hopwhistle-api.production", &"a".repeat(60), &"b-".repeat(30)] {
        let name = name.trim_end_matches('-');
        let config =
            nginx.config(name).server_name("long.test").bucket_by(bluegreen_nginx::BucketBy::Cookie("x".into()));
        let router = NginxRouter::new(LocalHost::new(), config).unwrap();
        router.attach(Slot::Blue, &app.instance()).await.unwrap();
        router.shift(None, BLUE).await.unwrap();
        assert_eq!(router.current().await.unwrap(), Some(BLUE), "{name}");
        std::fs::remove_file(nginx.path(format!("conf.d/{name}.conf"))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_on_one_nginx_do_not_meet() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    // Only the sign in the middle is different.
    let other = NginxRouter::new(LocalHost::new(), s.nginx.config("shop.eu")).unwrap();
    let third = NginxRouter::new(LocalHost::new(), s.nginx.config("shop-eu")).unwrap();
    let app = App::start("other").await;
    for router in [&other, &third] {
        router.attach(Slot::Blue, &app.instance()).await.unwrap();
        router.attach(Slot::Green, &app.instance()).await.unwrap();
        assert_eq!(router.current().await.unwrap(), None);
    }
    other.shift(None, GREEN).await.unwrap();
    assert_eq!((s.current().await.unwrap(), third.current().await.unwrap()), (Some(BLUE), None));
    assert_eq!(other.current().await.unwrap(), Some(GREEN));
    assert_eq!(s.get().await.body, "blue");
    assert_eq!(get(&s.nginx.address(), "shop.eu.test", "/").await.unwrap().body, "other");
    assert_eq!(get(&s.nginx.address(), "shop-eu.test", "/").await.unwrap().status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_backup_the_other_slot_answers_for_one_that_is_gone_and_without_it_does_not() {
    let Some(s) = flags(TestNginx::start(), |config| config.backup(true)).await else { return };
    s.first().await;
    drop(s.blue);
    assert_eq!(get(&s.nginx.address(), "shop.test", "/").await.unwrap().body, "green");

    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    drop(s.blue);
    assert_eq!(get(&s.nginx.address(), "shop.test", "/").await.unwrap().status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_of_another_service_is_left_alone_whatever_directory_the_state_is_in() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let site = s.nginx.read("conf.d/shop.conf");
    let path = s.nginx.path("conf.d/shop.conf").display().to_string();
    let router =
        NginxRouter::new(LocalHost::new(), s.nginx.config("blog").layout(s.nginx.layout("blog").site_file(path)))
            .unwrap();
    let results = [
        router.attach(Slot::Green, &s.green.instance()).await,
        router.preview(Slot::Green).await.map(drop),
        router.in_flight(Slot::Blue).await.map(drop),
        router.shift(None, GREEN).await,
    ];
    for result in results {
        assert_eq!(result.unwrap_err().reason(), Some(Reason::OtherService));
    }
    assert_eq!((s.nginx.read("conf.d/shop.conf"), s.get().await.body.as_str()), (site, "blue"));
}
