//! What the gates do in the traffic that people have: bursts, waves, pauses, drifts, with and without a baseline.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod judged;
mod traffic;

use std::time::Duration;

use bluegreen_core::gates::{BadRequests, RateGate};
use judged::{Counts, End, run};
use traffic::{Bad, Scene};

const LIMIT: f64 = 0.001;

type MakeGate = fn(Counts) -> RateGate;

fn errors(counts: Counts) -> RateGate {
    RateGate::builder(BadRequests::Failed, counts).warm_up(Duration::ZERO).build().unwrap()
}

fn latency(counts: Counts) -> RateGate {
    RateGate::builder(BadRequests::Slow, counts).warm_up(Duration::ZERO).build().unwrap()
}

/// 2,000 in a full run. The fewer ones are enough to tell 1 % of false alarms from 15 %.
fn runs() -> u64 {
    if is_full() { 2000 } else { 80 }
}

fn is_full() -> bool {
    std::env::var_os("BLUEGREEN_FULL").is_some_and(|full| full == "1")
}

/// Plays a scene many times, on all processors.
fn play(scene: Scene, runs: u64, gate: MakeGate) -> Vec<End> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || (part..runs).step_by(threads as usize).map(|seed| run(scene, seed, gate)).collect())
            })
            .collect();
        parts.into_iter().flat_map(|part: std::thread::ScopedJoinHandle<'_, Vec<End>>| part.join().unwrap()).collect()
    })
}

#[test]
fn a_good_release_is_failed_less_often_than_alpha_in_the_traffic_that_people_have() {
    let half = [LIMIT / 2.0; 2];
    let scene = |per_second, share, bad| Scene { per_second, share, bad, seconds: 1200 };
    let bursts = |size| Bad::Bursts { size, rates: half };
    let waves = |period| Bad::Waves { mean: 0.8 * LIMIT, swing: 0.8 * LIMIT, period };
    let pauses = |common| Bad::Pauses { every: 120.0, length: 1.0, common };
    let drift = Bad::Drift { from: 0.1 * LIMIT, to: 0.9 * LIMIT };
    let rows: [(&str, Scene, MakeGate); 24] = [
        ("bursts of 5", scene(100.0, 1.0, bursts(5)), errors),
        ("bursts of 20", scene(100.0, 1.0, bursts(20)), errors),
        ("bursts of 5, 1 a second", scene(1.0, 1.0, bursts(5)), errors),
        ("bursts of 20, 1 a second", scene(1.0, 1.0, bursts(20)), errors),
        ("bursts of 5, 10 a second", scene(10.0, 1.0, bursts(5)), errors),
        ("bursts of 20, 10 a second", scene(10.0, 1.0, bursts(20)), errors),
        ("bursts of 5, 2,000 a second", scene(2000.0, 1.0, bursts(5)), errors),
        ("bursts of 20, 2,000 a second", scene(2000.0, 1.0, bursts(20)), errors),
        ("waves of a minute", scene(100.0, 1.0, waves(60.0)), errors),
        ("waves of a minute, 2,000 a second", scene(2000.0, 1.0, waves(60.0)), errors),
        ("waves of ten minutes", scene(100.0, 1.0, waves(600.0)), errors),
        ("waves of ten minutes, 10 % canary", scene(200.0, 0.1, waves(600.0)), errors),
        ("pauses", scene(100.0, 1.0, pauses(false)), latency),
        ("pauses, 2,000 a second", scene(2000.0, 1.0, pauses(false)), latency),
        ("pauses of both slots", scene(100.0, 0.1, pauses(true)), latency),
        ("pauses of each slot", scene(100.0, 0.1, pauses(false)), latency),
        ("pauses of each slot, 50 %", scene(1000.0, 0.5, pauses(false)), latency),
        ("10 % canary, bursts of 5 in each", scene(50.0, 0.1, bursts(5)), errors),
        ("10 % canary, bursts of 20 in each", scene(50.0, 0.1, bursts(20)), errors),
        ("10 % canary of 2 a second, bursts of 5", scene(2.0, 0.1, bursts(5)), errors),
        ("10 % canary of 10 a second, bursts of 20", scene(10.0, 0.1, bursts(20)), errors),
        ("90 % new, bursts of 20 in each", scene(450.0, 0.9, bursts(20)), errors),
        ("drift", scene(100.0, 1.0, drift), errors),
        ("independent, 10 % canary", scene(200.0, 0.1, Bad::Independent([0.9 * LIMIT; 2])), errors),
    ];
    let mut bad = Vec::new();
    for (name, scene, gate) in rows {
        let ends = play(scene, runs(), gate);
        let count = |which: fn(&End) -> bool| ends.iter().filter(|end| which(end)).count();
        let failed = count(|end| matches!(end, End::Failed(_)));
        let passed = count(|end| matches!(end, End::Passed(_)));
        println!("{name:40} {failed:5} failed, {passed:5} passed of {}", ends.len());
        // Of few runs, two standard errors more are chance.
        let chance = if is_full() { 0.0 } else { 2.0 * (0.05 * 0.95 / ends.len() as f64).sqrt() };
        if failed as f64 >= (0.05 + chance) * ends.len() as f64 {
            bad.push(name);
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_release_over_the_limit_is_found_nearly_as_soon_as_if_errors_were_known_to_be_independent() {
    // A test that takes requests for independent needs 4,400 and 1,400: half as many again.
    for (times, at_most) in [(3.0, 6600), (10.0, 2100)] {
        for share in [1.0, 0.1] {
            for per_second in [10.0, 50.0, 100.0] {
                let bad = Bad::Independent([times * LIMIT, 0.1 * LIMIT]);
                let ends = play(Scene { per_second, share, bad, seconds: 3000 }, runs(), errors);
                let mut needed: Vec<_> = ends
                    .iter()
                    .filter_map(|end| if let End::Failed(after) = end { Some(*after) } else { None })
                    .collect();
                needed.sort_unstable();
                let median = needed.get(ends.len() / 2).copied().unwrap_or(u64::MAX);
                println!("{times} times the limit, share {share}, {per_second} a second: {median} requests");
                assert_eq!(needed.len(), ends.len(), "all are found");
                assert!(median <= at_most, "{median}");
            }
        }
    }
}
