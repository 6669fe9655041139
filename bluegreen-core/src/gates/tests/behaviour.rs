use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_release_passes_after_exactly_the_requests_that_it_needs() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(2300, 0);
    assert_eq!(
        judged.look().await.to_string(),
        "undecided: needs at least 1,472 more requests; so far 0 of 2,300 requests failed"
    );
    judged.serve(1471, 0);
    assert!(is_undecided(&judged.look().await));
    judged.serve(1, 0);
    assert_eq!(judged.look().await.to_string(), "pass: 0 of 3,772 requests failed, the limit is 0.1 %");
}

#[tokio::test]
async fn a_latency_gate_takes_five_percent_and_its_finer_grid() {
    let mut judged = Judged::errors();
    let gate = RateGate::builder(BadRequests::Slow, judged.source.clone()).warm_up(Duration::ZERO);
    judged.gate = gate.build().unwrap();
    judged.begin().await;
    judged.serve(77, 0);
    assert!(judged.look().await.to_string().starts_with("undecided: needs at least 1 more request"));
    judged.serve(1, 0);
    assert_eq!(judged.look().await.to_string(), "pass: 0 of 78 requests were too slow, the limit is 5 %");
}

#[tokio::test]
async fn a_bad_release_fails_and_the_reason_holds_the_figures() {
    let mut judged = Judged::errors();
    judged.begin().await;
    let verdict = judged.blocks(10, (150, 3), (0, 0)).await;
    assert_eq!(verdict.to_string(), "fail: 9 of 450 requests failed, the limit is 0.1 %");
}

#[tokio::test]
async fn one_error_among_few_requests_fails_nothing() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(1, 1);
    assert!(is_undecided(&judged.look().await), "a ratio of 100 % of one request is no evidence");
}

#[tokio::test]
async fn one_burst_of_errors_fails_nothing_and_one_after_the_other_does() {
    for size in [2, 5, 20, 60] {
        let mut judged = Judged::errors();
        judged.begin().await;
        assert!(is_undecided(&judged.blocks(1, (200, size), (0, 0)).await), "{size}");
        assert!(is_fail(&judged.blocks(10, (200, size), (0, 0)).await), "{size}");
    }
}

#[tokio::test]
async fn a_pass_takes_as_many_times_more_requests_as_the_errors_of_the_old_slot_are_bursty() {
    let needs = async |burst: u64| {
        let mut judged = Judged::errors().with_baseline().with_gate(|gate| gate.routing_guard(false));
        judged.begin().await;
        let mut rng = fastrand::Rng::with_seed(1);
        let mut requests = 100;
        while !is_pass(&judged.blocks(1, (100, 0), (1000, if rng.u64(..burst) == 0 { burst } else { 0 })).await) {
            requests += 100;
        }
        requests
    };
    let (independent, bursts) = (needs(1).await, needs(10).await);
    assert!((3700..4500).contains(&independent), "{independent}");
    assert!((20_000..60_000).contains(&bursts), "{bursts}");
}

#[tokio::test(start_paused = true)]
async fn what_the_old_slot_was_like_before_the_deploy_is_learned() {
    let passes = async |burst: u64, operation: &str| {
        let mut judged = Judged::errors();
        let live = target(Slot::Blue, "1", operation);
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            judged.serve_old(1000, if rng.u64(..burst) == 0 { burst } else { 0 });
            judged.gate.learn(&live, &running("1")).await.unwrap();
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        judged.begin().await;
        judged.serve(4000, 0);
        is_pass(&judged.look().await)
    };
    assert!(passes(1, "deploy-1").await, "independent errors");
    assert!(!passes(10, "deploy-1").await, "bursts");
    assert!(passes(10, "deploy-0").await, "of another operation");
}

#[tokio::test]
async fn no_data_is_never_a_pass() {
    let silent = [Answer::NoData, Answer::Refused, Answer::Series(BTreeMap::new())];
    for answer in silent {
        let mut judged = Judged::errors();
        judged.source.set(Slot::Green, answer.clone());
        for _ in 0..100 {
            assert!(is_undecided(&judged.look().await), "{answer:?}");
        }
    }
    let mut judged = Judged::errors();
    for _ in 0..100 {
        judged.begin().await;
        let verdict = judged.look().await;
        assert!(verdict.to_string().ends_with("so far none came"), "{verdict}");
    }
}

#[tokio::test]
async fn a_look_that_could_not_read_is_no_pass_whatever_was_seen_before() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(10_000, 0);
    assert!(is_pass(&judged.look().await));
    let before = judged.source.0.lock().unwrap()[&Slot::Green].clone();
    judged.source.set(Slot::Green, Answer::Refused);
    assert!(is_undecided(&judged.look().await));
    judged.source.set(Slot::Green, before);
    assert!(is_pass(&judged.look().await), "and what was counted is not lost");
}

#[tokio::test]
async fn a_source_that_keeps_failing_is_told_with_its_reason_and_how_often() {
    let mut judged = Judged::errors();
    judged.source.set(Slot::Green, Answer::Refused);
    assert_eq!(
        judged.look().await.to_string(),
        "undecided: needs a reading; the new slot's metrics could not be read: connection refused"
    );
    judged.look().await;
    let third = judged.look().await.to_string();
    assert!(third.contains("3 times in a row: connection refused"), "{third}");
    judged.begin().await;
    judged.source.set(Slot::Green, Answer::NoData);
    assert!(!judged.look().await.to_string().contains("in a row"), "a reading in between starts the count anew");
}

#[tokio::test]
async fn without_traffic_by_the_time_required_it_holds() {
    let mut judged = Judged::errors().with_gate(|gate| gate.require_traffic_by(Duration::from_secs(30)));
    judged.begin().await;
    judged.pass_time(Duration::from_secs(28));
    assert!(is_undecided(&judged.look().await));
    let verdict = judged.look().await;
    assert_eq!(verdict.to_string(), "hold: no request was counted on the new slot within 30 s");
    judged.source.set(Slot::Green, Answer::Refused);
    let verdict = judged.look().await;
    assert!(is_hold(&verdict) && verdict.to_string().ends_with("connection refused"), "{verdict}");
    judged.begin().await;
    judged.serve(1, 0);
    assert!(is_undecided(&judged.look().await), "late traffic is traffic");
}

#[tokio::test]
async fn only_what_happens_after_the_warm_up_is_counted() {
    let mut judged = Judged::errors().with_gate(|gate| gate.warm_up(Duration::from_secs(3)));
    judged.serve(100_000, 5_000);
    let verdict = judged.look().await;
    assert_eq!(verdict.to_string(), "undecided: needs the warm-up of 3 s to end, 2 s are left");
    judged.serve(100, 50);
    judged.look().await;
    judged.serve(100, 50);
    let verdict = judged.look().await;
    assert!(verdict.to_string().ends_with("so far none came"), "{verdict}");
    judged.serve(4000, 0);
    assert!(is_pass(&judged.look().await));
}

#[tokio::test]
async fn a_restart_of_one_process_is_neither_negative_traffic_nor_old_traffic() {
    let mut judged = Judged::errors();
    judged.source.set_series(Slot::Green, &[("a", 9_000_000, 0), ("b", 500, 400)]);
    judged.look().await;
    judged.source.set_series(Slot::Green, &[("a", 100, 1), ("b", 520, 400)]);
    assert_eq!(
        judged.look().await.to_string(),
        "undecided: needs counters that can be trusted; the new slot's metrics: a counter fell: 8 more readings will tell \
         whether it was a restart, or several processes answer in turn"
    );
    for _ in 0..7 {
        assert!(is_undecided(&judged.look().await));
    }
    let verdict = judged.look().await;
    assert!(verdict.to_string().ends_with("so far 1 of 120 requests failed"), "{verdict}");
}

/// Sets what the slots show when their pages are answered by so many processes each, by turns or by chance.
fn answered_by(judged: &Judged, look: u64, processes: [u64; 2], by_chance: Option<&mut fastrand::Rng>) {
    let pick = |of: u64, rng: &mut Option<&mut fastrand::Rng>| rng.as_mut().map_or(look % of, |rng| rng.u64(..of));
    let mut rng = by_chance;
    for (slot, of) in [Slot::Green, Slot::Blue].into_iter().zip(processes) {
        let which = pick(of, &mut rng);
        judged.source.set_series(slot, &[("app", 1300 * which + look, which)]);
    }
}

#[tokio::test]
async fn pages_that_several_processes_answer_are_held_and_no_request_of_theirs_is_judged() {
    for processes in [[2, 1], [1, 2], [2, 4], [3, 3]] {
        let mut judged = Judged::errors().with_baseline().with_gate(|gate| gate.routing_guard(false));
        let mut verdicts = Vec::new();
        for look in 0..40 {
            answered_by(&judged, look, processes, None);
            verdicts.push(judged.look().await);
        }
        let last = verdicts.last().unwrap();
        let several = "slot's metrics: several processes answer here: aggregate them, or scrape each";
        assert!(is_hold(last) && last.to_string().ends_with(several), "{processes:?}: {last}");
        judged.next_step();
        assert!(is_hold(&judged.look().await), "for the whole operation");
        for seed in 0..50 {
            let mut judged = Judged::errors().with_baseline().with_gate(|gate| gate.routing_guard(false));
            let mut rng = fastrand::Rng::with_seed(seed);
            for look in 0..40 {
                answered_by(&judged, look, processes, Some(&mut rng));
                judged.look().await;
            }
            assert!(is_hold(&judged.look().await), "{processes:?}, by chance: {seed}");
        }
    }
}

#[tokio::test]
async fn a_source_that_says_that_it_cannot_be_trusted_holds() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(5000, 0);
    judged.source.set(Slot::Green, Answer::Untrusted);
    assert_eq!(judged.look().await.to_string(), "hold: the new slot's metrics: two of them");
}

#[tokio::test]
async fn a_step_does_not_pass_by_the_traffic_of_the_step_before() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(100_000, 0);
    assert!(is_pass(&judged.look().await));
    judged.next_step();
    let verdict = judged.look().await;
    assert!(is_undecided(&verdict), "{verdict}");
    judged.serve(100, 0);
    let verdict = judged.look().await;
    assert!(verdict.to_string().starts_with("undecided: needs at least 3,672 more requests"), "{verdict}");
}

#[tokio::test]
async fn what_happens_between_two_steps_belongs_to_neither() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(1000, 0);
    judged.look().await;
    judged.next_step();
    judged.serve(1000, 50);
    let verdict = judged.look().await;
    assert!(verdict.to_string().ends_with("so far none came"), "{verdict}");
}

#[tokio::test]
async fn a_release_that_gets_worse_late_is_not_saved_by_its_past() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(1_000_000, 0);
    assert!(is_pass(&judged.look().await));
    judged.next_step();
    judged.look().await;
    let verdict = judged.blocks(10, (200, 4), (0, 0)).await;
    assert_eq!(verdict.to_string(), "fail: 12 of the last 600 requests failed, the limit is 0.1 %");
}

#[tokio::test]
async fn a_release_that_is_a_little_bad_in_each_step_fails_by_the_sum() {
    let mut judged = Judged::errors();
    judged.begin().await;
    let mut verdict = judged.look().await;
    let mut steps = 0;
    while !is_fail(&verdict) {
        steps += 1;
        assert!(steps < 20, "{verdict}");
        judged.serve(1000, 4);
        verdict = judged.look().await;
        judged.next_step();
        judged.look().await;
    }
    assert!(steps > 1, "one step alone is no evidence");
    assert!(verdict.to_string().contains(&format!("of {},000 requests", steps)), "{verdict}");
}

#[tokio::test]
async fn a_new_operation_starts_from_nothing() {
    let mut judged = Judged::errors();
    judged.begin().await;
    assert!(is_fail(&judged.blocks(10, (1000, 100), (0, 0)).await));
    judged.window.target = target(Slot::Green, "2", "deploy-2");
    judged.next_step();
    judged.look().await;
    judged.serve(5000, 0);
    assert!(is_pass(&judged.look().await));
}

#[tokio::test]
async fn the_gates_of_a_pipeline_share_the_error_probabilities() {
    let mut alone = Judged::errors();
    let mut one_of_four = Judged::errors();
    one_of_four.window.gates = 4;
    for (judged, passes) in [(&mut alone, true), (&mut one_of_four, false)] {
        judged.begin().await;
        judged.serve(3772, 0);
        assert_eq!(is_pass(&judged.look().await), passes);
    }
}

#[tokio::test]
async fn services_are_judged_apart() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(5000, 0);
    assert!(is_pass(&judged.look().await));
    let shop = judged.window.clone();
    judged.window.target.service = ServiceName::new("billing").unwrap();
    assert!(is_undecided(&judged.look().await));
    judged.window = shop;
    assert!(is_pass(&judged.look().await));
}

#[tokio::test]
async fn a_look_that_is_cut_off_changes_nothing() {
    let mut judged = Judged::errors();
    judged.begin().await;
    judged.serve(5000, 0);
    let served = judged.source.0.lock().unwrap()[&Slot::Green].clone();
    judged.source.set(Slot::Green, Answer::Hangs);
    let cut_off = tokio::time::timeout(Duration::from_millis(1), judged.gate.judge(&judged.window)).await;
    assert!(cut_off.is_err());
    judged.source.set(Slot::Green, served);
    assert_eq!(judged.look().await.to_string(), "pass: 0 of 5,000 requests failed, the limit is 0.1 %");
}

#[tokio::test]
async fn a_release_worse_than_the_old_slot_fails() {
    let mut judged = Judged::errors().with_baseline();
    judged.begin().await;
    let mut verdict = judged.look().await;
    for _ in 0..20 {
        if is_fail(&verdict) {
            break;
        }
        verdict = judged.blocks(1, (1000, 20), (9000, 45)).await;
    }
    assert_eq!(
        verdict.to_string(),
        "fail: worse than the old slot: 180 of 9,000 requests failed, and 405 of 81,000 of the old slot's at the same time"
    );
}

#[tokio::test]
async fn when_both_slots_are_bad_the_environment_is_unhealthy_and_it_holds() {
    let mut judged = Judged::errors().with_baseline();
    judged.begin().await;
    let verdict = judged.blocks(20, (1000, 50), (9000, 450)).await;
    assert_eq!(
        verdict.to_string(),
        "hold: the environment is unhealthy, not the release: 100 of 2,000 requests failed, and 900 of 18,000 of the \
         old slot's; the limit is 0.1 %"
    );
}

#[tokio::test]
async fn while_the_old_slot_seems_bad_too_nothing_is_decided() {
    let mut judged = Judged::errors().with_baseline();
    judged.split(90);
    judged.begin().await;
    judged.blocks(2, (900, 18), (100, 0)).await;
    let verdict = judged.blocks(1, (900, 18), (100, 1)).await;
    assert!(is_undecided(&verdict), "{verdict}");
    assert!(verdict.to_string().contains("to tell the release from its environment"), "{verdict}");
}

#[tokio::test]
async fn a_bad_release_fails_beside_an_old_slot_that_is_well() {
    let mut judged = Judged::errors().with_baseline();
    judged.split(90);
    judged.begin().await;
    let verdict = judged.blocks(20, (2700, 40), (300, 0)).await;
    assert!(verdict.to_string().contains("the limit is 0.1 %; of the old slot's 0 of "), "{verdict}");
}

#[tokio::test]
async fn a_release_shown_to_be_within_the_limit_is_not_failed_for_being_worse_than_a_better_one() {
    let mut judged = Judged::errors().with_baseline();
    judged.begin().await;
    judged.serve(100_000, 20);
    judged.serve_old(900_000, 5);
    let verdict = judged.look().await;
    assert!(is_pass(&verdict), "{verdict}");
}

#[tokio::test]
async fn an_old_slot_that_cannot_be_read_is_said_and_the_new_one_is_judged_alone() {
    let mut judged = Judged::errors().with_baseline();
    judged.begin().await;
    judged.source.set(Slot::Blue, Answer::Refused);
    judged.serve(8000, 0);
    assert_eq!(
        judged.look().await.to_string(),
        "pass: 0 of 8,000 requests failed, the limit is 0.1 % (without the old slot, which could not be read: \
         connection refused)"
    );
    judged.serve(2000, 200);
    assert!(is_fail(&judged.look().await));
}

#[tokio::test]
async fn what_one_slot_counted_while_the_other_could_not_be_read_is_compared_all_the_same() {
    let mut judged = Judged::errors().with_baseline();
    judged.begin().await;
    let mut verdict = judged.look().await;
    for _ in 0..10 {
        let blue = judged.source.0.lock().unwrap()[&Slot::Blue].clone();
        judged.source.set(Slot::Blue, Answer::Refused);
        judged.serve(1000, 50);
        judged.look().await;
        judged.source.set(Slot::Blue, blue);
        judged.serve_old(9000, 450);
        verdict = judged.look().await;
    }
    assert!(verdict.to_string().contains("500 of 10,000 requests failed, and 4,500 of 90,000"), "{verdict}");
}

#[tokio::test]
async fn a_router_that_does_not_do_what_it_says_holds() {
    let routed = |new, old| async move {
        let mut judged = Judged::errors().with_baseline();
        judged.begin().await;
        judged.serve(new, 0);
        judged.serve_old(old, 0);
        let verdict = judged.look().await;
        let mut without = Judged::errors().with_baseline().with_gate(|gate| gate.routing_guard(false));
        without.begin().await;
        without.serve(new, 0);
        without.serve_old(old, 0);
        assert!(!is_hold(&without.look().await), "the guard can be turned off");
        verdict
    };
    let half = routed(5000, 5000).await;
    assert_eq!(
        half.to_string(),
        "hold: the router does not do what it says: the new slot got 5,000 (50 %) of the 10,000 requests of both \
         slots, its share is 10 %"
    );
    assert!(is_hold(&routed(0, 1000).await), "nothing arrives");
    assert!(is_pass(&routed(4000, 36_000).await));
    assert!(is_pass(&routed(4400, 36_000).await), "off by chance or by a little");
    assert!(is_undecided(&routed(3, 8).await), "too few to tell");
}

#[tokio::test]
async fn the_damage_cap_counts_from_the_first_reading_and_needs_no_statistics() {
    let capped = || {
        let long = Duration::from_secs(600);
        Judged::errors().with_gate(|gate| gate.warm_up(long).damage_cap(20))
    };
    let mut judged = capped();
    judged.begin().await;
    judged.serve(2000, 21);
    assert!(is_undecided(&judged.look().await), "2 of them are within the limit");
    judged.serve(0, 1);
    assert_eq!(
        judged.look().await.to_string(),
        "fail: 22 of 2,000 requests failed, 20 more than the limit explains; the cap is 20"
    );

    let mut judged = capped().with_baseline();
    judged.begin().await;
    judged.serve(2000, 60);
    judged.serve_old(18_000, 450);
    assert!(is_undecided(&judged.look().await), "50 of them are what the old slot has too");
    judged.serve(0, 10);
    let verdict = judged.look().await;
    assert!(verdict.to_string().ends_with("20 more than the old slot's rate explains; the cap is 20"), "{verdict}");
}

#[tokio::test]
async fn a_release_that_fails_every_request_is_failed_within_the_warm_up_and_between_steps() {
    let long = Duration::from_secs(600);
    let mut judged = Judged::errors().with_gate(|gate| gate.warm_up(long));
    judged.begin().await;
    judged.serve(1000, 1000);
    let reason = "1,000 of 1,000 requests failed, 990 more than ten times the limit explains; the cap is 100";
    assert_eq!(judged.look().await.to_string(), format!("fail: {reason}"));

    let mut judged = Judged::errors().with_gate(|gate| gate.warm_up(long));
    judged.begin().await;
    judged.serve(50, 50);
    assert!(is_undecided(&judged.look().await));
    judged.next_step();
    judged.serve(950, 950);
    assert_eq!(judged.look().await.to_string(), format!("fail: {reason}"));

    let mut judged = Judged::errors().with_gate(|gate| gate.warm_up(long).without_damage_cap());
    judged.begin().await;
    judged.serve(1000, 1000);
    assert!(is_undecided(&judged.look().await));
}

#[tokio::test]
async fn an_outage_of_both_slots_exceeds_no_damage_cap() {
    let mut judged = Judged::errors().with_baseline().with_gate(|gate| gate.warm_up(Duration::from_secs(600)));
    judged.begin().await;
    judged.serve(1000, 1000);
    judged.serve_old(9000, 9000);
    assert!(is_undecided(&judged.look().await));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let gate = || RateGate::builder(BadRequests::Failed, Scripted::default());
    for nonsense in [0.0, 1.0, -1.0, 2.0, f64::NAN, f64::INFINITY] {
        for result in [
            gate().limit(nonsense),
            gate().alpha(nonsense),
            gate().beta(nonsense),
            RateGate::builder(BadRequests::Other("timeouts".into()), Scripted::default()).limit(nonsense),
        ] {
            assert_eq!(result.build().unwrap_err().kind(), ErrorKind::Config, "{nonsense}");
        }
    }
    assert_eq!(gate().damage_cap(0).build().unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_gate_says_what_it_judges_and_by_what() {
    let gate =
        RateGate::builder(BadRequests::Other("timeouts".into()), Scripted::default()).limit(0.02).build().unwrap();
    assert_eq!(gate.to_string(), "timeouts at most 2 %");
    let errors = RateGate::errors(Scripted::default()).to_string();
    assert_eq!(errors, "errors at most 0.1 %");
}
