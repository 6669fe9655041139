use bluegreen_core::event::EventKind;
use bluegreen_core::fleet::{MemberChange, Unreachable, Wave};
use bluegreen_core::pipeline::Strategy;
use bluegreen_core::testing::Fault;
use bluegreen_core::{ErrorKind, Slot};

use super::yard::{Yard, deploy};
use crate::world::{seconds, version};

/// Enough for a call, and for each time that it is tried again.
fn fails(yard: &Yard, call: &str, fault: Fault) {
    (0..3).for_each(|_| yard.faults.on(call, fault));
}

#[tokio::test(start_paused = true)]
async fn one_member_more_than_may_fail_undoes_the_deploy_on_all_and_names_the_member() {
    for call in ["m2.prepare", "m2.start", "m2.attach", "m2.shift"] {
        let yard = Yard::new(4);
        let waves = Strategy::waves([Wave::members(1), Wave::all()]);
        let pipeline = yard.builder(yard.fleet()).strategy(waves).build().unwrap();
        deploy(&pipeline, "1.0").await.unwrap();
        fails(&yard, call, Fault::Fail);
        let error = deploy(&pipeline, "1.1").await.unwrap_err();
        assert!(error.to_string().contains("1 of 4 members failed, and 0 may: m2: "), "{call}: {error}");
        yard.assert_all_serve("1.0");
        for machine in &yard.machines {
            assert!(!machine.runtime.instance(Slot::Green).is_running(), "{call}: {} is as before", machine.name);
        }
        assert_eq!(yard.set_aside(), Vec::<String>::new(), "{call}: all are as the others are");
        yard.faults.clear();
        deploy(&pipeline, "1.2").await.unwrap();
        yard.assert_all_serve("1.2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_may_fail_is_set_aside_on_the_old_release_and_named() {
    for call in ["m2.prepare", "m2.start", "m2.attach", "m2.shift"] {
        let yard = Yard::new(4);
        let pipeline = yard.lenient(1);
        deploy(&pipeline, "1.0").await.unwrap();
        fails(&yard, call, Fault::Fail);
        let report = deploy(&pipeline, "1.1").await.unwrap();
        let served: Vec<_> = yard.serve().into_iter().map(Option::unwrap).collect();
        assert_eq!(served, ["1.1", "1.1", "1.0", "1.1"], "{call}");
        assert_eq!(yard.set_aside(), ["m2"], "{call}");
        assert_eq!(report.members[0].name.as_str(), "m2", "those that failed come first");
        assert!(report.to_string().contains("m2  blue 1.0"), "{report}");
        assert!(report.to_string().contains("injected fault"), "{report}");
        let said = yard.events.lock().unwrap().iter().any(
            |event| matches!(&event.what, EventKind::Member { member, change: MemberChange::SetAside { .. } } if member.as_str() == "m2"),
        );
        assert!(said, "{call}: an event says so");
        let status = pipeline.status().await.unwrap().to_string();
        assert!(status.contains("m2  blue 1.0") && status.contains("set aside since"), "{status}");
        yard.assert_settled();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_no_failure_of_the_member() {
    let yard = Yard::new(3);
    let pipeline = yard.pipeline();
    deploy(&pipeline, "1.0").await.unwrap();
    yard.faults.on("m1.start", Fault::LoseAnswer);
    yard.faults.on("m1.shift", Fault::ApplyThenFail);
    deploy(&pipeline, "1.1").await.unwrap();
    yard.assert_all_serve("1.1");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_never_gets_healthy_is_set_aside_when_its_time_is_over() {
    let yard = Yard::new(3);
    let pipeline = yard.lenient(1);
    deploy(&pipeline, "1.0").await.unwrap();
    (0..200).for_each(|_| yard.faults.on("h1.check", Fault::Fail));
    deploy(&pipeline, "1.1").await.unwrap();
    assert_eq!(yard.set_aside(), ["m1"]);
    assert_eq!(yard.machines[1].serves().as_deref(), Some("1.0"));

    let yard = Yard::new(3);
    let pipeline = yard.pipeline();
    deploy(&pipeline, "1.0").await.unwrap();
    (0..200).for_each(|_| yard.faults.on("h1.check", Fault::Fail));
    let error = deploy(&pipeline, "1.1").await.unwrap_err();
    assert!(error.to_string().contains("m1: "), "{error}");
    yard.assert_all_serve("1.0");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_ends_while_it_is_waited_for_is_set_aside_at_once() {
    for (max_failures, served) in [(1, ["1.1", "1.0", "1.1"]), (0, ["1.0", "1.0", "1.0"])] {
        let yard = Yard::new(3);
        let pipeline = yard.lenient(max_failures);
        deploy(&pipeline, "1.0").await.unwrap();
        let runtime = yard.machines[1].runtime.clone();
        yard.faults.witness(move |call| {
            if call.starts_with("after m1.start green") {
                runtime.crash(Slot::Green, "exit status 2");
            }
        });
        let began = tokio::time::Instant::now();
        let result = deploy(&pipeline, "1.1").await;
        assert!(began.elapsed() < seconds(30), "the time for getting healthy is not waited for: {:?}", began.elapsed());
        assert_eq!(result.is_ok(), max_failures == 1);
        assert_eq!(yard.serve().into_iter().map(Option::unwrap).collect::<Vec<_>>(), served);
        let report = result.unwrap_or_else(|error| error.report().unwrap().clone()).to_string();
        assert!(report.contains("exit status 2"), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_hangs_fails_by_its_own_deadline_and_not_the_deploy() {
    let yard = Yard::new(3);
    let pipeline = yard.builder(yard.fleet().max_failures(1).deadline(seconds(20))).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    yard.faults.on("m0.start", Fault::Hang);
    deploy(&pipeline, "1.1").await.unwrap();
    assert_eq!(yard.set_aside(), ["m0"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_dies_after_it_was_switched_goes_back_where_it_can() {
    let yard = Yard::new(4);
    let waves = Strategy::waves([Wave::members(2).soak(seconds(5)), Wave::all().soak(seconds(5))]);
    let pipeline = yard.builder(yard.fleet().max_failures(1)).strategy(waves).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    let machine = yard.machines[1].clone();
    let crashed = std::sync::Once::new();
    let (router, runtime) = (machine.router.clone(), machine.runtime.clone());
    yard.faults.witness(move |call| {
        let switched = router.split().is_some_and(|split| split.routes_to(Slot::Green));
        if switched && call.starts_with("before h0.check") {
            crashed.call_once(|| runtime.crash(Slot::Green, "exit status 1"));
        }
    });
    deploy(&pipeline, "1.1").await.unwrap();
    assert_eq!(yard.set_aside(), ["m1"]);
    let served: Vec<_> = yard.serve().into_iter().map(Option::unwrap).collect();
    assert_eq!(served, ["1.1", "1.0", "1.1", "1.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_own_address_does_not_answer_is_set_aside_as_the_policy_allows() {
    for (max_failures, served) in [(1, ["1.1", "1.0", "1.1"]), (0, ["1.0", "1.0", "1.0"])] {
        let yard = Yard::new(3);
        let pipeline = yard.lenient(max_failures);
        deploy(&pipeline, "1.0").await.unwrap();
        let machine = yard.machines[1].router.clone();
        let (faults, began) = (yard.faults.clone(), std::sync::Once::new());
        yard.faults.witness(move |call| {
            if call.starts_with("before p1.check") && machine.split() == Some(bluegreen_core::Split::all(Slot::Green)) {
                began.call_once(|| (0..500).for_each(|_| faults.on("p1.check", Fault::Fail)));
            }
        });
        let result = deploy(&pipeline, "1.1").await;
        assert_eq!(result.is_ok(), max_failures == 1, "{result:?}");
        assert_eq!(yard.serve().into_iter().map(Option::unwrap).collect::<Vec<_>>(), served);
        assert_eq!(yard.set_aside().len(), max_failures);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_loses_all_of_its_members_undoes_the_deploy_whatever_the_policy() {
    let yard = Yard::new(4);
    let waves = Strategy::waves([Wave::members(1).soak(seconds(5)), Wave::all()]);
    let pipeline = yard.builder(yard.fleet().max_failures(2)).strategy(waves).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    let (router, runtime) = (yard.machines[0].router.clone(), yard.machines[0].runtime.clone());
    let crashed = std::sync::Once::new();
    yard.faults.witness(move |call| {
        let switched = router.split().is_some_and(|split| split.routes_to(Slot::Green));
        if switched && call.starts_with("before h0.check") {
            crashed.call_once(|| runtime.crash(Slot::Green, "exit status 1"));
        }
    });
    deploy(&pipeline, "1.1").await.unwrap_err();
    yard.assert_all_serve("1.0");
}

#[tokio::test(start_paused = true)]
async fn a_member_out_of_reach_refuses_a_deploy_or_is_skipped_as_the_policy_says() {
    let yard = Yard::new(3);
    deploy(&yard.pipeline(), "1.0").await.unwrap();
    yard.machines[1].set_reachable(false);
    let error = deploy(&yard.pipeline(), "1.1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("m1 out of reach"), "{error}");
    assert!(error.to_string().contains("Unreachable::Skip"), "{error}");
    assert_eq!(yard.machines[0].serves().as_deref(), Some("1.0"), "nothing is done");

    let skips = yard.fleet().max_failures(1).unreachable(Unreachable::Skip);
    deploy(&yard.builder(skips).build().unwrap(), "1.1").await.unwrap();
    assert_eq!(yard.set_aside(), ["m1"]);
    let served: Vec<_> = yard.serve().into_iter().map(Option::unwrap).collect();
    assert_eq!(served, ["1.1", "1.0", "1.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_leaves_a_member_out_of_reach_behind_and_brings_the_others_back() {
    let yard = Yard::new(3);
    let pipeline = yard.pipeline();
    deploy(&pipeline, "1.0").await.unwrap();
    deploy(&pipeline, "1.1").await.unwrap();
    yard.machines[2].set_reachable(false);
    pipeline.rollback().await.unwrap();
    assert_eq!(yard.set_aside(), ["m2"]);
    assert_eq!(yard.machines[0].serves().as_deref(), Some("1.0"));
    yard.machines[2].set_reachable(true);
    pipeline.resume(crate::world::release("1.0")).await.unwrap();
    yard.assert_all_serve("1.0");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_switched_back_is_named_and_keeps_its_release() {
    let yard = Yard::new(3);
    let waves = Strategy::waves([Wave::members(2), Wave::all()]);
    let pipeline = yard.builder(yard.fleet()).strategy(waves).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    fails(&yard, "m2.shift to 100 % green", Fault::Fail);
    fails(&yard, "m1.shift to 100 % blue", Fault::Fail);
    let error = deploy(&pipeline, "1.1").await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!(report.outcome.word(), "rolled back", "{report}");
    assert_eq!(report.members[0].name.as_str(), "m1");
    assert!(report.to_string().contains("shift to 100 % blue"), "{report}");
    let served: Vec<_> = yard.serve().into_iter().map(Option::unwrap).collect();
    assert_eq!(served, ["1.0", "1.1", "1.0"], "what still has traffic is not stopped");
    assert_eq!(yard.set_aside(), ["m1"]);
    yard.faults.clear();
    pipeline.resume(crate::world::release("1.0")).await.unwrap();
    yard.assert_all_serve("1.0");
}

#[tokio::test(start_paused = true)]
async fn with_stop_on_first_nothing_is_begun_on_further_members() {
    let yard = Yard::new(6);
    let pipeline = yard.builder(yard.fleet().stop_on_first(true).max_parallel(1)).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    fails(&yard, "m1.start", Fault::Fail);
    deploy(&pipeline, "1.1").await.unwrap_err();
    assert!(yard.machines[0].runtime.instance(Slot::Green).version() == Some(&version("1.1")));
    assert_eq!(yard.machines[2].runtime.instance(Slot::Green), bluegreen_core::Instance::Absent);
    yard.assert_all_serve("1.0");

    let yard = Yard::new(6);
    let fleet = yard.fleet().stop_on_first(true).max_failures(1).max_parallel(1);
    let pipeline = yard.builder(fleet).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    fails(&yard, "m1.start", Fault::Fail);
    deploy(&pipeline, "1.1").await.unwrap();
    assert_eq!(yard.set_aside(), ["m1"], "one that may fail stops nothing");
}
