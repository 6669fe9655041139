use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether tests run all of their cases: the environment has `BLUEGREEN_FULL=1`.
pub fn is_full_run() -> bool {
    std::env::var_os("BLUEGREEN_FULL").is_some_and(|full| full == "1")
}

/// The seed of this run: `BLUEGREEN_SEED`, or else the time.
pub fn run_seed() -> u64 {
    let given = std::env::var("BLUEGREEN_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
}

/// For tests whose cases are too many for each run: at most `of_each_kind` of each kind, drawn at random and in the order
/// given; all of them where [`is_full_run`].
///
/// A line on standard error names the test and the seed that repeats it, also when the test passes.
///
/// ```
/// use bluegreen_core::testing::{is_full_run, sample};
///
/// let steps = [("start", "aborted"), ("health", "aborted"), ("shift", "rolled back")];
/// let drawn = sample(steps, 1, |(_, outcome)| *outcome);
/// assert_eq!(drawn.len(), if is_full_run() { 3 } else { 2 });
/// ```
pub fn sample<T, K: Eq + Hash>(
    cases: impl IntoIterator<Item = T>,
    of_each_kind: usize,
    kind: impl Fn(&T) -> K,
) -> Vec<T> {
    let cases: Vec<T> = cases.into_iter().collect();
    if is_full_run() {
        return cases;
    }
    let (all, seed) = (cases.len(), run_seed());
    let drawn = draw(cases, of_each_kind, kind, seed);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not by `eprintln!`, which the test harness keeps to itself when a test passes.
    let line = format!("sampled: {test}: {} of {all} cases; BLUEGREEN_SEED={seed}", drawn.len());
    let _ = writeln!(std::io::stderr(), "{line}");
    drawn
}

fn draw<T, K: Eq + Hash>(cases: Vec<T>, of_each_kind: usize, kind: impl Fn(&T) -> K, seed: u64) -> Vec<T> {
    let mut shuffled: Vec<(usize, T)> = cases.into_iter().enumerate().collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
    let mut drawn = HashMap::new();
    shuffled.retain(|(_, case)| {
        let count: &mut usize = drawn.entry(kind(case)).or_default();
        *count += 1;
        *count <= of_each_kind
    });
    shuffled.sort_by_key(|(position, _)| *position);
    shuffled.into_iter().map(|(_, case)| case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_drawn_from_in_order_and_a_seed_repeats_it() {
        let drawn = |seed| draw((0..20).collect(), 2, |case| case % 3, seed);
        for seed in 0..100 {
            let cases = drawn(seed);
            assert!(cases.is_sorted() && cases.len() == 6, "{cases:?}");
            for kind in 0..3 {
                assert_eq!(cases.iter().filter(|case| *case % 3 == kind).count(), 2, "{cases:?}");
            }
            assert_eq!(cases, drawn(seed));
        }
        assert!((1..100).any(|seed| drawn(seed) != drawn(0)), "all seeds draw the same");
    }

    #[test]
    fn a_kind_with_fewer_cases_is_drawn_whole() {
        assert_eq!(draw(vec!["a", "bb", "cc"], 2, |case| case.len(), 7), ["a", "bb", "cc"]);
    }
}
