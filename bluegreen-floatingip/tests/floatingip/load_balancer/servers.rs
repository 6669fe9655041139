//! Switching by servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bluegreen_core::testing::conformance::CutOff;
use bluegreen_core::{Effect, ErrorKind, Router, Slot, Split};
use bluegreen_testkit::fakes::{After, Ending, Fault, Front};
use serde_json::json;

use super::setup::{OnDigitalOcean, OnHetzner, pools, quick};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

/// The plan of a switch from blue to green.
const EXCHANGED: [&str; 4] = [
    "targets/server 11: removed",
    "targets/server 12: removed",
    "targets/server 22: added",
    "targets/server 23: added",
];

/// Asks the public address all the while; every request must be answered.
async fn while_asking<T>(front: &Front, work: impl Future<Output = T>) -> (T, usize) {
    let done = AtomicBool::new(false);
    let asking = async {
        let mut asked = 0;
        while !done.load(Ordering::Acquire) {
            assert!(front.request().await.is_some(), "request {asked} met no healthy server");
            asked += 1;
        }
        asked
    };
    let working = async {
        let result = work.await;
        done.store(true, Ordering::Release);
        result
    };
    tokio::join!(working, asking)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_servers_go_only_when_new_ones_answer_so_that_no_request_fails() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.busy_for(Duration::from_millis(20));
    tokio::time::sleep(Duration::from_millis(50)).await;
    on.lb.traffic(|traffic| traffic.healthy_after(Duration::from_millis(40)));
    let before = on.lb.balancer();
    let (shifted, asked) = while_asking(&on.front, on.by_servers().shift(Some(BLUE), GREEN)).await;
    shifted.unwrap();
    println!("by servers: {asked} requests; calls: {:?}", on.server.calls());
    let mut after = on.lb.balancer();
    assert_eq!(after["droplet_ids"], json!([22, 23]));
    after["droplet_ids"] = before["droplet_ids"].clone();
    assert_eq!(after, before, "every other setting is as it was");
    assert_eq!(on.server.count("PUT", ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_that_never_gets_well_is_taken_out_again() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.traffic(|traffic| traffic.set_unhealthy(23));
    let error = on
        .servers_builder()
        .deadline(Duration::from_secs(3))
        .build()
        .unwrap()
        .shift(Some(BLUE), GREEN)
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unhealthy, Effect::NotApplied));
    assert!(error.to_string().contains("does not call [22, 23] healthy"), "{error}");
    assert_eq!(on.by_servers().current().await.unwrap(), Some(BLUE));
    assert_eq!(on.front.request().await, Some(Slot::Blue));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_slot_that_never_answers_at_the_public_address_is_taken_out_again() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.traffic(|traffic| [22, 23].map(|server| traffic.set_unhealthy(server)));
    let error = on
        .servers_builder()
        .deadline(Duration::from_secs(1))
        .build()
        .unwrap()
        .shift(Some(BLUE), GREEN)
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unhealthy, Effect::NotApplied));
    assert_eq!(on.lb.balancer()["droplet_ids"], json!([11, 12]));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_exchanged_one_at_a_time_where_that_is_wished() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    let router = Arc::new(on.servers_builder().at_a_time(1, Duration::from_millis(200)).build().unwrap());
    let shifting = tokio::spawn({
        let router = Arc::clone(&router);
        async move { router.shift(Some(BLUE), GREEN).await }
    });
    let mut halves = 0;
    while !shifting.is_finished() {
        let ids = on.lb.balancer()["droplet_ids"].clone();
        halves += usize::from(ids == json!([12, 22]));
        assert!(ids.as_array().unwrap().len() <= 3, "{ids}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shifting.await.unwrap().unwrap();
    assert!(halves > 0, "at half time each slot has one server");
    assert_eq!(on.lb.balancer()["droplet_ids"], json!([22, 23]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_in_turns_that_cannot_end_before_the_deadline_is_refused_and_nothing_is_touched() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    // Each turn alone would fit.
    let builder = on.servers_builder().at_a_time(1, Duration::ZERO).health_deadline(Duration::from_millis(700));
    let error = builder.deadline(Duration::from_secs(1)).build().unwrap().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert!(
        error.to_string().contains("in 2 turns with pauses of 0ns in between, given 700ms to get well each time"),
        "{error}"
    );
    assert!(
        error.to_string().contains("`deadline` of 2s or more, and the pipeline a `shift_timeout` of 4s"),
        "{error}"
    );
    assert_eq!(on.server.count("POST", "/droplets"), 0);

    let on = OnHetzner::start(&[11, 12]).await;
    let router =
        on.servers_builder().at_a_time(1, Duration::from_secs(1)).deadline(Duration::from_secs(1)).build().unwrap();
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert_eq!(on.server.count("POST", ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_is_cut_off_leaves_the_old_servers_the_new_ones_or_both_and_converges() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    let mut from = BLUE;
    let mut divided = 0;
    let polls = (1..=40).map(CutOff::Polls);
    for cut_off in polls.chain([5, 20, 50, 80, 120].map(Duration::from_millis).map(CutOff::Time)) {
        let to = if from == BLUE { GREEN } else { BLUE };
        let (cut, _) = while_asking(&on.front, cut_off.run(on.by_servers().shift(Some(from), to))).await;
        if let Some(result) = cut {
            result.unwrap();
        }
        let current = on.by_servers().current().await.unwrap();
        let half = Split::toward(Slot::Green, 50).unwrap();
        assert!([Some(from), Some(to), Some(half)].contains(&current), "{cut_off:?}: {current:?}");
        divided += usize::from(current == Some(half));
        on.by_servers().shift(current, to).await.unwrap();
        assert_eq!(on.by_servers().current().await.unwrap(), Some(to));
        from = to;
    }
    assert!(divided > 0, "no cut fell between adding and removing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_neither_slot_is_a_conflict_that_names_it() {
    let on = OnDigitalOcean::start(&[11, 77]).await;
    let error = on.by_servers().current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("server 77"), "{error}");
    let error = on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_that_selects_by_tag_is_refused_by_servers() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.change_by_hand(|balancer| balancer["tag"] = json!("web"));
    let error = on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied));
    assert!(error.to_string().contains("the tag web"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_somebody_changes_while_servers_are_exchanged_is_kept_and_no_obstacle() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.edit_after(2, |balancer| balancer["http_idle_timeout_seconds"] = json!(120));
    on.by_servers().shift(Some(BLUE), GREEN).await.unwrap();
    let balancer = on.lb.balancer();
    assert_eq!((&balancer["droplet_ids"], &balancer["http_idle_timeout_seconds"]), (&json!([22, 23]), &json!(120)));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_are_looked_after_before_anything_is_asked_again() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.server.fail("POST", "/droplets", 1, Fault::DropAfter);
    on.server.fail("DELETE", "/droplets", 1, Fault::AnswerAfter(502, "<html>bad gateway</html>".to_owned()));
    on.by_servers().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((on.server.count("POST", "/droplets"), on.server.count("DELETE", "/droplets")), (1, 1));
    assert_eq!(on.lb.balancer()["droplet_ids"], json!([22, 23]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_of_hetzner_that_fails_brings_the_old_servers_back() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.next_action(Ending::Completed);
    on.lb.next_action(Ending::Errored);
    let error = on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error:?}");
    assert!(error.to_string().contains("Action failed"), "{error}");
    assert_eq!(on.by_servers().current().await.unwrap(), Some(BLUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_names_the_servers() {
    let on = OnHetzner::start(&[11, 12]).await;
    let change = on.by_servers().plan(Slot::Green).await.unwrap();
    assert_eq!(change.lines(), EXCHANGED);
    assert!(on.by_servers().plan(Slot::Blue).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_reached_over_the_private_network_are_exchanged_for_servers_reached_the_same_way() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.reach_privately(&[11, 12]);
    let change = on.by_servers().plan(Slot::Green).await.unwrap();
    assert_eq!(change.lines(), EXCHANGED);
    on.server.forget_calls();
    on.by_servers().shift(Some(BLUE), GREEN).await.unwrap();
    println!("by servers at Hetzner: {} calls: {:?}", on.server.calls().len(), on.server.calls());
    assert_eq!(on.lb.reached_privately(), [(22, true), (23, true)].into());

    // Right after the second of the old servers was removed: they come back as they were.
    let no_more = json!({ "error": { "code": "unauthorized", "message": "no" } });
    on.server.fail_after(After(4, "POST", "remove_target"), "GET", "/load_balancers", 1, Fault::json(401, no_more));
    let error = on.by_servers().shift(Some(GREEN), BLUE).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert_eq!(on.server.count("POST", "remove_target"), 6, "the fault came when the old servers were gone");
    assert_eq!(on.lb.reached_privately(), [(22, true), (23, true)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_servers_are_refused_where_it_cannot_be_told_over_which_network_they_are_reached() {
    let told =
        |on: &OnHetzner, private| quick(on.balancer().private(private), &on.front).servers(pools()).build().unwrap();
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.reach_privately(&[12]);
    let mixed = on.by_servers();
    let cases = [(&[12][..], mixed, "[12] over the private network and [11] over the public one")];
    let told = [
        (&[][..], told(&on, true), "over the public network, and the router was told"),
        (&[11, 12][..], told(&on, false), "over the private network, and the router was told"),
    ];
    for (private, router, why) in cases.into_iter().chain(told) {
        on.lb.reach_privately(private);
        let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(router.plan(Slot::Green).await.unwrap_err().kind(), ErrorKind::Config);
    }
    assert_eq!(on.server.count("POST", ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_somebody_changes_while_servers_are_exchanged_is_a_conflict() {
    let on = OnHetzner::start(&[11, 12, 22]).await;
    on.lb.reach_privately(&[11, 12, 22]);
    let lb = Arc::clone(&on.lb);
    on.lb.traffic(|traffic| traffic.healthy_after(Duration::from_millis(200)));
    let router = on.by_servers();
    let hand = async {
        while !lb.reached_privately().contains_key(&23) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        lb.reach_privately(&[11, 12, 23]);
    };
    let half = Split::toward(Slot::Green, 33).unwrap();
    let (shifted, ()) = tokio::join!(router.shift(Some(half), GREEN), hand);
    let error = shifted.unwrap_err();
    // Not as it was before: 22 is reached over the public network now.
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::Unknown), "{error}");
    assert!(error.to_string().contains("targets/server 22/use_private_ip: true -> false"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_fails_for_a_moment_neither_ends_nor_undoes_an_exchange() {
    // Each look is three calls: while the new servers get well, and when the old ones are gone.
    let moments = [(After(1, "POST", "/droplets"), "health"), (After(1, "DELETE", "/droplets"), "removal")];
    for (after, moment) in moments {
        let on = OnDigitalOcean::start(&[11, 12]).await;
        on.server.fail_after(after, "GET", "", 7, Fault::html(502));
        let (shifted, _) = while_asking(&on.front, on.by_servers().shift(Some(BLUE), GREEN)).await;
        shifted.unwrap_or_else(|error| panic!("{moment}: {error}"));
        assert_eq!((on.server.count("POST", "/droplets"), on.server.count("DELETE", "/droplets")), (1, 1), "{moment}");
        assert_eq!(on.lb.balancer()["droplet_ids"], json!([22, 23]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_says_nothing_until_the_deadline_is_unreachable() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.server.fail("GET", "", 999, Fault::html(502));
    let router = on.servers_builder().deadline(Duration::from_secs(2)).build().unwrap();
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("502 Bad Gateway"), "{error}");
    assert!(on.server.count("GET", "") > 3, "it was asked once more after the first look");
    assert_eq!(on.server.count("POST", ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_servers_that_come_back_are_well_before_the_new_ones_go() {
    let on = OnHetzner::start(&[11, 12]).await;
    let needed = Duration::from_millis(1500);
    on.lb.traffic(|traffic| traffic.healthy_after(needed));
    tokio::time::sleep(needed).await;
    // Right after the second of the old servers was removed.
    let no_more = json!({ "error": { "code": "unauthorized", "message": "no" } });
    on.server.fail_after(After(2, "POST", "remove_target"), "GET", "/load_balancers", 1, Fault::json(401, no_more));
    let (shifted, asked) = while_asking(&on.front, on.by_servers().shift(Some(BLUE), GREEN)).await;
    let error = shifted.unwrap_err();
    println!("taken back: {asked} requests");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert_eq!(on.server.count("POST", "remove_target"), 4, "the fault came when the old servers were gone");
    assert_eq!(on.by_servers().current().await.unwrap(), Some(BLUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_servers_that_do_not_get_well_in_time_leave_the_new_ones_and_the_outcome_unknown() {
    let on = OnHetzner::start(&[11, 12]).await;
    let no_more = json!({ "error": { "code": "unauthorized", "message": "no" } });
    on.server.fail_after(After(2, "POST", "remove_target"), "GET", "/load_balancers", 1, Fault::json(401, no_more));
    let router = on.servers_builder().deadline(Duration::from_secs(4)).build().unwrap();
    on.lb.traffic(|traffic| {
        traffic.set_unhealthy(11);
        traffic.set_unhealthy(12);
    });
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error}");
    assert!(error.to_string().contains("does not call [11, 12] healthy"), "{error}");
    assert_eq!(on.front.request().await, Some(Slot::Green));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_droplets_are_given_the_time_that_the_balancers_own_health_check_needs() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.change_by_hand(|balancer| {
        balancer["health_check"]["check_interval_seconds"] = json!(1);
        balancer["health_check"]["healthy_threshold"] = json!(1);
        balancer["health_check"]["response_timeout_seconds"] = json!(1);
    });
    // As late as such a health check can be: the probe may meet one of the new droplets earlier, but not each of them.
    on.lb.traffic(|traffic| traffic.healthy_after(Duration::from_millis(2900)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut router = on.checked_builder().build().unwrap();
    let (shifted, _) = while_asking(&on.front, router.shift(Some(BLUE), GREEN)).await;
    shifted.unwrap();
    // With the fake's 3 s, twice, and 5 s for an answer.
    let on = OnDigitalOcean::start(&[11, 12]).await;
    router = on.checked_builder().deadline(Duration::from_secs(5)).build().unwrap();
    let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("given 14s to get well"), "{error}");
    assert_eq!(on.server.count("POST", "/droplets"), 0);
}
