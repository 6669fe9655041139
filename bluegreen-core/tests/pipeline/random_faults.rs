//! Random sequences of operations under random schedules of faults: the invariants hold at every call, and after each
//! recovery everything agrees.

use std::time::Duration;

use bluegreen_core::pipeline::{Contract, Retention, Strategy, TrafficStep, Undecided};
use bluegreen_core::testing::{Fault, Faulty, ScriptedGate};
use bluegreen_core::{Phase, Pipeline, Slot, Verdict, When};
use proptest::prelude::*;

use crate::world::{World, release, seconds};

#[derive(Debug, Clone, Copy)]
enum Act {
    Deploy,
    Stage,
    Promote,
    Rollback,
    RetireNow,
    Expand,
    Contract,
    Recover,
}

#[derive(Debug, Clone)]
struct Case {
    acts: Vec<Act>,
    faults: Vec<(u64, Fault)>,
    verdicts: Vec<u8>,
    in_flight: [u64; 2],
    contract: bool,
    retention: u8,
    canary: bool,
    undecided: u8,
    when: bool,
}

fn cases() -> impl Strategy2<Value = Case> {
    let act = prop_oneof![
        5 => Just(Act::Deploy),
        2 => Just(Act::Stage),
        2 => Just(Act::Promote),
        2 => Just(Act::Rollback),
        1 => Just(Act::RetireNow),
        1 => Just(Act::Expand),
        1 => Just(Act::Contract),
        1 => Just(Act::Recover),
    ];
    let fault = prop::sample::select(Fault::ALL.to_vec());
    (
        prop::collection::vec(act, 1..5),
        prop::collection::vec((0..260_u64, fault), 0..5),
        prop::collection::vec(0..12_u8, 1..20),
        prop::array::uniform2(0..3_u64),
        prop::bool::weighted(0.1),
        0..3_u8,
        any::<bool>(),
        0..3_u8,
        any::<bool>(),
    )
        .prop_map(|(acts, faults, verdicts, in_flight, contract, retention, canary, undecided, when)| Case {
            acts,
            faults,
            verdicts,
            in_flight,
            contract,
            retention,
            canary,
            undecided,
            when,
        })
}

use proptest::strategy::Strategy as Strategy2;

fn build(world: &World, case: &Case) -> Pipeline {
    let strategy = if case.canary {
        let steps = [TrafficStep::new(10, seconds(2)), TrafficStep::new(100, Duration::ZERO)];
        Strategy::canary(steps).bake(seconds(2))
    } else {
        Strategy::blue_green()
    };
    let verdicts = case.verdicts.iter().map(|verdict| match verdict {
        0 => Verdict::Fail { reason: "bad".into() },
        1 | 2 => Verdict::Undecided { needs: "more".into() },
        3 => Verdict::Hold { reason: "sick".into() },
        _ => Verdict::Pass { evidence: "good".into() },
    });
    let undecided = [Undecided::Hold, Undecided::Abort, Undecided::Accept][usize::from(case.undecided)];
    let retention =
        [Retention::For(seconds(60)), Retention::UntilNextDeploy, Retention::Retire][usize::from(case.retention)];
    world
        .builder()
        .strategy(strategy.when_undecided(undecided))
        .retention(retention)
        .contract(if case.contract { Contract::AfterBake } else { Contract::WhenAsked })
        .migrator(world.migrator(if case.when { When::BeforeStart } else { When::AfterStart }))
        .gate(Faulty::new(ScriptedGate::new(verdicts), &world.faults))
        .build()
        .unwrap()
}

async fn act(pipeline: &Pipeline, act: Act, number: usize) -> bluegreen_core::Result<bool> {
    let version = format!("1.{number}");
    let report = match act {
        Act::Deploy => pipeline.deploy(release(&version)).await?,
        Act::Stage => pipeline.stage(release(&version)).await?,
        Act::Promote => pipeline.promote().await?,
        Act::Rollback => pipeline.rollback().await?,
        Act::RetireNow => pipeline.retire_now().await?,
        Act::Expand => pipeline.migrate(Phase::Expand).await?,
        Act::Contract => pipeline.migrate(Phase::Contract).await?,
        Act::Recover => pipeline.recover().await?,
    };
    Ok(report.outcome.is_success())
}

async fn run(case: Case) {
    let world = World::new();
    world.router.set_in_flight(Slot::Blue, case.in_flight[0]);
    world.router.set_in_flight(Slot::Green, case.in_flight[1]);
    for (call, fault) in &case.faults {
        world.faults.at(*call, *fault);
    }
    let pipeline = build(&world, &case);
    for (number, todo) in case.acts.iter().enumerate() {
        let before = (world.router.split(), world.runtime.instance(Slot::Blue), world.runtime.instance(Slot::Green));
        let result = world.faults.run(act(&pipeline, *todo, number)).await;
        if let (Some(Ok(true)), Act::Deploy) = (&result, todo) {
            let live = world.live().expect("success means that all traffic has moved");
            assert_eq!(world.runtime.instance(live).version().unwrap().as_str(), format!("1.{number}"));
        }
        if let Some(Err(error)) = &result
            && error.report().is_none()
            && error.effect() == bluegreen_core::Effect::NotApplied
        {
            let after = (world.router.split(), world.runtime.instance(Slot::Blue), world.runtime.instance(Slot::Green));
            assert_eq!(before, after, "refused, and nothing changed: {error}");
        }
        let unfinished = world.store.state(&crate::world::service()).is_some_and(|state| state.operation.is_some());
        if result.is_none() || unfinished {
            let recovered = world.recover().await;
            assert!(recovered.is_ok(), "{recovered:?}");
            assert!(world.state().lease.is_none() && world.state().operation.is_none());
        }
    }
    world.faults.clear();
    let recovered = world.recover().await;
    assert!(recovered.is_ok(), "{recovered:?}");
    if world.router.split().is_some_and(|split| split.sole().is_none()) {
        // A canary is held: both ways out of it must be open.
        let quiet = bluegreen_core::testing::Faults::new();
        world.builder_for(&quiet, "me").build().unwrap().rollback().await.unwrap();
    }
    world.assert_settled().await;
    // What was never seen to answer is told, whatever else is fine.
    let report = world.recover().await.unwrap();
    if let Some(live) = world.live() {
        let told = report.notes.iter().any(|note| note.contains("was not confirmed at the public address"));
        assert!(told || world.state().slot(live).confirmed.is_some(), "{live} was never confirmed: {report}");
    }
    world.assert_settled().await;
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_invariants_hold_under_random_faults(case in cases()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(case));
    }
}
