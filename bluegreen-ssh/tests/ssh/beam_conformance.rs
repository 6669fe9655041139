//! The contracts of `Runtime` and `Migrator`, on real releases, on this machine and on a real server.

use std::fs;
use std::sync::Arc;

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, MigratorFixture, RuntimeFixture};
use bluegreen_core::{Host, LocalHost, Runtime, Slot, Target};
use bluegreen_ssh::{BeamMigrator, BeamRuntime};
use bluegreen_testkit::beam::release;
use bluegreen_testkit::pids::send;
use bluegreen_testkit::ssh::Sshd;
use rustix::process::Signal;

use crate::beam_server::{Server, target};
use crate::reach::Reach;

/// Nodes are seen in `/proc`, by the port in their environment.
struct Releases<F> {
    server: Server,
    host: F,
}

#[async_trait]
impl<F: Fn() -> Arc<dyn Host> + Send + Sync> RuntimeFixture for Releases<F> {
    type Runtime = BeamRuntime;

    async fn open(&self) -> BeamRuntime {
        self.server.runtime((self.host)())
    }

    fn target(&self, slot: Slot, number: usize) -> Target {
        self.server.target(slot, &format!("1.{number}.0"))
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        self.server.alive(slot)
    }

    async fn kill(&self, slot: Slot) -> bool {
        send(self.server.pid(slot).unwrap(), Signal::KILL);
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("listens on port")
    }

    fn marks_its_place(&self) -> bool {
        true
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        Some(self.server.behaving(slot, "1.0.0", "unhealthy"))
    }

    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        Some(target(slot, "9.0.0", Some("/no/such/release.tar.gz".into())))
    }

    fn stubborn(&self, slot: Slot) -> Option<Target> {
        Some(self.server.behaving(slot, "2.0.0", "ignores-sigterm"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_on_this_machine_keep_the_contract_of_a_runtime() {
    needs_mix!();
    let host = || Arc::new(LocalHost::new()) as Arc<dyn Host>;
    conformance::runtime(&Releases { server: Server::new(), host }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_on_a_server_keep_the_contract_of_a_runtime() {
    needs_mix!();
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let host = || Arc::new(host.clone()) as Arc<dyn Host>;
    conformance::runtime(&Releases { server: Server::new(), host }).await;
}

/// The data is one file, which the release's migrations write.
struct Migrations<F> {
    server: Server,
    host: F,
}

#[async_trait]
impl<F: Fn() -> Arc<dyn Host> + Send + Sync> MigratorFixture for Migrations<F> {
    type Migrator = BeamMigrator;

    async fn open(&self) -> BeamMigrator {
        BeamMigrator::builder(&self.server.runtime((self.host)()), "DemoApp.Release.migrate()")
            .contract("DemoApp.Release.contract()")
            .revert("DemoApp.Release.rollback()")
            .pending("DemoApp.Release.pending()")
            .build()
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    fn target(&self) -> Target {
        self.server.target(Slot::Green, "1.0.0")
    }

    async fn reset(&self) {
        fs::write(self.server.data(), "").unwrap();
    }

    async fn data(&self) -> String {
        fs::read_to_string(self.server.data()).unwrap()
    }

    async fn old_version_works(&self) -> bool {
        !self.is_contracted().await
    }

    async fn is_expanded(&self) -> bool {
        self.data().await.contains("expanded 1.0.0\n")
    }

    async fn is_contracted(&self) -> bool {
        self.data().await.contains("contracted\n")
    }
}

async fn migrations(host: Arc<dyn Host>) {
    let migrations = Migrations { server: Server::new(), host: move || Arc::clone(&host) };
    let runtime = migrations.server.runtime((migrations.host)());
    runtime.prepare(&migrations.target()).await.unwrap();
    conformance::migrator(&migrations).await;
    let running = migrations.server.processes();
    assert!(running.is_empty(), "migrations left {running:?} running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_on_this_machine_keep_the_contract_of_a_migrator() {
    needs_mix!();
    migrations(Arc::new(LocalHost::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_on_a_server_keep_the_contract_of_a_migrator() {
    needs_mix!();
    needs_sshd!();
    let sshd = Sshd::start();
    migrations(Arc::new(sshd.host())).await;
}

#[test]
fn releases_of_the_same_version_that_behave_otherwise_have_other_content() {
    needs_mix!();
    assert_ne!(fs::read(release("1.0.0", "")).unwrap(), fs::read(release("1.0.0", "unhealthy")).unwrap());
}
