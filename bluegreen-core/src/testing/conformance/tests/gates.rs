use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::memory::{instance, target};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::Window;
use crate::gates::RateGate;
use crate::metric::{Counters, MetricSource, Sample};
use crate::testing::conformance::{self, GateFixture};
use crate::types::{Instance, Slot, Split, Target};

/// A source whose counters the fixture moves.
#[derive(Debug, Clone, Default)]
struct Source(Arc<Mutex<State>>);

#[derive(Debug, Clone, Copy, Default)]
struct State {
    counters: Counters,
    silent: bool,
    refusing: bool,
}

impl Source {
    fn serve(&self, requests: u64, bad: u64) {
        let mut state = self.0.lock().unwrap();
        state.counters.requests += requests;
        state.counters.bad += bad;
        (state.silent, state.refusing) = (false, false);
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fixture")
    }
}

#[async_trait]
impl MetricSource for Source {
    async fn sample(&self, _: &Target, _: &Instance) -> Result<Sample> {
        tokio::task::yield_now().await;
        let state = *self.0.lock().unwrap();
        if state.refusing {
            return Err(Error::new(ErrorKind::Unreachable, "connection refused"));
        }
        if state.silent {
            return Ok(Sample::NoData { reason: "no such counter".into() });
        }
        Ok(Sample::Data([("app".to_owned(), state.counters)].into()))
    }
}

struct Judged(fn(Source) -> RateGate, Source);

#[async_trait]
impl GateFixture for Judged {
    type Gate = RateGate;

    fn gate(&self) -> RateGate {
        (self.0)(self.1.clone())
    }

    fn window(&self) -> Window {
        Window {
            id: 1,
            target: target(Slot::Green, "2"),
            instance: instance(Slot::Green, "2"),
            baseline: None,
            split: Split::toward(Slot::Green, 10).unwrap(),
            elapsed: Duration::ZERO,
            gates: 3,
        }
    }

    async fn fall_silent(&self) {
        self.1.0.lock().unwrap().silent = true;
    }

    async fn refuse(&self) {
        self.1.0.lock().unwrap().refusing = true;
    }

    async fn serve_well(&self) {
        self.1.serve(100_000, 0);
    }

    async fn serve_badly(&self) {
        self.1.serve(10_000, 2000);
    }

    async fn serve_nothing(&self) {
        self.1.serve(0, 0);
    }
}

#[tokio::test]
async fn the_rate_gate_keeps_its_contract() {
    conformance::gate(&Judged(RateGate::errors, Source::default())).await;
    conformance::gate(&Judged(RateGate::latency, Source::default())).await;
}
