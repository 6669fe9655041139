//! Actions that do not say how they ended.

use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router};
use bluegreen_testkit::fakes::{Ending, Fault};

use super::setup::{BLUE, GREEN, OnDigitalOcean, OnHetzner, V4, V6};

#[tokio::test(flavor = "multi_thread")]
async fn the_undocumented_word_done_is_understood() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.answer_freely();
    on.cloud.next_action(Ending::Done);
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.holder(), Some(22));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_never_found_is_answered_by_the_address() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.next_action(Ending::Invisible);
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((on.holder(), on.posts()), (Some(22), 1));

    let on = OnHetzner::at_blue().await;
    on.cloud.next_action(Ending::Invisible);
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((on.holder(), on.posts()), (Some(22), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_answer_500_for_ever_are_answered_by_the_address() {
    let on = OnDigitalOcean::at_blue(V6).await;
    on.server.fail("GET", "/v2/actions/", 9999, Fault::refusal(500, "server_error", "Unexpected server-side error"));
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((on.holder(), on.posts()), (Some(22), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_in_html_or_cut_off_or_of_unknown_words_do_not_end_a_move() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.actions_take(Duration::from_millis(80));
    on.server.fail("GET", "/actions/", 1, Fault::html(502));
    on.server.fail("GET", "/actions/", 1, Fault::Drop);
    on.server.fail("GET", "/actions/", 1, Fault::html(200));
    on.server.fail("GET", "/actions/", 1, Fault::json(200, serde_json::json!({ "action": { "status": "pondering" } })));
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((on.holder(), on.posts()), (Some(22), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_fails_leaves_the_old_split_and_says_so() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.next_action(Ending::Errored);
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error:?}");
    assert!(error.to_string().contains("gave up the move") && error.to_string().contains("holder: blue"), "{error}");
    assert_eq!(on.router().current().await.unwrap(), Some(BLUE));

    let on = OnHetzner::at_blue().await;
    on.cloud.next_action(Ending::Errored);
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error:?}");
    assert!(error.to_string().contains("action_failed: Action failed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passes_leaves_the_outcome_unknown_and_the_next_look_tells() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.actions_take(Duration::from_millis(700));
    let error = on.builder().deadline(Duration::from_millis(200)).build().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert!(error.to_string().contains("`recover`") && error.to_string().contains("action: 1000"), "{error}");
    assert_eq!(on.router().current().await.unwrap(), Some(GREEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_takes_right_after_the_move_is_no_success() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.actions_take(Duration::from_millis(100));
    let router = on.builder().poll_every(Duration::from_millis(300), Duration::from_millis(310)).build();
    let shifting = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    while on.holder() != Some(22) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    on.cloud.move_by_hand(V4, Some(33));
    let error = shifting.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::Unknown));
    assert!(error.to_string().contains("droplet 33"), "{error}");
}
