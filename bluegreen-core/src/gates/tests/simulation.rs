//! What the gate does to simulated releases, many times over. The generator is seeded: the figures are the same each
//! time.

use std::time::Duration;

use super::*;

/// How the simulated operations ended.
#[derive(Debug, Default)]
struct Ends {
    failed: u32,
    held: u32,
    passed: u32,
    /// The number of looks after which each failed one failed.
    failed_after: Vec<u32>,
}

/// Runs simulated operations of `looks` looks each; `traffic` serves what comes between two of them.
async fn simulate(runs: u64, looks: u32, new: impl Fn() -> Judged, traffic: impl Fn(&mut Judged, &mut Dice)) -> Ends {
    let mut ends = Ends::default();
    for seed in 0..runs {
        let (mut judged, mut dice) = (new(), Dice::new(seed));
        judged.begin().await;
        let mut passed = false;
        for look in 1..=looks {
            traffic(&mut judged, &mut dice);
            match judged.look().await {
                Verdict::Fail { .. } => {
                    ends.failed += 1;
                    ends.failed_after.push(look);
                    break;
                }
                Verdict::Hold { .. } => {
                    ends.held += 1;
                    break;
                }
                verdict => passed = is_pass(&verdict),
            }
        }
        ends.passed += u32::from(passed);
    }
    ends.failed_after.sort_unstable();
    ends
}

impl Ends {
    fn median_look(&self) -> u32 {
        self.failed_after[self.failed_after.len() / 2]
    }
}

struct Dice(fastrand::Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// How many of `trials` come true, each with `probability`: by the distances between those that do.
    fn count(&mut self, trials: u64, probability: f64) -> u64 {
        let (mut count, mut at) = (0, 0.0);
        loop {
            at += 1.0 + (self.0.f64().max(f64::MIN_POSITIVE).ln() / (-probability).ln_1p()).floor();
            if at > trials as f64 {
                return count;
            }
            count += 1;
        }
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }
}

/// 200 requests a look on the new slot, without a baseline.
fn alone(rate: f64) -> impl Fn(&mut Judged, &mut Dice) {
    move |judged, dice| {
        let bad = dice.count(200, rate);
        judged.pass_time(Duration::from_secs(1));
        judged.serve(200, bad);
    }
}

/// Five seconds of 2,000 requests a minute, divided by chance, with the rates of the new slot and of the old one. Bad ones
/// come in bursts of this length, each on one slot.
fn five_seconds(judged: &mut Judged, dice: &mut Dice, share: Share, rates: [f64; 2], burst: u64) {
    let new = dice.count(EACH, share.0);
    let mut bad = |requests, rate: f64| burst * dice.count(requests, rate / burst as f64);
    let (bad, bad_old) = (bad(new, rates[0]), bad(EACH - new, rates[1]));
    judged.pass_time(Duration::from_secs(4));
    judged.serve(new, bad);
    judged.serve_old(EACH - new, bad_old);
}

/// How many requests five seconds have.
const EACH: u64 = 167;

/// How many looks of five seconds half an hour has.
const HALF_AN_HOUR: u32 = 360;

/// The new slot's share of the traffic.
#[derive(Clone, Copy)]
struct Share(f64);

const TENTH: Share = Share(0.1);

/// A limit near the rates of these simulations, in which a shared incident is over it.
fn compared() -> Judged {
    Judged::errors().with_baseline().with_gate(|gate| gate.limit(0.02))
}

#[tokio::test]
async fn a_release_right_at_its_limit_is_failed_less_often_than_alpha() {
    let ends = simulate(2000, 30, Judged::errors, alone(0.001)).await;
    println!("at the limit: {} of 2,000 failed", ends.failed);
    assert!(ends.failed > 0, "the simulation reaches verdicts at all");
    assert!(f64::from(ends.failed) / 2000.0 < 0.05, "{} of 2,000", ends.failed);
}

#[tokio::test]
async fn many_steps_do_not_add_up_to_more_false_alarms() {
    let ends = simulate(2000, 40, Judged::errors, |judged, dice| {
        if dice.happens(0.25) {
            judged.next_step();
            judged.serve(0, 0);
        }
        alone(0.001)(judged, dice);
    })
    .await;
    println!("at the limit, ten steps: {} of 2,000 failed", ends.failed);
    assert!(f64::from(ends.failed) / 2000.0 < 0.05, "{} of 2,000", ends.failed);
}

#[tokio::test]
async fn a_long_bake_does_not_add_up_to_more_false_alarms() {
    for rate in [0.001, 0.0005] {
        let ends = simulate(300, 300, Judged::errors, |judged, dice| {
            let bad = dice.count(2000, rate);
            judged.pass_time(Duration::from_secs(1));
            judged.serve(2000, bad);
        })
        .await;
        println!("rate {rate}, 600,000 requests: {} of 300 failed", ends.failed);
        assert!(f64::from(ends.failed) / 300.0 < 0.05, "{} of 300", ends.failed);
    }
}

#[tokio::test]
async fn a_release_that_gets_bad_late_in_a_long_bake_is_caught_soon() {
    let ends = simulate(200, 80, Judged::errors, |judged, dice| {
        judged.pass_time(Duration::from_secs(1));
        let late = judged.window.elapsed > Duration::from_secs(120);
        let bad = dice.count(2000, if late { 0.01 } else { 0.0002 });
        judged.serve(2000, bad);
    })
    .await;
    println!("bad from look 61 on: {} of 200 failed, half of them by look {}", ends.failed, ends.median_look());
    assert_eq!(ends.failed, 200);
    assert!(ends.median_look() <= 70, "by look {}", ends.median_look());
}

#[tokio::test]
async fn a_good_release_is_practically_never_failed_and_passes() {
    let ends = simulate(1000, 120, Judged::errors, alone(0.0002)).await;
    println!("good: {} of 1,000 failed, {} passed", ends.failed, ends.passed);
    assert!(ends.failed <= 2, "{} of 1,000", ends.failed);
    assert!(ends.passed > 900, "{} of 1,000", ends.passed);
}

#[tokio::test]
async fn a_bad_release_is_caught_soon_and_never_passes() {
    let ends = simulate(1000, 30, Judged::errors, alone(0.01)).await;
    println!("bad: {} of 1,000 failed, half of them by look {}", ends.failed, ends.median_look());
    assert_eq!((ends.failed, ends.passed), (1000, 0));
    assert!(ends.median_look() <= 5, "by look {}", ends.median_look());
}

#[tokio::test]
async fn a_release_at_its_limit_passes_less_often_than_beta() {
    let mut ever = 0;
    for seed in 0..500 {
        let (mut judged, mut dice) = (Judged::errors(), Dice::new(seed));
        judged.begin().await;
        for _ in 0..60 {
            alone(0.001)(&mut judged, &mut dice);
            if is_pass(&judged.look().await) {
                ever += 1;
                break;
            }
        }
    }
    println!("at the limit: {ever} of 500 passed at some time");
    assert!(f64::from(ever) / 500.0 < 0.05, "{ever} of 500");
}

#[tokio::test]
async fn equal_rates_are_rarely_failed_or_held() {
    let ends =
        simulate(1000, HALF_AN_HOUR, compared, |judged, dice| five_seconds(judged, dice, TENTH, [0.005, 0.005], 1))
            .await;
    println!("equal rates: {} of 1,000 failed, {} held", ends.failed, ends.held);
    assert!(f64::from(ends.failed) / 1000.0 < 0.05, "{} of 1,000", ends.failed);
    assert!(f64::from(ends.held) / 1000.0 < 0.05, "{} of 1,000 held", ends.held);
}

#[tokio::test]
async fn equal_rates_of_bursty_errors_are_rarely_failed() {
    let ends =
        simulate(1000, HALF_AN_HOUR, compared, |judged, dice| five_seconds(judged, dice, TENTH, [0.01, 0.01], 3)).await;
    println!("equal rates in bursts of 3: {} of 1,000 failed, {} held", ends.failed, ends.held);
    assert!(f64::from(ends.failed) / 1000.0 < 0.05, "{} of 1,000", ends.failed);
}

#[tokio::test]
async fn an_incident_that_befalls_both_slots_holds_and_fails_nothing() {
    for share in [0.1, 0.5, 0.9] {
        let new = || {
            let mut judged = compared();
            judged.split((share * 100.0) as u8);
            judged
        };
        let ends = simulate(500, HALF_AN_HOUR, new, |judged, dice| {
            let incident = judged.window.elapsed > Duration::from_secs(600);
            let rate = if incident { 0.05 } else { 0.005 };
            five_seconds(judged, dice, Share(share), [rate, rate], 1);
        })
        .await;
        println!("shared incident at {share}: {} of 500 failed, {} held", ends.failed, ends.held);
        assert!(f64::from(ends.failed) / 500.0 < 0.05, "at {share}: {} of 500 failed", ends.failed);
        assert!(ends.held > 450, "at {share}: {} of 500 held", ends.held);
    }
}

#[tokio::test]
async fn a_release_four_times_worse_than_the_old_slot_is_caught() {
    let ends =
        simulate(1000, HALF_AN_HOUR, compared, |judged, dice| five_seconds(judged, dice, TENTH, [0.02, 0.005], 1))
            .await;
    println!("four times worse: {} of 1,000 failed, half of them by minute {}", ends.failed, ends.median_look() / 12);
    assert!(ends.failed >= 990, "{} of 1,000", ends.failed);
    assert!(ends.median_look() / 12 <= 6, "by minute {}", ends.median_look() / 12);
}
