//! What five ways of judging a release do in the same simulated traffic: false fails, misses, and how many requests they
//! need.
//!
//! ```text
//! cargo bench -p bluegreen-core --bench bench-gates
//! ```
//!
//! Prints the tables of `docs/gates.md`. `RUNS=2000` takes minutes; 400 unless set.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a bench that cannot go on ends")]

use std::time::Duration;

use bluegreen_core::Counters;
use bluegreen_core::gates::{BadRequests, RateGate};

mod judged;
mod traffic;

use judged::{Counts, End};
use traffic::{Bad, Scene, Traffic};

const LIMIT: f64 = 0.001;
const SLOW_LIMIT: f64 = 0.05;

/// All judges look at what happens for so long.
const SECONDS: u32 = 1200;

/// One way of judging.
struct Judge {
    name: &'static str,
    needs_baseline: bool,
    run: fn(Scene, u64, Kind) -> End,
}

/// What is judged.
#[derive(Clone, Copy)]
enum Kind {
    Errors,
    Latency,
}

impl Kind {
    fn limit(self) -> f64 {
        match self {
            Self::Errors => LIMIT,
            Self::Latency => SLOW_LIMIT,
        }
    }
}

const JUDGES: [Judge; 5] = [
    Judge { name: "ours", needs_baseline: false, run: ours },
    Judge { name: "threshold", needs_baseline: false, run: |scene, seed, kind| ticks(scene, seed, kind, 0) },
    Judge { name: "failureLimit 3", needs_baseline: false, run: |scene, seed, kind| ticks(scene, seed, kind, 3) },
    Judge { name: "SPRT", needs_baseline: false, run: sprt },
    Judge { name: "Mann-Whitney", needs_baseline: true, run: mann_whitney },
];

fn main() {
    let runs = std::env::var("RUNS").map_or(400, |runs| runs.parse().unwrap());
    tables("A 10 % canary of 20 requests per second", 20.0, 0.1, runs);
    tables("All traffic, 100 requests per second, no baseline", 100.0, 1.0, runs);
}

fn tables(what: &str, per_second: f64, share: f64, runs: u64) {
    let scene = |bad| Scene { per_second, share, bad, seconds: SECONDS };
    let bursts = |size, times| Bad::Bursts { size, rates: [times * LIMIT, 0.5 * LIMIT] };
    let waves = |period| Bad::Waves { mean: 0.8 * LIMIT, swing: 0.8 * LIMIT, period };
    let pauses = |common| Bad::Pauses { every: 120.0, length: 1.0, common };
    println!("## {what}\n\n20 minutes, {runs} runs. Good releases, failed in percent of runs:\n");
    head();
    for (name, bad, kind) in [
        ("independent errors, a tenth of the limit", Bad::Independent([0.1 * LIMIT; 2]), Kind::Errors),
        ("independent errors, half the limit", Bad::Independent([0.5 * LIMIT; 2]), Kind::Errors),
        ("bursts of 5, half the limit", bursts(5, 0.5), Kind::Errors),
        ("bursts of 20, half the limit", bursts(20, 0.5), Kind::Errors),
        ("waves of a minute, 0.8 ± 0.8 of the limit", waves(60.0), Kind::Errors),
        ("waves of ten minutes", waves(600.0), Kind::Errors),
        ("drift from 0.1 to 0.9 of the limit", Bad::Drift { from: 0.1 * LIMIT, to: 0.9 * LIMIT }, Kind::Errors),
        ("slow requests: a pause of 1 s in 120 s, in both slots", pauses(true), Kind::Latency),
        ("slow requests: the same, in each slot by itself", pauses(false), Kind::Latency),
    ] {
        row(name, &play(scene(bad), kind, runs), |ends| percent(ends, |end| matches!(end, End::Failed(_))));
    }
    println!("\nBad releases, missed in percent of runs, and requests until half of all runs had failed:\n");
    head();
    for (name, bad) in [
        ("3 times the limit, independent", Bad::Independent([3.0 * LIMIT, 0.1 * LIMIT])),
        ("10 times the limit, independent", Bad::Independent([10.0 * LIMIT, 0.1 * LIMIT])),
        ("3 times the limit, bursts of 5", bursts(5, 3.0)),
        ("10 times the limit, bursts of 5", bursts(5, 10.0)),
        ("10 times the limit, bursts of 20", bursts(20, 10.0)),
    ] {
        row(name, &play(scene(bad), Kind::Errors, runs), |ends| {
            let missed = percent(ends, |end| !matches!(end, End::Failed(_)));
            format!("{missed}, {}", median(ends))
        });
    }
    println!();
}

fn head() {
    let names: Vec<_> = JUDGES.iter().map(|judge| judge.name).collect();
    println!("| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
}

fn row(name: &str, all: &[Vec<End>], text: impl Fn(&[End]) -> String) {
    let cell = |ends: &Vec<End>| if ends.is_empty() { "needs a baseline".to_owned() } else { text(ends) };
    let cells: Vec<_> = all.iter().map(cell).collect();
    println!("| {name} | {} |", cells.join(" | "));
}

fn percent(ends: &[End], which: impl Fn(&End) -> bool) -> String {
    let count = ends.iter().filter(|end| which(end)).count();
    format!("{:.1} %", 100.0 * count as f64 / ends.len() as f64)
}

fn median(ends: &[End]) -> String {
    let mut needed: Vec<_> =
        ends.iter().map(|end| if let End::Failed(after) = end { *after } else { u64::MAX }).collect();
    needed.sort_unstable();
    match needed[needed.len() / 2] {
        u64::MAX => "more than half missed".to_owned(),
        requests => requests.to_string(),
    }
}

/// All judges on the same traffic; one that cannot judge it gives nothing.
fn play(scene: Scene, kind: Kind, runs: u64) -> Vec<Vec<End>> {
    let can = |judge: &Judge| scene.share < 1.0 || !judge.needs_baseline;
    let run = |judge: &Judge| (0..runs).filter(|_| can(judge)).map(|seed| (judge.run)(scene, seed, kind)).collect();
    JUDGES.iter().map(run).collect()
}

/// Ours, with its defaults, but for the warm-up: the others have none.
fn ours(scene: Scene, seed: u64, kind: Kind) -> End {
    let gate: fn(Counts) -> RateGate = match kind {
        Kind::Errors => |counts| prompt(BadRequests::Failed, counts),
        Kind::Latency => |counts| prompt(BadRequests::Slow, counts),
    };
    judged::run(scene, seed, gate)
}

fn prompt(bad: BadRequests, counts: Counts) -> RateGate {
    RateGate::builder(bad, counts).warm_up(Duration::ZERO).build().unwrap()
}

/// The minutes of a run, both slots.
fn minutes(scene: Scene, seed: u64) -> impl Iterator<Item = [Counters; 2]> {
    let mut traffic = Traffic::new(scene, seed);
    (0..scene.seconds / 60).map(move |_| {
        (0..60).fold([Counters::default(); 2], |sum, _| {
            let second = traffic.second();
            [0, 1].map(|slot| Counters {
                requests: sum[slot].requests + second[slot].requests,
                bad: sum[slot].bad + second[slot].bad,
            })
        })
    })
}

/// A measurement each minute, the ratio against the limit: fails at the first above it, or, as with Argo Rollouts, when
/// there were more failed measurements than `failureLimit`.
fn ticks(scene: Scene, seed: u64, kind: Kind, failure_limit: u32) -> End {
    let (mut requests, mut failures) = (0, 0);
    for [new, _] in minutes(scene, seed) {
        requests += new.requests;
        failures += u32::from(new.bad as f64 > kind.limit() * new.requests as f64);
        if failures > failure_limit {
            return End::Failed(requests);
        }
    }
    End::Passed(requests)
}

/// Wald's sequential probability ratio test of the limit against three times as much, both error probabilities 5 %, with
/// a look each second. Its first decision is final.
fn sprt(scene: Scene, seed: u64, kind: Kind) -> End {
    let (low, high) = (kind.limit(), 3.0 * kind.limit());
    let bound = (0.95_f64 / 0.05).ln();
    let (mut traffic, mut requests, mut log) = (Traffic::new(scene, seed), 0, 0.0);
    for _ in 0..scene.seconds {
        let [new, _] = traffic.second();
        requests += new.requests;
        let good = (new.requests - new.bad) as f64;
        log += new.bad as f64 * (high / low).ln() + good * ((1.0 - high) / (1.0 - low)).ln();
        if log >= bound {
            return End::Failed(requests);
        }
        if log <= -bound {
            return End::Passed(requests);
        }
    }
    End::Undecided
}

/// As Kayenta judges: the rates of each minute on both slots are compared by the Mann-Whitney test at 98 %, every five
/// minutes, and the first one that finds the new slot higher fails it.
fn mann_whitney(scene: Scene, seed: u64, _: Kind) -> End {
    /// Two-sided 98 %.
    const CRITICAL: f64 = 2.326;
    let (mut requests, mut rates) = (0, [Vec::new(), Vec::new()]);
    for (minute, slots) in minutes(scene, seed).enumerate() {
        requests += slots[0].requests;
        for (rates, slot) in rates.iter_mut().zip(slots) {
            rates.push(slot.bad as f64 / slot.requests.max(1) as f64);
        }
        if (minute + 1) % 5 == 0 && rank_sum_z(&rates[0], &rates[1]) > CRITICAL {
            return End::Failed(requests);
        }
    }
    End::Passed(requests)
}

/// The normal deviate of the Mann-Whitney U of `new` against `old`, corrected for ties and for continuity.
fn rank_sum_z(new: &[f64], old: &[f64]) -> f64 {
    let (n, m) = (new.len() as f64, old.len() as f64);
    let pairs = new.iter().flat_map(|a| old.iter().map(move |b| if a > b { 1.0 } else { f64::from(a == b) / 2.0 }));
    let u: f64 = pairs.sum();
    let mut all: Vec<_> = new.iter().chain(old).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all.chunk_by(|a, b| a == b).map(|tie| (tie.len() as f64).powi(3) - tie.len() as f64).sum();
    let variance = n * m / 12.0 * ((n + m + 1.0) - ties / ((n + m) * (n + m - 1.0)));
    if variance > 0.0 { (u - n * m / 2.0 - 0.5) / variance.sqrt() } else { 0.0 }
}
