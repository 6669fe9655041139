//! Random schedules over fleets of 1 to 12 members: deploys, rollbacks and deaths at any call, members that fail, hang, die, come
//! back, and are switched or replaced by hand, under policies at random. After each turn, every member is on the old version
//! or on the new one, and the record says on which; in the end, verbs bring all members to one version.
//!
//! 10,000 cases by default; 1,000,000 with `BLUEGREEN_FULL=1`. `BLUEGREEN_SEED` repeats a run, whose seed is printed.

use std::collections::BTreeSet;
use std::time::Duration;

use bluegreen_core::fleet::{FleetBuilder, Unreachable, Wave};
use bluegreen_core::pipeline::{PipelineBuilder, Strategy as Traffic};
use bluegreen_core::testing::{Fault, Faults};
use bluegreen_core::{Error, Result, Slot, Split};
use proptest::prelude::*;

use super::yard::{Machine, Yard};
use crate::schedules::play;
use crate::world::{release, seconds, service, version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Deploy,
    Stage,
    Promote,
    Rollback,
    Resume,
    Restore,
    RetireNow,
    Recover,
}

/// What happens to a member behind the deployer's back.
#[derive(Debug, Clone, Copy)]
enum Drift {
    Crash(Slot),
    ComeBack(Slot),
    Away,
    Back,
    SwitchByHand(Slot),
    Replace(Slot),
}

#[derive(Debug, Clone)]
struct Turn {
    before: Vec<(usize, Drift)>,
    act: Act,
    /// By the number of the call, from the beginning of the turn.
    faults: Vec<(u64, Fault)>,
    meanwhile: Vec<(u64, usize, Drift)>,
}

#[derive(Debug, Clone)]
struct Case {
    members: usize,
    max_failures: usize,
    skips: bool,
    stop_on_first: bool,
    waves: u8,
    turns: Vec<Turn>,
}

fn cases() -> impl Strategy<Value = Case> {
    let members = prop_oneof![4 => 1..=4_usize, 1 => 5..=12_usize];
    let turns = prop::collection::vec(turn(), 1..5);
    (members, 0..4_usize, any::<bool>(), any::<bool>(), 0..4_u8, turns).prop_map(
        |(members, max_failures, skips, stop_on_first, waves, turns)| Case {
            members,
            max_failures: max_failures.min(members - 1),
            skips,
            stop_on_first,
            waves,
            turns,
        },
    )
}

fn turn() -> impl Strategy<Value = Turn> {
    let act = prop_oneof![
        8 => Just(Act::Deploy),
        1 => Just(Act::Stage),
        1 => Just(Act::Promote),
        2 => Just(Act::Rollback),
        2 => Just(Act::Resume),
        1 => Just(Act::Restore),
        1 => Just(Act::RetireNow),
        1 => Just(Act::Recover),
    ];
    let fault = prop::sample::select(Fault::ALL.to_vec());
    let slot = || prop::sample::select(Slot::BOTH.to_vec());
    let comes = prop_oneof![
        2 => slot().prop_map(Drift::Crash),
        2 => slot().prop_map(Drift::ComeBack),
        1 => Just(Drift::Away),
        2 => Just(Drift::Back),
    ];
    let by_hand = prop_oneof![1 => slot().prop_map(Drift::SwitchByHand), 1 => slot().prop_map(Drift::Replace)];
    let before = prop_oneof![6 => comes.clone().boxed(), 1 => by_hand.boxed()];
    (
        prop::collection::vec((0..12_usize, before), 0..3),
        act,
        prop::collection::vec((0..150_u64, fault), 0..4),
        prop::collection::vec((0..150_u64, 0..12_usize, comes), 0..2),
    )
        .prop_map(|(before, act, faults, meanwhile)| Turn { before, act, faults, meanwhile })
}

impl Drift {
    fn happen(self, machine: &Machine) {
        let found = |slot| machine.runtime.instance(slot);
        match self {
            Self::Crash(slot) if found(slot).is_running() => machine.runtime.crash(slot, "exit status 1"),
            Self::Crash(_) => {}
            Self::ComeBack(slot) => {
                if let Some(version) = found(slot).version().cloned() {
                    machine.runtime.start_by_hand(slot, version);
                }
            }
            Self::Away => machine.set_reachable(false),
            Self::Back => machine.set_reachable(true),
            Self::SwitchByHand(slot) => machine.router.switch_by_hand(Some(Split::all(slot))),
            Self::Replace(slot) => machine.runtime.start_by_hand(slot, version("by-hand")),
        }
    }

    const fn is_by_hand(self) -> bool {
        matches!(self, Self::SwitchByHand(_) | Self::Replace(_))
    }
}

fn fleet(case: &Case, yard: &Yard, faults: &Faults) -> FleetBuilder {
    let unreachable = if case.skips { Unreachable::Skip } else { Unreachable::Refuse };
    yard.fleet_of(&yard.machines, faults)
        .max_failures(case.max_failures)
        .unreachable(unreachable)
        .stop_on_first(case.stop_on_first)
        .deadline(seconds(20))
}

fn pipeline(case: &Case, yard: &Yard, faults: &Faults, fleet: FleetBuilder) -> PipelineBuilder {
    let soaked = |wave: Wave| wave.soak(seconds(1));
    let traffic = match (case.waves, case.members) {
        (0, _) | (_, 1) => Traffic::blue_green(),
        (1, 2..=3) | (2, 2) => Traffic::waves([soaked(Wave::members(1)), Wave::all()]),
        (1, _) => Traffic::waves([Wave::members(1), soaked(Wave::percent(50)), Wave::all()]),
        (2, _) => Traffic::waves([Wave::members(1), Wave::members(2), Wave::all()]),
        _ => Traffic::canary(
            [10, 100].map(|percent| bluegreen_core::pipeline::TrafficStep::new(percent, Duration::ZERO)),
        ),
    };
    yard.builder_for(fleet, faults, "me").strategy(traffic)
}

async fn act(pipeline: &bluegreen_core::Pipeline, yard: &Yard, act: Act, version: &str) -> Result<()> {
    let report = match act {
        Act::Deploy => pipeline.deploy(release(version)).await,
        Act::Stage => pipeline.stage(release(version)).await,
        Act::Promote => pipeline.promote().await,
        Act::Rollback => pipeline.rollback().await,
        Act::Restore => pipeline.restore().await,
        Act::RetireNow => pipeline.retire_now().await,
        Act::Recover => pipeline.recover().await,
        Act::Resume => {
            let state = yard.store.state(&service());
            let live = state.and_then(|state| state.slot(state.live?).version.clone());
            pipeline.resume(release(live.as_ref().map_or("0", |version| version.as_str()))).await
        }
    };
    report.map(|_| ())
}

async fn run(case: Case) {
    let yard = Yard::new(case.members);
    let mut by_hand = false;
    for (number, turn) in case.turns.iter().enumerate() {
        for (member, drift) in &turn.before {
            by_hand |= drift.is_by_hand();
            drift.happen(&yard.machines[member % case.members]);
        }
        let faults = Faults::new();
        watch(&yard, &faults, &turn.meanwhile, by_hand || has_drift(&case));
        turn.faults.iter().for_each(|(call, fault)| faults.at(*call, *fault));
        let mine = pipeline(&case, &yard, &faults, fleet(&case, &yard, &faults)).build().unwrap();
        let version = format!("1.{number}");
        let result = faults.run(act(&mine, &yard, turn.act, &version)).await;
        if let (Some(Ok(())), Act::Deploy) = (&result, turn.act) {
            let left = yard.serve().into_iter().filter(|served| served.as_deref() != Some(&version)).count();
            let aside = yard.set_aside().len();
            let calm = turn.meanwhile.is_empty();
            assert!(!calm || left <= aside, "{left} do not serve it, {aside} are set aside: {:?}", yard.serve());
            assert!(!calm || aside <= case.max_failures, "{aside} were left behind, {} may be", case.max_failures);
        }
        let looked = match &result {
            None => recover(&case, &yard).await,
            Some(result) => result.is_ok() && turn.faults.is_empty(),
        };
        // What changed while the last look was made, and what could not be seen in it, the next look finds.
        if looked && turn.meanwhile.is_empty() {
            the_record_is_true(&yard);
        }
    }
    find_a_way_out(&case, &yard, by_hand).await;
}

fn has_drift(case: &Case) -> bool {
    case.turns.iter().any(|turn| !turn.before.is_empty() || !turn.meanwhile.is_empty())
}

/// At every call: what has traffic is not stopped; without drift, what gets traffic runs.
fn watch(yard: &Yard, faults: &Faults, meanwhile: &[(u64, usize, Drift)], drifts: bool) {
    let (machines, numbers, meanwhile) = (yard.machines.clone(), faults.clone(), meanwhile.to_vec());
    faults.witness(move |call| {
        if call.starts_with("before ") {
            let number = numbers.calls() - 1;
            for (_, member, drift) in meanwhile.iter().filter(|(at, _, _)| *at == number) {
                drift.happen(&machines[member % machines.len()]);
            }
        }
        for machine in &machines {
            let split = machine.router.split();
            for slot in Slot::BOTH.into_iter().filter(|slot| split.is_some_and(|split| split.routes_to(*slot))) {
                let stop = format!("before {}.stop {slot}", machine.name);
                assert!(!call.starts_with(&stop), "{call}: it has traffic");
                let shifted = call.starts_with(&format!("after {}.shift", machine.name));
                let runs = machine.runtime.instance(slot).is_running();
                assert!(!shifted || runs || drifts, "{call}: {slot} has traffic and does not run");
            }
        }
    });
}

/// A recovery that nothing goes wrong for ends what was unfinished, unless it could not look. Whether it looked.
async fn recover(case: &Case, yard: &Yard) -> bool {
    let quiet = Faults::new();
    let result = pipeline(case, yard, &quiet, fleet(case, yard, &quiet)).build().unwrap().recover().await;
    let could_not_look = result.as_ref().is_err_and(|error| error.report().is_none());
    let Some(state) = yard.store.state(&service()) else { return false };
    assert!(state.lease.is_none(), "the lease is free: {result:?}");
    assert!(state.operation.is_none() || could_not_look, "nothing is unfinished: {result:?}");
    result.is_ok()
}

/// What is recorded of a member that takes part is what it does.
fn the_record_is_true(yard: &Yard) {
    let Some(state) = yard.store.state(&service()) else { return };
    for machine in &yard.machines {
        let Some(record) = state.members.get(&machine.name.parse().unwrap()) else { continue };
        if record.set_aside.is_some() {
            continue;
        }
        let split = machine.router.split();
        assert!(
            state.split == split || state.split.is_none_or(|split| split.sole().is_none()),
            "{}: {split:?}, {state:?}",
            machine.name
        );
        for slot in Slot::BOTH {
            let found = machine.runtime.instance(slot);
            let runs = found.version().filter(|_| found.is_running());
            assert_eq!(record.versions[slot].as_ref(), runs, "{}: {slot}", machine.name);
        }
    }
}

/// With all machines back, verbs lead to one version on all of them; where somebody acted by hand, after what the errors ask.
async fn find_a_way_out(case: &Case, yard: &Yard, by_hand: bool) {
    yard.machines.iter().for_each(|machine| machine.set_reachable(true));
    let quiet = Faults::new();
    let mut errors: Vec<Error> = Vec::new();
    for round in 0..3 {
        for verb in [Act::Recover, Act::Promote, Act::Rollback, Act::Restore, Act::Resume, Act::Deploy] {
            // As the errors say, where the live release cannot be gone back to.
            let mine =
                pipeline(case, yard, &quiet, fleet(case, yard, &quiet)).require_healthy_rollback_target(round == 0);
            let (mine, new) = (mine.build().unwrap(), format!("2.{round}"));
            match act(&mine, yard, verb, &new).await {
                Err(error) => errors.push(error),
                Ok(()) if verb == Act::Deploy => {
                    let resumed = act(&mine_again(case, yard, &quiet), yard, Act::Resume, &new).await;
                    let served: BTreeSet<_> = yard.serve().into_iter().collect();
                    if resumed.is_ok() && served == BTreeSet::from([Some(new)]) {
                        return;
                    }
                    errors.extend(resumed.err());
                }
                Ok(()) => {}
            }
        }
    }
    let told: Vec<_> = errors.iter().map(Error::chain).collect();
    let asks = |told: &String| told.contains("by hand") || told.contains("changed");
    assert!(by_hand && told.iter().any(asks), "no verb leads out: {:?}\n{}", yard.serve(), told.join("\n"));
}

fn mine_again(case: &Case, yard: &Yard, faults: &Faults) -> bluegreen_core::Pipeline {
    pipeline(case, yard, faults, fleet(case, yard, faults)).build().unwrap()
}

#[test]
fn every_member_is_on_the_old_version_or_the_new_one_and_the_record_says_on_which_1() {
    play(0, &cases(), run);
}

#[test]
fn every_member_is_on_the_old_version_or_the_new_one_and_the_record_says_on_which_2() {
    play(1, &cases(), run);
}

#[test]
fn every_member_is_on_the_old_version_or_the_new_one_and_the_record_says_on_which_3() {
    play(2, &cases(), run);
}

#[test]
fn every_member_is_on_the_old_version_or_the_new_one_and_the_record_says_on_which_4() {
    play(3, &cases(), run);
}
