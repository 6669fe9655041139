use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::super::memory::{Slots, target};
use crate::error::Result;
use crate::memory::MemoryRuntime;
use crate::runtime::Runtime;
use crate::testing::conformance::{self, RuntimeFixture};
use crate::types::{Instance, Slot, Target};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    PrepareStarts,
    Overwrites,
    ReplacesWhatRuns,
    StopsBothSlots,
    StopReturnsTooEarly,
    TakesTheDeadForRunning,
    ForgetsTheLogsOfTheDead,
    GivesTheFirstLines,
    ClaimsBeforeItStarts,
}

#[derive(Debug, Clone)]
struct Broken {
    fault: Fault,
    runtime: MemoryRuntime,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a runtime that {:?}", self.fault)
    }
}

#[async_trait]
impl Runtime for Broken {
    async fn prepare(&self, target: &Target) -> Result<()> {
        match self.fault {
            Fault::Overwrites => {
                let plain = Target::new(
                    target.service.clone(),
                    target.slot,
                    target.version().clone().into(),
                    target.operation.clone(),
                );
                self.runtime.prepare(&plain).await
            }
            Fault::PrepareStarts => {
                self.runtime.prepare(target).await?;
                self.runtime.start(target).await.map(drop)
            }
            _ => self.runtime.prepare(target).await,
        }
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        if self.fault == Fault::ReplacesWhatRuns {
            self.runtime.stop(target.slot, Duration::ZERO).await?;
        }
        if self.fault == Fault::ClaimsBeforeItStarts {
            let claim = format!("{} is being started", target.version());
            match self.runtime.instance(target.slot) {
                Instance::Running { .. } => {}
                // "Someone is starting it already."
                Instance::Stopped { version, reason } if reason.as_deref() == Some(&claim) => {
                    return Ok(Instance::Stopped { version, reason });
                }
                _ => {
                    self.runtime.crash(target.slot, &claim);
                    tokio::task::yield_now().await;
                }
            }
        }
        let started = self.runtime.start(target).await?;
        tokio::task::yield_now().await;
        Ok(started)
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        Ok(match self.runtime.inspect(slot).await? {
            Instance::Stopped { version, reason }
                if self.fault == Fault::TakesTheDeadForRunning && reason.is_some() =>
            {
                Instance::Running { version, endpoints: Vec::new() }
            }
            found => found,
        })
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<()> {
        if self.fault == Fault::StopsBothSlots {
            self.runtime.stop(slot.other(), grace).await?;
        }
        if self.fault == Fault::StopReturnsTooEarly && self.runtime.instance(slot).is_running() {
            let runtime = self.runtime.clone();
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                runtime.stop(slot, grace).await
            });
            return Ok(());
        }
        tokio::task::yield_now().await;
        self.runtime.stop(slot, grace).await
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        if self.fault == Fault::ForgetsTheLogsOfTheDead && !self.runtime.instance(slot).is_running() {
            return Ok(Vec::new());
        }
        if self.fault == Fault::GivesTheFirstLines {
            return Ok(self.runtime.logs(slot, usize::MAX).await?.into_iter().take(tail).collect());
        }
        self.runtime.logs(slot, tail).await
    }
}

struct Fixture(Fault, Slots);

#[async_trait]
impl RuntimeFixture for Fixture {
    type Runtime = Broken;

    async fn open(&self) -> Broken {
        Broken { fault: self.0, runtime: self.1.runtime.clone() }
    }

    fn target(&self, slot: Slot, release: usize) -> Target {
        target(slot, &release.to_string())
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        self.1.who(slot)
    }

    async fn kill(&self, slot: Slot) -> bool {
        self.1.kill(slot).await
    }

    fn logged(&self) -> Option<&str> {
        Some("started")
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        self.1.reused_version(slot)
    }
}

async fn suite(fault: Fault) {
    conformance::runtime(&Fixture(fault, Slots::default())).await;
}

#[tokio::test]
async fn without_a_fault_the_suite_passes() {
    suite(Fault::None).await;
}

#[tokio::test]
#[should_panic(expected = "prepare can be repeated, and starts nothing")]
async fn a_runtime_whose_prepare_starts_is_noticed() {
    suite(Fault::PrepareStarts).await;
}

#[tokio::test]
#[should_panic(expected = "a version that is present is never overwritten")]
async fn a_runtime_that_overwrites_a_version_is_noticed() {
    suite(Fault::Overwrites).await;
}

#[tokio::test]
#[should_panic(expected = "a start in a slot in which another release runs is a Conflict")]
async fn a_runtime_that_replaces_what_runs_is_noticed() {
    suite(Fault::ReplacesWhatRuns).await;
}

#[tokio::test]
#[should_panic(expected = "what is done in one slot never disturbs the other one")]
async fn a_runtime_that_stops_the_other_slot_is_noticed() {
    suite(Fault::StopsBothSlots).await;
}

#[tokio::test]
#[should_panic(expected = "when stop returns, what ran is gone")]
async fn a_runtime_whose_stop_returns_too_early_is_noticed() {
    suite(Fault::StopReturnsTooEarly).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a release that died is Stopped")]
async fn a_runtime_that_takes_the_dead_for_running_is_noticed() {
    suite(Fault::TakesTheDeadForRunning).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "also after it has ended")]
async fn a_runtime_that_forgets_the_logs_of_the_dead_is_noticed() {
    suite(Fault::ForgetsTheLogsOfTheDead).await;
}

#[tokio::test]
#[should_panic(expected = "logs gives the last lines")]
async fn a_runtime_that_gives_the_first_lines_is_noticed() {
    suite(Fault::GivesTheFirstLines).await;
}

#[tokio::test]
#[should_panic(expected = "a start that was cut off converges when it is made again")]
async fn a_runtime_that_waits_for_itself_after_a_cut_off_is_noticed() {
    suite(Fault::ClaimsBeforeItStarts).await;
}
