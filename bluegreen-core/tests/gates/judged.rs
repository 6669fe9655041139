//! A gate that judges simulated traffic.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::gates::RateGate;
use bluegreen_core::{
    Counters, Endpoint, Gate, Instance, MetricSource, OperationId, Release, Result, Sample, ServiceName, Slot, Split,
    Target, Verdict, Window,
};
use futures::FutureExt;

use crate::traffic::{Scene, Traffic};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// After so many requests to the new slot.
    Failed(u64),
    /// It passed first after so many.
    Passed(u64),
    Undecided,
}

/// Judges the traffic of a scene second by second, to its end or to the first failure.
pub fn run(scene: Scene, seed: u64, gate: fn(Counts) -> RateGate) -> End {
    let counts = Counts::default();
    let gate = gate(counts.clone());
    let split = Split::toward(Slot::Green, (scene.share * 100.0) as u8).unwrap();
    let mut window = Window::new(1, target(Slot::Green, "2"), running("2"));
    window.baseline = (scene.share < 1.0).then(|| (target(Slot::Blue, "1"), running("1")));
    window.split = split;
    let mut traffic = Traffic::new(scene, seed);
    let mut end = End::Undecided;
    gate.judge(&window).now_or_never().unwrap().unwrap();
    for _ in 0..scene.seconds {
        window.elapsed += Duration::from_secs(1);
        let requests = counts.add(traffic.second());
        match gate.judge(&window).now_or_never().unwrap().unwrap() {
            Verdict::Fail { .. } => return End::Failed(requests),
            Verdict::Pass { .. } if end == End::Undecided => end = End::Passed(requests),
            _ => {}
        }
    }
    end
}

/// The counters of the new slot and of the old one.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Mutex<[Counters; 2]>>);

impl Counts {
    fn add(&self, more: [Counters; 2]) -> u64 {
        let mut counts = self.0.lock().unwrap();
        for (slot, more) in counts.iter_mut().zip(more) {
            slot.requests += more.requests;
            slot.bad += more.bad;
        }
        counts[0].requests
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("simulated traffic")
    }
}

#[async_trait]
impl MetricSource for Counts {
    async fn sample(&self, target: &Target, _: &Instance) -> Result<Sample> {
        let counts = self.0.lock().unwrap()[usize::from(target.slot == Slot::Blue)];
        Ok(Sample::Data([("app".to_owned(), counts)].into()))
    }
}

fn target(slot: Slot, version: &str) -> Target {
    let (service, operation) = (ServiceName::new("shop").unwrap(), OperationId::new("deploy-1").unwrap());
    Target::new(service, slot, Release::new(version).unwrap(), operation)
}

fn running(version: &str) -> Instance {
    Instance::Running { version: Some(version.parse().unwrap()), endpoints: vec![Endpoint::http("127.0.0.1:1")] }
}
