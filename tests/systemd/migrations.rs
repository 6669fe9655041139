//! The contract of `Migrator`, by commands of a release on a server.

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, MigratorFixture};
use bluegreen_core::{Runtime, Slot, Target};
use bluegreen_release::{CommandMigrator, SystemdRuntime};

use crate::programs::SERVES;
use crate::server::{Server, target};

const DATA: &str = "/srv/shop/shared/data";

/// The data is one file, which the release's commands write.
struct Migrations {
    server: Server,
    runtime: SystemdRuntime,
    target: Target,
}

/// A command that adds a line, once.
fn adds(line: &str) -> [String; 3] {
    let script = format!("grep -qx \"{line}\" {DATA} || echo \"{line}\" >> {DATA}");
    ["sh".to_owned(), "-c".to_owned(), script]
}

#[async_trait]
impl MigratorFixture for Migrations {
    type Migrator = CommandMigrator;

    async fn open(&self) -> CommandMigrator {
        CommandMigrator::builder(&self.runtime, adds("expanded $VERSION by $SECRET_OF_TEST"))
            .contract(adds("contracted"))
            .revert(["sed", "-i", "/^expanded/d", DATA])
            .pending(["sh", "-c", &format!("grep -q '^expanded' {DATA} || echo the-column")])
            .build()
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    fn target(&self) -> Target {
        self.target.clone()
    }

    async fn reset(&self) {
        self.server.exec(&["sh", "-c", &format!("install -m 644 -o deploy /dev/null {DATA}")]);
    }

    async fn data(&self) -> String {
        self.server.exec(&["cat", DATA])
    }

    async fn old_version_works(&self) -> bool {
        !self.is_contracted().await
    }

    async fn is_expanded(&self) -> bool {
        self.data().await.lines().any(|line| line == "expanded 1.0 by hunter2")
    }

    async fn is_contracted(&self) -> bool {
        self.data().await.lines().any(|line| line == "contracted")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_release_keep_the_contract_of_a_migrator() {
    let Some(server) = Server::start() else { return };
    let secret = bluegreen_core::Secret::new("hunter2");
    let runtime = server.set_up(server.builder().env("SECRET_OF_TEST", secret)).await;
    let target = target(Slot::Green, server.release("1.0", SERVES));
    runtime.prepare(&target).await.unwrap();
    conformance::migrator(&Migrations { server, runtime, target }).await;
}
