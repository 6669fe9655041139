//! Who holds the address, and what is refused because of that.

use bluegreen_core::{Effect, ErrorKind, Router};
use bluegreen_testkit::fakes::Fault;
use std::time::Duration;

use super::setup::{BLUE, GREEN, NUMBER, OnDigitalOcean, OnHetzner, V4, V6};

#[tokio::test(flavor = "multi_thread")]
async fn a_move_takes_a_handful_of_calls_and_never_takes_the_address_away_first() {
    for address in [V4, V6] {
        let on = OnDigitalOcean::at_blue(address).await;
        on.router().shift(Some(BLUE), GREEN).await.unwrap();
        println!("{address}: {:?}", on.server.calls());
        assert_eq!((on.holder(), on.posts()), (Some(22), 1));
        // Look, check the target, ask, look again; the rest are polls.
        let polls = on.server.count("GET", "/actions/");
        assert_eq!(on.server.calls().len() - polls, 4);
    }
    let on = OnHetzner::at_blue().await;
    on.router().shift(Some(BLUE), GREEN).await.unwrap();
    println!("Hetzner: {:?}", on.server.calls());
    assert_eq!((on.holder(), on.posts()), (Some(22), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_there_already_is_not_asked_for() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.router().shift(Some(GREEN), BLUE).await.unwrap();
    assert_eq!(on.server.calls().len(), 1, "{:?}", on.server.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_on_a_third_server_is_refused_and_named() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.move_by_hand(V4, Some(33));
    let error = on.router().current().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains("droplet 33 (web33), which is neither blue nor green"), "{error}");
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect(), on.posts()), (ErrorKind::Conflict, Effect::NotApplied, 0));

    let on = OnHetzner::at_blue().await;
    on.cloud.move_by_hand(NUMBER, Some(33));
    let error = on.router().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect(), on.posts()), (ErrorKind::Conflict, Effect::NotApplied, 0));
    assert!(error.to_string().contains("server 33"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_the_token_may_not_see_is_not_taken_for_nobody() {
    for address in [V4, V6] {
        let on = OnDigitalOcean::at_blue(address).await;
        on.cloud.hide_droplets();
        let error = on.router().current().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied));
        assert!(error.to_string().contains("droplet:read"), "{error}");
        let error = on.router().shift(None, GREEN).await.unwrap_err();
        assert_eq!((error.effect(), on.posts()), (Effect::NotApplied, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_holds_is_nothing_routed() {
    let on = OnDigitalOcean::start(V4).await;
    assert_eq!(on.router().current().await.unwrap(), None);
    assert_eq!(OnHetzner::start().await.router().current().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_waits_for_a_move_that_is_under_way() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.actions_take(Duration::from_millis(300));
    // A deployer that dies right after it has asked for the move.
    let router = on.router();
    let dying = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    while on.posts() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    dying.abort();
    assert_eq!(on.router().current().await.unwrap(), Some(GREEN), "blue would be stopped under the traffic, or green");

    // More of them than a page of the list takes.
    let on = OnHetzner::at_blue().await;
    on.cloud.past_actions(NUMBER, 60);
    on.cloud.actions_take(Duration::from_millis(300));
    let router = on.router();
    let dying = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    while on.posts() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    dying.abort();
    assert_eq!(on.router().current().await.unwrap(), Some(GREEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_after_a_shift_that_was_cut_off_waits_also_where_the_api_shows_no_pending_event() {
    // Cut off before the answer came, and while the action was polled.
    for (method, grace) in [("POST", Duration::from_secs(5)), ("GET /v2/actions", Duration::from_millis(1))] {
        let on = OnDigitalOcean::at_blue(V6).await;
        on.cloud.actions_take(Duration::from_millis(300));
        let router = on.builder().lost_reply(grace).build();
        let met = async {
            while on.server.carried_out(method, "/actions") == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = router.shift(Some(BLUE), GREEN) => panic!("it was over too soon"),
            () = met => {}
        }
        assert_eq!(router.current().await.unwrap(), Some(GREEN), "green would be stopped, and then get the address");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_was_cut_off_before_it_was_heard_is_given_up_after_a_while() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("POST", "/actions", 1, Fault::Hang);
    let router = on.router();
    let cut = tokio::time::timeout(Duration::from_millis(60), router.shift(Some(BLUE), GREEN)).await;
    assert!(cut.is_err());
    let began = std::time::Instant::now();
    assert_eq!(router.current().await.unwrap(), Some(BLUE));
    assert!(began.elapsed() >= Duration::from_millis(30), "it might have been heard");
    router.shift(Some(BLUE), BLUE).await.unwrap();
    assert_eq!(on.posts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_does_not_guess_while_a_move_never_ends() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.cloud.set_locked(V4, true);
    let error = on.builder().deadline(Duration::from_millis(200)).build().current().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied));
    assert!(error.to_string().contains("with blue and may be about to move"), "{error}");
}
