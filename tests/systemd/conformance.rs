//! The contract of `Runtime`, on a real systemd over a real SSH.

use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, RuntimeFixture};
use bluegreen_core::{Release, Slot, Target};
use bluegreen_release::SystemdRuntime;

use crate::programs::{SERVES, STUBBORN};
use crate::server::{Server, target};

struct Units {
    server: Server,
    runtime: SystemdRuntime,
    releases: Vec<Release>,
    reused: Release,
    stubborn: Release,
}

#[async_trait]
impl RuntimeFixture for Units {
    type Runtime = SystemdRuntime;

    async fn open(&self) -> SystemdRuntime {
        self.server.builder().stop_timeout(Duration::from_secs(3)).build().unwrap()
    }

    fn target(&self, slot: Slot, number: usize) -> Target {
        target(slot, self.releases[number].clone())
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        self.server.alive(slot)
    }

    async fn kill(&self, slot: Slot) -> bool {
        // A unit is restarted when its program dies, so it is the unit that is ended.
        let unit = self.runtime.unit(slot);
        self.server.exec(&["systemctl", "kill", "-s", "KILL", &unit]);
        self.server.exec(&["systemctl", "stop", &unit]);
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("it speaks")
    }

    fn marks_its_place(&self) -> bool {
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

#[tokio::test(flavor = "multi_thread")]
async fn units_on_a_server_keep_the_contract_of_a_runtime() {
    let Some(server) = Server::start() else { return };
    let runtime = server.set_up(server.builder().stop_timeout(Duration::from_secs(3))).await;
    let releases = (0..3).map(|n| server.release(&format!("1.{n}"), SERVES)).collect();
    let reused = server.release("1.0", &format!("{SERVES}\n# other"));
    let stubborn = server.release("2.0", STUBBORN);
    conformance::runtime(&Units { server, runtime, releases, reused, stubborn }).await;
}
