use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::super::memory::{instance, target};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{Gate, Verdict, Window};
use crate::testing::conformance::{self, GateFixture};
use crate::types::{Slot, Split};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    PassesWithoutData,
    PassesWhenItCannotAsk,
    CountsWhatCameBefore,
    CarriesAPassOver,
    NeverForgetsAFailure,
}

#[derive(Debug, Default)]
struct Metrics {
    good: AtomicU64,
    bad: AtomicU64,
    unreadable: AtomicBool,
}

/// Judges by a plain ratio, of what came since it first saw the window.
#[derive(Debug)]
struct Ratio {
    fault: Fault,
    metrics: Arc<Metrics>,
    began: Mutex<Option<(u64, [u64; 2])>>,
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a gate that {:?}", self.fault)
    }
}

#[async_trait]
impl Gate for Ratio {
    async fn judge(&self, window: &Window) -> Result<Verdict> {
        tokio::task::yield_now().await;
        if self.metrics.unreadable.load(Ordering::Relaxed) {
            return match self.fault {
                Fault::PassesWhenItCannotAsk => Ok(Verdict::Pass { evidence: "nothing bad was seen".into() }),
                _ => Err(Error::new(ErrorKind::Unreachable, "refused")),
            };
        }
        let now = [self.metrics.good.load(Ordering::Relaxed), self.metrics.bad.load(Ordering::Relaxed)];
        let mut began = self.began.lock().unwrap();
        let keeps = matches!((self.fault, *began), (Fault::CarriesAPassOver, Some((_, [_, bad]))) if bad == now[1])
            || matches!((self.fault, *began), (Fault::NeverForgetsAFailure, Some((_, [_, bad]))) if bad < now[1]);
        match *began {
            Some((window_id, _)) if window_id == window.id || keeps => {}
            None if self.fault == Fault::CountsWhatCameBefore => *began = Some((window.id, [0, 0])),
            _ => *began = Some((window.id, now)),
        }
        let since = began.map_or([0, 0], |(_, then)| [now[0] - then[0], now[1] - then[1]]);
        Ok(match since {
            [0, 0] if self.fault == Fault::PassesWithoutData => Verdict::Pass { evidence: "0 of 0".into() },
            [0, 0] => Verdict::Undecided { needs: "traffic".into() },
            [good, bad] if bad * 100 > good => Verdict::Fail { reason: format!("{bad} bad") },
            [good, _] => Verdict::Pass { evidence: format!("{good} good") },
        })
    }
}

struct Fixture(Fault, Arc<Metrics>);

#[async_trait]
impl GateFixture for Fixture {
    type Gate = Ratio;

    fn gate(&self) -> Ratio {
        Ratio { fault: self.0, metrics: self.1.clone(), began: Mutex::default() }
    }

    fn window(&self) -> Window {
        Window {
            id: 1,
            target: target(Slot::Green, "2"),
            instance: instance(Slot::Green, "2"),
            baseline: None,
            split: Split::all(Slot::Green),
            elapsed: Duration::ZERO,
            gates: 1,
        }
    }

    async fn fall_silent(&self) {
        self.1.unreadable.store(false, Ordering::Relaxed);
    }

    async fn refuse(&self) {
        self.1.unreadable.store(true, Ordering::Relaxed);
    }

    async fn serve_well(&self) {
        self.1.unreadable.store(false, Ordering::Relaxed);
        self.1.good.fetch_add(1000, Ordering::Relaxed);
    }

    async fn serve_badly(&self) {
        self.1.unreadable.store(false, Ordering::Relaxed);
        self.1.bad.fetch_add(1000, Ordering::Relaxed);
    }

    async fn serve_nothing(&self) {
        self.1.unreadable.store(false, Ordering::Relaxed);
    }
}

async fn suite(fault: Fault) {
    conformance::gate(&Fixture(fault, Arc::default())).await;
}

#[tokio::test]
async fn without_a_fault_the_suite_passes() {
    suite(Fault::None).await;
}

#[tokio::test]
#[should_panic(expected = "there is no pass and no fail")]
async fn a_gate_that_passes_without_data_is_noticed() {
    suite(Fault::PassesWithoutData).await;
}

#[tokio::test]
#[should_panic(expected = "there is no pass")]
async fn a_gate_that_passes_when_it_cannot_ask_is_noticed() {
    suite(Fault::PassesWhenItCannotAsk).await;
}

#[tokio::test]
#[should_panic(expected = "what happened before the window does not count")]
async fn a_gate_that_counts_what_came_before_is_noticed() {
    suite(Fault::CountsWhatCameBefore).await;
}

#[tokio::test]
#[should_panic(expected = "a new window does not pass by what happened before it")]
async fn a_gate_that_carries_a_pass_over_is_noticed() {
    suite(Fault::CarriesAPassOver).await;
}

#[tokio::test]
#[should_panic(expected = "a new operation starts from nothing")]
async fn a_gate_that_never_forgets_a_failure_is_noticed() {
    suite(Fault::NeverForgetsAFailure).await;
}
