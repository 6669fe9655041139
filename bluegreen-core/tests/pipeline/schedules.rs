//! Plays random cases for a model: 10,000 by default, 1,000,000 with `BLUEGREEN_FULL=1`. `BLUEGREEN_SEED` repeats a run, whose
//! seed is printed.

use bluegreen_core::testing::{is_full_run, run_seed};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};

/// How many threads share the cases: as many tests, so that each is run in one.
const SHARES: u64 = 4;

/// Plays one share of the cases, counted from 0.
pub(crate) fn play<S: Strategy, R: Future<Output = ()>>(share: u64, cases: &S, run: impl Fn(S::Value) -> R) {
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
    let result = TestRunner::new(config).run(cases, |case| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(case));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
