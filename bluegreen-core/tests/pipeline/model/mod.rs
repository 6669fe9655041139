//! Random sequences of verbs by two deployers, under random faults, with machines, releases and the router changing behind
//! their backs, deaths within recoveries, and lost records: the invariants hold at every call, each recovery brings what it
//! took over to an end, and from every state that is reached, verbs lead back to one slot with all traffic.
//!
//! 10,000 cases by default; 1,000,000 with `BLUEGREEN_FULL=1`. `BLUEGREEN_SEED` repeats a run, whose seed is printed.

mod case;
mod drift;
mod run;
mod stage;
mod way_out;

use bluegreen_core::testing::{is_full_run, run_seed};
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};

use case::cases;

/// How many threads share the cases: as many tests, so that each is run in one.
const SHARES: u64 = 4;

fn model(share: u64) {
    let (full, seed) = (is_full_run(), run_seed());
    println!("BLUEGREEN_SEED={seed}");
    let config = Config {
        cases: if full { 1_000_000 } else { 10_000 } / u32::try_from(SHARES).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(seed.wrapping_mul(SHARES).wrapping_add(share)),
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&cases(), |case| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run::run(case));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_1() {
    model(0);
}

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_2() {
    model(1);
}

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_3() {
    model(2);
}

#[test]
fn the_invariants_hold_and_verbs_lead_out_of_every_state_4() {
    model(3);
}
