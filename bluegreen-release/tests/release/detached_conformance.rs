//! The contract of `Runtime`, kept by programs in sessions of their own.

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, CutOff, ProcessEnd, RuntimeFixture};
use bluegreen_core::{Release, Runtime, Slot, Target};
use bluegreen_release::DetachedRuntime;
use bluegreen_testkit::pids::{send, started};
use bluegreen_testkit::ssh::{Sshd, sshd_is_here};
use rustix::process::Signal;

use crate::detached_lab::{Detached, SERVES, STUBBORN, busybox_sshd, target};
use crate::support::Lab;

struct Programs {
    server: Detached,
    releases: Vec<Release>,
    reused: Release,
    stubborn: Release,
    /// Whether another process can reach the server.
    is_here: bool,
}

impl Programs {
    fn on(server: Detached, is_here: bool) -> Self {
        let releases = (0..3).map(|n| server.release(&format!("1.{n}"), SERVES)).collect();
        let reused = server.release("1.0", &format!("{SERVES}# other\n"));
        let stubborn = server.release("2.0", STUBBORN);
        Self { server, releases, reused, stubborn, is_here }
    }
}

#[async_trait]
impl RuntimeFixture for Programs {
    type Runtime = DetachedRuntime;

    async fn open(&self) -> DetachedRuntime {
        self.server.runtime()
    }

    fn target(&self, slot: Slot, number: usize) -> Target {
        target(slot, self.releases[number].clone())
    }

    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::sampled()
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        let program = *self.server.programs(slot).first()?;
        Some(format!("{program} {}", started(program)?))
    }

    async fn kill(&self, slot: Slot) -> bool {
        self.server.programs(slot).into_iter().for_each(|pid| send(pid, Signal::KILL));
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("it speaks")
    }

    fn marks_its_place(&self) -> bool {
        true
    }

    async fn start_in_another_process(&self, target: &Target, end: ProcessEnd) -> bool {
        if !self.is_here {
            return false;
        }
        let directory = self.server.lab.path("server dir");
        let task = format!("{} {}", target.version(), directory.display());
        conformance::in_another_process(concat!(module_path!(), "::another_process"), &task, end).await;
        true
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, self.reused.clone()))
    }

    fn other_settings(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, self.releases[0].clone().with_setting("WORKERS", "2")))
    }

    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, Release::new("9.0").unwrap().with_artifact("/no/such/release.tar.gz")))
    }

    fn stubborn(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, self.stubborn.clone()))
    }
}

/// Starts a prepared release in blue.
#[tokio::test]
async fn another_process() {
    conformance::as_another_process(async |task| {
        let (version, directory) = task.split_once(' ').unwrap();
        let runtime = DetachedRuntime::builder(bluegreen_core::LocalHost::new(), "shop").directory(directory);
        let runtime = runtime.command(["bin/shop"]).build().unwrap();
        runtime.start(&target(Slot::Blue, Release::new(version).unwrap())).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_on_this_machine_keep_the_contract_of_a_runtime() {
    conformance::runtime(&Programs::on(Detached::here(), true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_over_ssh_keep_the_contract_of_a_runtime() {
    if !sshd_is_here() {
        return;
    }
    let sshd = Sshd::start();
    conformance::runtime(&Programs::on(Detached::over(&sshd), false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_on_a_server_with_busybox_alone_keep_the_contract_of_a_runtime() {
    if !sshd_is_here() {
        return;
    }
    let tools = Lab::new();
    let Some(sshd) = busybox_sshd(&tools) else { return };
    conformance::runtime(&Programs::on(Detached::over(&sshd), false)).await;
}
