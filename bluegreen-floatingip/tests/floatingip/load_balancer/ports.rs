//! Switching by ports.

use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Router, Slot, Split};
use bluegreen_floatingip::LoadBalancerRouter;
use bluegreen_testkit::fakes::{After, Ending, Fault, TOKEN, sorted};
use serde_json::{Value, json};

use super::setup::{OnDigitalOcean, OnHetzner};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

/// The settings as they must be after a switch to 3001: nothing else may differ.
fn flipped(mut balancer: Value) -> Value {
    for rule in balancer["forwarding_rules"].as_array_mut().unwrap() {
        if rule["target_port"] == 3000 {
            rule["target_port"] = json!(3001);
        }
    }
    balancer["health_check"]["port"] = json!(3001);
    balancer
}

#[tokio::test(flavor = "multi_thread")]
async fn one_write_flips_rules_and_health_check_and_keeps_every_other_setting() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    let before = on.lb.balancer();
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    println!("by ports: {:?}", on.server.calls());
    assert_eq!(sorted(&on.lb.balancer()), sorted(&flipped(before)));
    assert_eq!(on.server.count("PUT", ""), 1);
    on.by_ports().shift(Some(GREEN), GREEN).await.unwrap();
    assert_eq!(on.server.count("PUT", ""), 1, "what is there already is not written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_of_hetzner_is_flipped_with_its_health_check_and_its_settings_stay() {
    let on = OnHetzner::start(&[11, 12]).await;
    let mut wanted = on.lb.balancer();
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    for service in wanted["services"].as_array_mut().unwrap() {
        service["destination_port"] = json!(3001);
        service["health_check"]["port"] = json!(3001);
    }
    assert_eq!(on.lb.balancer(), wanted);
    println!("by ports at Hetzner: {:?}", on.server.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_were_left_divided_are_seen_and_converge() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.change_by_hand(|balancer| balancer["services"][1]["destination_port"] = json!(3001));
    let half = Split::toward(Slot::Green, 50).unwrap();
    assert_eq!(on.by_ports().current().await.unwrap(), Some(half));
    on.by_ports().shift(Some(half), BLUE).await.unwrap();
    assert_eq!(on.by_ports().current().await.unwrap(), Some(BLUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_balancer_that_says_forbidden_is_waited_for() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.busy_for(Duration::from_millis(150));
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    on.by_ports().shift(Some(GREEN), BLUE).await.unwrap();
    assert!(on.server.count("PUT", "") >= 2);
    on.server.fail(
        "PUT",
        "",
        2,
        Fault::refusal(403, "forbidden", "Load Balancer can't be updated while it processes previous actions"),
    );
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_write_is_no_busy_balancer() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.server.fail("PUT", "", 9, Fault::refusal(403, "forbidden", "You are not authorized to perform this operation"));
    let error = on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied));
    assert!(error.to_string().contains("load_balancer:update"), "{error}");
    assert_eq!(on.server.count("PUT", ""), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_somebody_else_before_the_write_is_a_conflict_that_names_it() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.edit_after(1, |balancer| balancer["redirect_http_to_https"] = json!(false));
    let error = on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains("redirect_http_to_https: true -> false"), "{error}");
    assert_eq!(on.server.count("PUT", ""), 0);
    // The next attempt begins with what there is now, and keeps it.
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.lb.balancer()["redirect_http_to_https"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_somebody_else_after_the_write_is_told() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    // After the two looks before the write; the third one is the look after it.
    on.server.fail("PUT", "", 1, Fault::Slow(Duration::from_secs(1)));
    let router = on.by_ports();
    let switching = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    while on.server.carried_out("PUT", "") == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    on.lb.change_by_hand(|balancer| balancer["health_check"]["port"] = json!(3000));
    let error = switching.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::Unknown));
    assert!(error.to_string().contains("health_check/port: 3001 -> 3000"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_not_made_twice() {
    for fault in [Fault::DropAfter, Fault::AnswerAfter(504, "<html>timeout</html>".to_owned())] {
        let on = OnDigitalOcean::start(&[11, 12]).await;
        on.server.fail("PUT", "", 1, fault);
        on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!(on.server.count("PUT", ""), 1);
    }
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.server.fail("PUT", "", 1, Fault::Drop);
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.server.count("PUT", ""), 2, "it had never arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_is_the_difference_line_by_line_and_writes_nothing() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    let change = on.by_ports().plan(Slot::Green).await.unwrap();
    let expected = [
        "forwarding_rules/http:80/target_port: 3000 -> 3001",
        "forwarding_rules/https:443/target_port: 3000 -> 3001",
        "health_check/port: 3000 -> 3001",
    ];
    assert_eq!(change.lines(), expected);
    assert_eq!(on.server.count("PUT", ""), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_without_a_rule_to_our_ports_is_refused() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    let router = LoadBalancerRouter::builder(on.balancer()).ports((8000, 8001)).build().unwrap();
    let error = router.current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("{22, 3000}"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_fails_for_a_moment_after_the_write_does_not_end_a_switch() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.server.fail_after(After(1, "PUT", ""), "GET", "", 7, Fault::html(502));
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.server.count("PUT", ""), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_outlives_its_deadline_is_waited_for_before_what_is_seen_counts() {
    let late = Fault::Late(Duration::from_millis(500));
    for (fault, ends) in [(Fault::Hang, BLUE), (Fault::HangAfter, GREEN), (late, GREEN)] {
        let on = OnDigitalOcean::start(&[11, 12]).await;
        on.server.fail("PUT", "", 1, fault.clone());
        let builder = on.ports_builder().lost_reply(Duration::from_millis(1500));
        let router = builder.clone().build().unwrap();
        let hasty = builder.deadline(Duration::from_millis(200)).build().unwrap();
        let error = hasty.shift(Some(BLUE), GREEN).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{fault:?}");
        assert_eq!(router.current().await.unwrap(), Some(ends), "{fault:?}");
        // Back to blue, and it stays there.
        router.shift(Some(ends), BLUE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(router.current().await.unwrap(), Some(BLUE), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_between_two_services_does_not_end_a_switch() {
    let second = After(1, "POST", "update_service");
    for fault in [
        Fault::code(423, "locked"),
        Fault::code(409, "conflict"),
        Fault::code(422, "invalid_input"),
        Fault::html(502),
        Fault::Drop,
        Fault::DropAfter,
        Fault::AnswerAfter(504, "<html>timeout</html>".to_owned()),
    ] {
        let on = OnHetzner::start(&[11, 12]).await;
        on.server.fail_after(second, "POST", "update_service", 1, fault.clone());
        on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(on.by_ports().current().await.unwrap(), Some(GREEN), "{fault:?}");
    }
    let on = OnHetzner::start(&[11, 12]).await;
    on.lb.next_action(Ending::Completed);
    on.lb.next_action(Ending::Errored);
    on.by_ports().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(on.by_ports().current().await.unwrap(), Some(GREEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_that_is_never_flipped_leaves_the_outcome_unknown_and_the_way_back_open() {
    for fault in [Fault::code(423, "locked"), Fault::code(422, "invalid_input"), Fault::html(502)] {
        let on = OnHetzner::start(&[11, 12]).await;
        on.server.fail_after(After(1, "POST", "update_service"), "POST", "update_service", 9999, fault.clone());
        let router = on.ports_builder().deadline(Duration::from_secs(2)).build().unwrap();
        let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
        assert_eq!(error.effect(), Effect::Unknown, "{fault:?}: {error}");
        let half = Split::toward(Slot::Green, 50).unwrap();
        assert_eq!(on.by_ports().current().await.unwrap(), Some(half), "{fault:?}");
        on.server.forget_faults();
        on.by_ports().shift(Some(half), BLUE).await.unwrap();
        assert_eq!(on.by_ports().current().await.unwrap(), Some(BLUE), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_service_that_is_refused_has_changed_nothing() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.server.fail("POST", "update_service", 1, Fault::code(422, "invalid_input"));
    let error = on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error}");
    assert_eq!(on.by_ports().current().await.unwrap(), Some(BLUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_change_between_two_services_is_a_conflict() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.server.fail_after(
        After(1, "POST", "update_service"),
        "POST",
        "update_service",
        9999,
        Fault::code(423, "locked"),
    );
    let router = on.by_ports();
    let switching = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    while on.server.count("POST", "update_service") < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    on.lb.change_by_hand(|balancer| {
        for service in balancer["services"].as_array_mut().unwrap() {
            if service["listen_port"] == 443 {
                service["health_check"]["interval"] = json!(30);
            }
        }
    });
    let error = switching.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::Unknown), "{error}");
    assert!(error.to_string().contains("services/443/health_check/interval: 15 -> 30"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_switch_does_not_write_may_change_between_two_services() {
    let on = OnHetzner::start(&[11, 12]).await;
    on.server.fail_after(After(1, "POST", "update_service"), "POST", "update_service", 5, Fault::code(423, "locked"));
    let router = on.by_ports();
    let switching = tokio::spawn(async move { router.shift(Some(BLUE), GREEN).await });
    while on.server.count("POST", "update_service") < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    on.lb.change_by_hand(|balancer| {
        balancer["algorithm"]["type"] = json!("round_robin");
        balancer["labels"] = json!({ "team": "shop" });
    });
    switching.await.unwrap().unwrap();
    assert_eq!(on.by_ports().current().await.unwrap(), Some(GREEN));
    assert_eq!(on.lb.balancer()["algorithm"]["type"], "round_robin");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_in_no_error_even_if_the_balancers_settings_repeat_it() {
    let on = OnDigitalOcean::start(&[11, 12]).await;
    on.lb.change_by_hand(|balancer| balancer["tag"] = json!(TOKEN));
    let by_tag = on.by_servers().shift(Some(BLUE), GREEN).await.unwrap_err();
    on.lb.change_by_hand(|balancer| balancer["tag"] = json!(""));
    on.lb.edit_after(1, |balancer| balancer["name"] = json!(format!("{TOKEN} {}", "x".repeat(5000))));
    let interfered = on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_err();
    let busy = format!("{TOKEN} can't be updated while it processes previous actions");
    on.server.fail("PUT", "", 9999, Fault::refusal(403, "forbidden", &busy));
    let busy = on
        .ports_builder()
        .deadline(Duration::from_secs(2))
        .build()
        .unwrap()
        .shift(Some(BLUE), GREEN)
        .await
        .unwrap_err();

    let on = OnHetzner::start(&[11, 12]).await;
    let failed = json!({ "id": 1, "status": "error", "error": { "code": "x", "message": TOKEN } });
    on.server.fail("GET", "/v1/actions/", 1, Fault::json(200, json!({ "action": failed })));
    let gave_up = on.by_ports().shift(Some(BLUE), GREEN).await.unwrap_err();
    for error in [by_tag, interfered, busy, gave_up] {
        let text = format!("{error:?} {}", error.chain());
        assert!(text.contains("***") && !text.contains(TOKEN) && text.len() < 2500, "{text}");
    }
}
