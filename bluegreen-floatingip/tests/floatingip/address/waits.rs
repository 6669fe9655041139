//! Busy clouds and rate limits.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bluegreen_core::{Effect, ErrorKind, Router};
use bluegreen_testkit::fakes::Fault;

use super::setup::{BLUE, GREEN, OnDigitalOcean, OnHetzner, V4, V6};

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_event_is_waited_for() {
    // On the address, seen in the look; on the droplet, seen in the check; on either, told only by the refusal.
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.set_locked(V4, true);
    on.cloud.set_droplet(22, "active", true);
    let router = on.router();
    let shifting = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(on.posts(), 0);
    on.cloud.set_locked(V4, false);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(on.posts(), 0);
    on.cloud.set_droplet(22, "active", false);
    shifting.await.unwrap().unwrap();
    assert_eq!((on.posts(), on.holder()), (1, Some(22)));

    for words in ["The reserved IP already has a pending event.", "Droplet already has a pending event."] {
        let on = OnDigitalOcean::at_blue(V6).await;
        on.server.fail("POST", "/actions", 3, Fault::refusal(422, "unprocessable_entity", words));
        on.router().shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!((on.posts(), on.holder()), (4, Some(22)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_event_that_never_ends_is_a_timeout_that_changed_nothing() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.set_locked(V4, true);
    let error = on.builder().deadline(Duration::from_millis(300)).build().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied));
    assert!(error.to_string().contains("pending event"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_and_locks_of_hetzner_are_waited_for() {
    let on = OnHetzner::at_blue().await;
    for (status, code) in [(409, "conflict"), (423, "locked")] {
        let body = serde_json::json!({ "error": { "code": code, "message": "not now" } });
        on.server.fail("POST", "/assign", 2, Fault::json(status, body));
    }
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((on.posts(), on.holder()), (5, Some(22)));
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_moves_the_address_while_it_is_busy_wins() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.set_locked(V4, true);
    let router = on.router();
    let shifting = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    on.cloud.move_by_hand(V4, Some(33));
    on.cloud.set_locked(V4, false);
    let error = shifting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect(), on.posts()), (ErrorKind::Conflict, Effect::NotApplied, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_kept_with_and_without_retry_after() {
    let limited = |headers| Fault::Answer(429, headers, r#"{"id":"too_many_requests","message":"slow down"}"#.into());
    for (headers, least) in [
        (&[("retry-after", "1")][..], Duration::from_secs(1)),
        (&[("ratelimit-reset", "1")][..], Duration::from_millis(250)),
        (&[][..], Duration::from_secs(2)),
    ] {
        let on = OnDigitalOcean::at_blue(V4).await;
        on.server.fail("POST", "/actions", 1, limited(headers));
        let began = Instant::now();
        on.router().shift(Some(BLUE), GREEN).await.unwrap();
        assert!(began.elapsed() >= least, "{headers:?}: {:?}", began.elapsed());
        assert_eq!(on.posts(), 2);
    }
    // One that outlasts any deploy.
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("GET", "/reserved_ips", 99, limited(&[("retry-after", "3000")]));
    let error = on.router().current().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, false));
    assert!(error.to_string().contains("over the rate limit for another 3000 s"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hetzners_quota_trickles_back_and_is_not_waited_for_until_it_is_full() {
    let in_an_hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    let reset: &'static str = Box::leak(in_an_hour.to_string().into_boxed_str());
    let headers: &'static [(&str, &str)] = Box::leak(Box::new([("ratelimit-reset", reset)]));
    let used_up = r#"{"error":{"code":"rate_limit_exceeded","message":"limit of 3600 requests per hour reached"}}"#;
    let on = OnHetzner::at_blue().await;
    on.server.fail("GET", "/servers", 1, Fault::Answer(429, headers, used_up.to_owned()));
    on.server.fail("POST", "/assign", 1, Fault::Answer(429, headers, used_up.to_owned()));
    let began = Instant::now();
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "two times a second at least: {:?}", began.elapsed());
    assert_eq!((on.posts(), on.holder()), (2, Some(22)));
}
