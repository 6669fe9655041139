//! The contracts of core's traits, on the real engine.

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, RuntimeFixture};
use bluegreen_core::{Release, Slot, Target};
use bluegreen_docker::ComposeRuntime;

use crate::support::{Shop, WAITS, docker_ok, needs_docker};

/// A service whose releases are images in a registry.
struct Projects {
    shop: Shop,
    program: &'static [&'static str],
}

impl Projects {
    fn new(program: &'static [&'static str]) -> Self {
        let compose = "
services:
  api:
    image: IMAGES/app:${TAG}
    ports: ['127.0.0.1::3000']
";
        let shop = Shop::new(compose);
        for release in 0..3 {
            shop.publish(&format!("app:1.{release}"), &format!("{WAITS} # {release}"));
        }
        shop.publish("app:other", &format!("{WAITS} # other"));
        let stubborn = "trap '' TERM; echo stubborn begins; echo and stays; while :; do sleep 1; done";
        shop.publish("app:1.8", stubborn);
        Self { shop, program }
    }

    fn release(&self, slot: Slot, version: &str) -> Target {
        self.shop.target(slot, Release::new(version).unwrap().with_setting("TAG", version))
    }
}

#[async_trait]
impl RuntimeFixture for Projects {
    type Runtime = ComposeRuntime;

    async fn open(&self) -> ComposeRuntime {
        let program = self.program.iter().copied();
        self.shop.builder().compose_program(program).endpoint("http", "api", 3000).build().unwrap()
    }

    fn target(&self, slot: Slot, release: usize) -> Target {
        self.release(slot, &format!("1.{release}"))
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        let running = self.shop.running(slot);
        assert!(running.len() < 2, "several containers run in {slot}: {running:?}");
        running.first().map(|id| docker_ok(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", id]))
    }

    async fn kill(&self, slot: Slot) -> bool {
        for id in self.shop.running(slot) {
            docker_ok(&["kill", &id]);
        }
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("begins")
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        let release = Release::new("1.0").unwrap().with_setting("TAG", "other");
        Some(self.shop.target(slot, release))
    }

    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        Some(self.release(slot, "1.9"))
    }

    fn stubborn(&self, slot: Slot) -> Option<Target> {
        Some(self.release(slot, "1.8"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_runtime_keeps_its_contract() {
    needs_docker!();
    conformance::runtime(&Projects::new(&["docker", "compose"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_runtime_keeps_its_contract_with_compose_v1() {
    needs_docker!();
    conformance::runtime(&Projects::new(&["docker-compose"])).await;
}
