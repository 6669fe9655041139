//! What a case is made of.

use bluegreen_core::Slot;
use bluegreen_core::testing::Fault;
use proptest::prelude::*;

use super::drift::Drift;

/// What a deployer is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Deploy,
    Stage,
    Promote,
    Rollback,
    Restore,
    Retire,
    RetireNow,
    Expand,
    Contract,
    Recover,
    Unlock,
}

/// One act, with what happens before it, and who else acts at the same time.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) before: Vec<Drift>,
    pub(super) by: Deployer,
    pub(super) act: Act,
    /// What the other deployer begins so many seconds later.
    pub(super) beside: Option<(u64, Act)>,
    /// What happens between a death and each recovery, the last but one of which die at such a call.
    pub(super) recoveries: Vec<Recovery>,
}

/// What happens before a recovery, and at which of its calls it dies.
pub(super) type Recovery = (Vec<Drift>, Option<(u64, Fault)>);

/// The two deployers are set up in different ways, as the tools of two people are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deployer {
    Ann,
    Bob,
}

#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) turns: Vec<Turn>,
    pub(super) faults: Vec<(u64, Fault)>,
    /// What changes while somebody acts, by the number of the call.
    pub(super) meanwhile: Vec<(u64, Drift)>,
    pub(super) verdicts: Vec<u8>,
    pub(super) in_flight: [u64; 2],
    pub(super) contract: bool,
    pub(super) retention: u8,
    pub(super) canary: bool,
    pub(super) undecided: u8,
    pub(super) before_start: bool,
    pub(super) bob_migrates: bool,
    pub(super) hooks: bool,
    pub(super) require_healthy_rollback_target: bool,
}

/// Half of the cases have no drift, so that the strict invariants are tried as often.
pub(super) fn cases() -> impl Strategy<Value = Case> {
    any::<bool>().prop_flat_map(case)
}

fn case(drifts: bool) -> impl Strategy<Value = Case> {
    let most = if drifts { 3 } else { 1 };
    let turns = prop::collection::vec(turn(most), 1..6);
    let faults = prop::collection::vec((0..300_u64, fault()), 0..5);
    let meanwhile = prop::collection::vec((0..300_u64, drift()), 0..most);
    let settings = (
        prop::collection::vec(0..12_u8, 1..20),
        prop::array::uniform2(0..3_u64),
        prop::bool::weighted(0.1),
        0..3_u8,
        any::<bool>(),
        0..3_u8,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.8),
    );
    (turns, faults, meanwhile, settings).prop_map(
        |(
            turns,
            faults,
            meanwhile,
            (
                verdicts,
                in_flight,
                contract,
                retention,
                canary,
                undecided,
                before_start,
                bob_migrates,
                hooks,
                require_healthy_rollback_target,
            ),
        )| Case {
            turns,
            faults,
            meanwhile,
            verdicts,
            in_flight,
            contract,
            retention,
            canary,
            undecided,
            before_start,
            bob_migrates,
            hooks,
            require_healthy_rollback_target,
        },
    )
}

fn turn(most: usize) -> impl Strategy<Value = Turn> {
    let deployer = prop_oneof![4 => Just(Deployer::Ann), 1 => Just(Deployer::Bob)];
    let beside = prop_oneof![4 => Just(None), 1 => (0..40_u64, act()).prop_map(Some)];
    let death = prop_oneof![2 => Just(None), 1 => (0..40_u64, fault()).prop_map(Some)];
    let recovery = (prop::collection::vec(drift(), 0..most), death);
    (prop::collection::vec(drift(), 0..most), deployer, act(), beside, prop::collection::vec(recovery, 0..4))
        .prop_map(|(before, by, act, beside, recoveries)| Turn { before, by, act, beside, recoveries })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Deploy),
        2 => Just(Act::Stage),
        2 => Just(Act::Promote),
        2 => Just(Act::Rollback),
        1 => Just(Act::Restore),
        1 => Just(Act::Retire),
        1 => Just(Act::RetireNow),
        1 => Just(Act::Expand),
        1 => Just(Act::Contract),
        1 => Just(Act::Recover),
        1 => Just(Act::Unlock),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(Fault::ALL.to_vec())
}

fn drift() -> impl Strategy<Value = Drift> {
    let slot = || prop::sample::select(Slot::BOTH.to_vec());
    prop_oneof![
        2 => (0..=4_u8).prop_map(Drift::Switch),
        3 => slot().prop_map(Drift::Crash),
        1 => slot().prop_map(Drift::Degrade),
        3 => slot().prop_map(Drift::ComeBack),
        1 => slot().prop_map(Drift::Replace),
        2 => slot().prop_map(Drift::Away),
        3 => slot().prop_map(Drift::Back),
        1 => slot().prop_map(Drift::Sicken),
        1 => slot().prop_map(Drift::Discard),
        1 => Just(Drift::LoseRecord),
        1 => (1..200_u64).prop_map(Drift::Wait),
    ]
}
