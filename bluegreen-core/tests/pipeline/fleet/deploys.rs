use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::fleet::{MemberChange, Wave};
use bluegreen_core::pipeline::{Strategy, TrafficStep};
use bluegreen_core::testing::Fault;
use bluegreen_core::{Granularity, Slot, Split};

use super::yard::{Yard, deploy};
use crate::world::seconds;

fn calls(yard: &Yard, word: &str) -> Vec<String> {
    yard.faults.log().calls().into_iter().filter(|call| call.contains(word)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_deploy_brings_all_members_to_the_new_version_and_a_rollback_all_back() {
    let yard = Yard::new(5);
    let pipeline = yard.pipeline();
    deploy(&pipeline, "1.0").await.unwrap();
    yard.assert_all_serve("1.0");
    deploy(&pipeline, "1.1").await.unwrap();
    yard.assert_all_serve("1.1");
    pipeline.rollback().await.unwrap();
    yard.assert_all_serve("1.0");
    let status = pipeline.status().await.unwrap();
    assert!(status.agrees(), "{status}");
    assert_eq!(status.members.len(), 5);
    assert!(status.to_string().contains("m3  blue 1.0, green 1.1, traffic 100 % blue"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_switched_before_all_members_are_healthy_and_waves_go_in_order() {
    let yard = Yard::new(4);
    let strategy = Strategy::waves([Wave::members(1).soak(seconds(2)), Wave::percent(50), Wave::all()]);
    let pipeline = yard.builder(yard.fleet()).strategy(strategy).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    let before = yard.faults.log().calls().len();
    deploy(&pipeline, "1.1").await.unwrap();
    let calls = yard.faults.log().calls();
    let at =
        |word: &str| calls[before..].iter().position(|call| call.contains(word)).unwrap_or_else(|| panic!("{word}"));
    let last = |word: &str| before + calls[before..].iter().rposition(|call| call.contains(word)).unwrap();
    let first_shift = before + at(".shift");
    for word in [".prepare", ".start"] {
        assert!(last(word) < first_shift, "all members are prepared and started first");
    }
    for check in ["h0", "h1", "h2", "h3"] {
        assert!(at(check) < at(".shift"), "{check} is asked before anything is switched");
    }
    let shifts: Vec<_> = calls[before..].iter().filter(|call| call.contains(".shift")).map(|call| &call[..2]).collect();
    assert_eq!(shifts, ["m0", "m1", "m2", "m3"]);
    let steps: Vec<_> = pipeline.history().await.unwrap().iter().map(|past| past.outcome.is_success()).collect();
    assert_eq!(steps, [true, true]);
}

#[tokio::test(start_paused = true)]
async fn steps_in_percent_move_as_many_members_and_the_router_reads_them_back() {
    let yard = Yard::new(3);
    let steps = [10, 50, 100].map(|percent| TrafficStep::new(percent, Duration::ZERO));
    let pipeline = yard.builder(yard.fleet()).strategy(Strategy::canary(steps)).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    let report = deploy(&pipeline, "1.1").await.unwrap();
    assert!(report.steps.iter().any(|step| step.step.to_string() == "shift-10"), "{report}");
    yard.assert_all_serve("1.1");
    let events = yard.events.lock().unwrap().clone();
    let switched = |at: u8| {
        let to = Split::toward(Slot::Green, at).unwrap();
        let until =
            events.iter().position(|event| matches!(event.what, EventKind::Shifted { to: split, .. } if split == to));
        let is_switch = |event: &&bluegreen_core::Event| matches!(&event.what, EventKind::Member { change: MemberChange::Switched { to }, .. } if *to == Split::all(Slot::Green));
        events[..until.unwrap()].iter().filter(is_switch).count()
    };
    assert_eq!([10, 50, 100].map(switched), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_wave_can_begin_with_a_part_of_one_members_traffic() {
    let yard = Yard::of(3, Granularity::Percent);
    let waves = [Wave::members(1).share(10), Wave::members(1), Wave::all()];
    let pipeline = yard.builder(yard.fleet()).strategy(Strategy::waves(waves)).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    yard.faults.on("m0.shift to 100 % green", Fault::Fail);
    deploy(&pipeline, "1.1").await.unwrap_err();
    yard.assert_all_serve("1.0");
    assert_eq!(calls(&yard, "shift to 90 % blue / 10 % green").len(), 1, "the first wave is 10 % of m0");
    deploy(&pipeline, "1.2").await.unwrap();
    yard.assert_all_serve("1.2");
}

#[tokio::test(start_paused = true)]
async fn members_that_divide_their_traffic_each_give_the_percentage() {
    let yard = Yard::of(2, Granularity::Percent);
    let steps = [TrafficStep::new(10, Duration::ZERO), TrafficStep::new(100, Duration::ZERO)];
    let pipeline = yard.builder(yard.fleet()).strategy(Strategy::canary(steps)).build().unwrap();
    deploy(&pipeline, "1.0").await.unwrap();
    deploy(&pipeline, "1.1").await.unwrap();
    assert_eq!(calls(&yard, "shift to 90 % blue / 10 % green").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_journal_writes_does_not_depend_on_the_number_of_members() {
    let mut writes = Vec::new();
    for members in [1, 4, 12] {
        let yard = Yard::new(members);
        let strategy = || match members {
            1 => Strategy::blue_green(),
            _ => Strategy::waves([Wave::all()]),
        };
        let pipeline = yard.builder(yard.fleet()).strategy(strategy()).build().unwrap();
        deploy(&pipeline, "1.0").await.unwrap();
        let before = calls(&yard, "store.commit").len();
        deploy(&pipeline, "1.1").await.unwrap();
        writes.push(calls(&yard, "store.commit").len() - before);
    }
    assert!(writes.iter().all(|count| *count == writes[0]), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_step_tells_on_how_many_members_it_is_done_and_who_has_failed() {
    let yard = Yard::new(12);
    let pipeline = yard.lenient(1);
    deploy(&pipeline, "1.0").await.unwrap();
    yard.events.lock().unwrap().clear();
    yard.faults.on("m3.start", Fault::Fail);
    deploy(&pipeline, "1.1").await.unwrap();
    let events = yard.events.lock().unwrap().clone();
    let in_start = events.iter().filter(|event| event.step == Some(bluegreen_core::state::Step::Start));
    let told: Vec<_> = in_start
        .filter_map(|event| match event.what {
            EventKind::Members { done, total, failed } => Some((done, total, failed)),
            _ => None,
        })
        .collect();
    assert_eq!((told.len(), *told.last().unwrap()), (12, (12, 12, 1)));
}

#[tokio::test(start_paused = true)]
async fn one_router_in_front_of_all_members_is_told_all_endpoints() {
    use bluegreen_core::fleet::{Fleet, Member};
    use bluegreen_core::memory::{MemoryHealth, MemoryRouter, MemoryRuntime, MemoryStateStore};
    use bluegreen_core::{Health, Pipeline, health};

    let router = MemoryRouter::new();
    let fleet = Fleet::builder()
        .with_member(Member::new("web1", MemoryRuntime::new()).address("10.0.0.1"))
        .with_member(Member::new("web2", MemoryRuntime::new()).address("fd00::2"))
        .health(|_| MemoryHealth::new())
        .build()
        .unwrap();
    let version = std::sync::Arc::new(std::sync::Mutex::new(None));
    let told = version.clone();
    let pipeline = Pipeline::builder("shop")
        .fleet(&fleet)
        .router(router.clone())
        .store(MemoryStateStore::new())
        .verify(health::from_fn("public", move |target: bluegreen_core::Target, _| {
            *told.lock().unwrap() = Some(target.version().clone());
            std::future::ready(Ok(Health::healthy_as(target.version().clone())))
        }))
        .strategy(Strategy::canary([TrafficStep::new(10, Duration::ZERO), TrafficStep::new(100, Duration::ZERO)]))
        .build()
        .unwrap();
    for version in ["1.0", "1.1"] {
        deploy(&pipeline, version).await.unwrap();
    }
    let attached: Vec<_> = router.attached(Slot::Green).into_iter().map(|endpoint| endpoint.address).collect();
    assert_eq!(attached, ["10.0.0.1:80", "[fd00::2]:80"]);
    assert_eq!(router.split(), Some(Split::all(Slot::Green)));
}
