mod behaviour;
mod simulation;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::gate::{Gate, Verdict, Window};
use crate::gates::{BadRequests, RateGate, RateGateBuilder};
use crate::metric::{Counters, MetricSource, Sample};
use crate::types::{Endpoint, Instance, OperationId, Release, ServiceName, Slot, Split, Target};

/// A source whose counters the test sets. Green is new, blue is old.
#[derive(Debug, Clone, Default)]
struct Scripted(Arc<Mutex<BTreeMap<Slot, Answer>>>);

#[derive(Debug, Clone)]
enum Answer {
    Series(BTreeMap<String, Counters>),
    NoData,
    Refused,
    Untrusted,
    Hangs,
}

impl Scripted {
    fn set(&self, slot: Slot, answer: Answer) {
        self.0.lock().unwrap().insert(slot, answer);
    }

    fn set_series(&self, slot: Slot, series: &[(&str, u64, u64)]) {
        let series = series.iter().map(|(name, requests, bad)| ((*name).into(), counters(*requests, *bad)));
        self.set(slot, Answer::Series(series.collect()));
    }

    /// Adds traffic to a slot's one series.
    fn serve(&self, slot: Slot, requests: u64, bad: u64) {
        let mut answers = self.0.lock().unwrap();
        let answer = answers.entry(slot).or_insert_with(|| Answer::Series(BTreeMap::new()));
        if !matches!(answer, Answer::Series(_)) {
            *answer = Answer::Series(BTreeMap::new());
        }
        if let Answer::Series(series) = answer {
            let counters = series.entry("app".into()).or_default();
            counters.requests += requests;
            counters.bad += bad;
        }
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a script")
    }
}

#[async_trait]
impl MetricSource for Scripted {
    async fn sample(&self, target: &Target, _: &Instance) -> Result<Sample> {
        let answer = self.0.lock().unwrap().get(&target.slot).cloned();
        match answer {
            Some(Answer::Series(series)) => Ok(Sample::Data(series)),
            Some(Answer::NoData) | None => Ok(Sample::NoData { reason: "no such counter".into() }),
            Some(Answer::Refused) => Err(Error::new(ErrorKind::Unreachable, "connection refused")),
            Some(Answer::Untrusted) => Ok(Sample::Untrusted { reason: "two of them".into() }),
            Some(Answer::Hangs) => std::future::pending().await,
        }
    }
}

/// A gate, its source, and the window it is asked about.
struct Judged {
    gate: RateGate,
    source: Scripted,
    window: Window,
}

/// A gate on failed requests that counts from the first one on.
fn prompt(source: &Scripted) -> RateGateBuilder {
    RateGate::builder(BadRequests::Failed, source.clone()).warm_up(Duration::ZERO)
}

impl Judged {
    /// One gate in the pipeline, no warm-up, a first step of 10 % without a baseline.
    fn errors() -> Self {
        let source = Scripted::default();
        let gate = prompt(&source).build().unwrap();
        let window = Window {
            id: 1,
            target: target(Slot::Green, "2", "deploy-1"),
            instance: running("2"),
            baseline: None,
            split: Split::toward(Slot::Green, 10).unwrap(),
            elapsed: Duration::ZERO,
            gates: 1,
        };
        Self { gate, source, window }
    }

    fn with_baseline(mut self) -> Self {
        self.window.baseline = Some((target(Slot::Blue, "1", "deploy-1"), running("1")));
        self
    }

    fn with_gate(mut self, change: impl FnOnce(RateGateBuilder) -> RateGateBuilder) -> Self {
        self.gate = change(prompt(&self.source)).build().unwrap();
        self
    }

    fn split(&mut self, percent: u8) {
        self.window.split = Split::toward(Slot::Green, percent).unwrap();
    }

    fn next_step(&mut self) {
        self.window.id += 1;
        self.window.elapsed = Duration::ZERO;
    }

    fn pass_time(&mut self, time: Duration) {
        self.window.elapsed += time;
    }

    fn serve(&mut self, requests: u64, bad: u64) {
        self.source.serve(Slot::Green, requests, bad);
    }

    fn serve_old(&mut self, requests: u64, bad: u64) {
        self.source.serve(Slot::Blue, requests, bad);
    }

    /// Lets time pass, and looks.
    async fn look(&mut self) -> Verdict {
        self.pass_time(Duration::from_secs(1));
        self.gate.judge(&self.window).await.unwrap()
    }

    /// Serves traffic of both slots for some blocks of time, and looks after each. Returns the first verdict that ends it,
    /// or else the last.
    async fn blocks(&mut self, count: u32, new: (u64, u64), old: (u64, u64)) -> Verdict {
        let mut verdict = None;
        for _ in 0..count {
            self.serve(new.0, new.1);
            self.serve_old(old.0, old.1);
            self.pass_time(Duration::from_secs(1));
            let said = self.look().await;
            let ends = is_fail(&said) || is_hold(&said);
            verdict = Some(said);
            if ends {
                break;
            }
        }
        verdict.unwrap()
    }

    /// A first reading, as of counters that stand at nothing.
    async fn begin(&mut self) {
        self.serve(0, 0);
        if self.window.baseline.is_some() {
            self.serve_old(0, 0);
        }
        self.look().await;
    }
}

fn counters(requests: u64, bad: u64) -> Counters {
    Counters { requests, bad }
}

fn target(slot: Slot, version: &str, operation: &str) -> Target {
    let service = ServiceName::new("shop").unwrap();
    Target::new(service, slot, Release::new(version).unwrap(), OperationId::new(operation).unwrap())
}

fn running(version: &str) -> Instance {
    let version = Some(version.parse().unwrap());
    Instance::Running { version, endpoints: vec![Endpoint::http("127.0.0.1:1")] }
}

fn is_pass(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Pass { .. })
}

fn is_fail(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail { .. })
}

fn is_hold(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Hold { .. })
}

fn is_undecided(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Undecided { .. })
}
