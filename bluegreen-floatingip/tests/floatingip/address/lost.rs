//! Answers that are lost, and an API that is down.

use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router};
use bluegreen_testkit::fakes::Fault;

use super::setup::{BLUE, GREEN, OnDigitalOcean, OnHetzner, V4, V6};

#[tokio::test(flavor = "multi_thread")]
async fn a_move_whose_answer_was_lost_is_looked_for_and_not_asked_for_again() {
    let lost = || {
        [
            Fault::DropAfter,
            Fault::AnswerAfter(502, "<html>bad gateway</html>".to_owned()),
            Fault::AnswerAfter(504, r#"{"id":"timeout","message":"gateway timeout"}"#.to_owned()),
            Fault::AnswerAfter(201, "<html>hello</html>".to_owned()),
            Fault::AnswerAfter(201, r#"{"action":{}}"#.to_owned()),
        ]
    };
    for address in [V4, V6] {
        for fault in lost() {
            let on = OnDigitalOcean::at_blue(address).await;
            on.server.fail("POST", "/actions", 1, fault.clone());
            on.router().shift(Some(BLUE), GREEN).await.unwrap();
            assert_eq!((on.holder(), on.posts()), (Some(22), 1), "{address} {fault:?}");
        }
    }
    for fault in lost() {
        let on = OnHetzner::at_blue().await;
        on.server.fail("POST", "/assign", 1, fault.clone());
        on.router().shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!((on.holder(), on.posts()), (Some(22), 1), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_never_arrived_is_asked_for_again_after_a_look() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("POST", "/actions", 1, Fault::Drop);
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((on.holder(), on.posts()), (Some(22), 2));
    let calls = on.server.calls();
    let first = calls.iter().position(|call| call.starts_with("POST")).unwrap();
    assert!(calls[first + 1].starts_with("GET /v2/reserved_ips/"), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_gets_no_answer_twice_is_unknown() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("POST", "/actions", 9, Fault::Drop);
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.effect(), on.posts()), (Effect::Unknown, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_hangs_ends_with_the_deadline_and_the_outcome_is_unknown() {
    for (fault, moved) in [(Fault::Hang, false), (Fault::HangAfter, true)] {
        let on = OnDigitalOcean::at_blue(V4).await;
        on.server.fail("POST", "/actions", 9, fault);
        let error =
            on.builder().deadline(Duration::from_millis(400)).build().shift(Some(BLUE), GREEN).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
        assert_eq!(on.router().current().await.unwrap(), Some(if moved { GREEN } else { BLUE }));
    }
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("GET", "/reserved_ips", 9, Fault::Hang);
    let error = on.builder().deadline(Duration::from_millis(400)).build().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect(), on.posts()), (ErrorKind::Timeout, Effect::NotApplied, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_down_before_the_move_changes_nothing() {
    let on = OnDigitalOcean::at_blue(V4).await;
    let router = on.builder().deadline(Duration::from_secs(3)).build();
    drop(on.server);
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied));
    assert_eq!(on.cloud.holder(V4), Some(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_are_repeated_after_answers_that_say_nothing() {
    for fault in [Fault::Drop, Fault::html(502), Fault::refusal(500, "server_error", "oops"), Fault::Endless] {
        let on = OnDigitalOcean::at_blue(V4).await;
        on.server.fail("GET", "/reserved_ips", 2, fault);
        assert_eq!(on.router().current().await.unwrap(), Some(BLUE));
        assert_eq!(on.server.calls().len(), 3);
    }
}
