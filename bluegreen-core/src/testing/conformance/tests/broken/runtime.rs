use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::super::memory::{Slots, target};
use crate::error::Result;
use crate::memory::MemoryRuntime;
use crate::runtime::{Runtime, Stopped};
use crate::testing::conformance::{self, ProcessEnd, RuntimeFixture};
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
    IgnoresTheSettingsOfWhatRuns,
    EndsWhatItStartedWhenDropped,
    EndsWhatItStartedWhenKilled,
}

#[derive(Debug)]
struct Broken {
    fault: Fault,
    runtime: MemoryRuntime,
    started: Mutex<Vec<Slot>>,
}

impl Drop for Broken {
    fn drop(&mut self) {
        if self.fault == Fault::EndsWhatItStartedWhenDropped {
            for slot in self.started.lock().unwrap().drain(..) {
                self.runtime.crash(slot, "its parent is gone");
            }
        }
    }
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
        if self.fault == Fault::IgnoresTheSettingsOfWhatRuns
            && self.runtime.instance(target.slot).version() == Some(target.version())
            && self.runtime.instance(target.slot).is_running()
        {
            return self.runtime.inspect(target.slot).await;
        }
        let was_running = self.runtime.instance(target.slot).is_running();
        let started = self.runtime.start(target).await?;
        if !was_running {
            self.started.lock().unwrap().push(target.slot);
        }
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

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        if self.fault == Fault::StopsBothSlots {
            self.runtime.stop(slot.other(), grace).await?;
        }
        if self.fault == Fault::StopReturnsTooEarly && self.runtime.instance(slot).is_running() {
            let runtime = self.runtime.clone();
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                runtime.stop(slot, grace).await
            });
            return Ok(Stopped::default());
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
        Broken { fault: self.0, runtime: self.1.runtime.clone(), started: Mutex::default() }
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

    fn other_settings(&self, slot: Slot) -> Option<Target> {
        self.1.other_settings(slot)
    }

    /// The other process is a handle; what dies with it is ended by hand.
    async fn start_in_another_process(&self, target: &Target, end: ProcessEnd) -> bool {
        self.open().await.start(target).await.unwrap();
        if self.0 == Fault::EndsWhatItStartedWhenKilled && end == ProcessEnd::Killed {
            self.1.runtime.crash(target.slot, "its process group was killed");
        }
        true
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

#[tokio::test]
#[should_panic(expected = "a start of the version that runs with other settings is a Conflict")]
async fn a_runtime_that_ignores_the_settings_of_what_runs_is_noticed() {
    suite(Fault::IgnoresTheSettingsOfWhatRuns).await;
}

#[tokio::test]
#[should_panic(expected = "what is started outlives the handle that started it")]
async fn a_runtime_that_ends_what_it_started_when_it_is_dropped_is_noticed() {
    suite(Fault::EndsWhatItStartedWhenDropped).await;
}

#[tokio::test]
#[should_panic(expected = "what is started outlives the process that started it")]
async fn a_runtime_whose_releases_die_with_the_process_that_started_them_is_noticed() {
    suite(Fault::EndsWhatItStartedWhenKilled).await;
}
