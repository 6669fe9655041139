//! The contract of `Runtime`, for commits that a real web server serves, on this machine and on a real server.

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, RuntimeFixture};
use bluegreen_core::{Release, Slot, Target};
use bluegreen_ssh::GitRuntime;
use bluegreen_testkit::ssh::Sshd;

use crate::git_lab::{Lab, target};
use crate::reach::Reach;

/// What is alive is what the web server answers.
struct Commits<F> {
    lab: Lab,
    open: F,
}

#[async_trait]
impl<F: Fn(&Lab) -> GitRuntime + Send + Sync> RuntimeFixture for Commits<F> {
    type Runtime = GitRuntime;

    async fn open(&self) -> GitRuntime {
        (self.open)(&self.lab)
    }

    fn target(&self, slot: Slot, number: usize) -> Target {
        target(slot, &format!("1.{number}.0"))
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        self.lab.served(slot).map(|body| format!("{body} at {}", self.lab.address(slot)))
    }

    fn logged(&self) -> Option<&str> {
        Some("is served from")
    }

    fn marks_its_place(&self) -> bool {
        true
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        let mut other = target(slot, "1.0.0");
        other.release = other.release.with_setting("commit", "1.1.0");
        Some(other)
    }

    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        let mut missing = target(slot, "9.0.0");
        missing.release = Release::new("9.0.0").unwrap();
        Some(missing)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_on_this_machine_keep_the_contract_of_a_runtime() {
    needs_git!();
    conformance::runtime(&Commits { lab: Lab::new(), open: Lab::runtime }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_on_a_server_keep_the_contract_of_a_runtime() {
    needs_git!();
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let open = |lab: &Lab| lab.builder_on(&host).build().unwrap();
    conformance::runtime(&Commits { lab: Lab::new(), open }).await;
}
