//! The router against the suite of the trait, in both modes.

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, HeldRequest, RouterFixture};
use bluegreen_core::{Instance, ServiceName, Slot, Split};
use bluegreen_haproxy::{HaproxyRouter, Mode};
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::traffic::{TwoApps, answering_slot};

use crate::setup::{builder, generated, start};

struct Fixture {
    haproxy: TestHaproxy,
    apps: TwoApps,
    keeps_state: bool,
}

impl Fixture {
    async fn start(mode: Mode, keeps_state: bool) -> Option<Self> {
        let haproxy = start(generated(1), mode)?;
        Some(Self { haproxy, apps: TwoApps::start().await, keeps_state })
    }
}

#[async_trait]
impl RouterFixture for Fixture {
    type Router = HaproxyRouter;

    async fn open(&self) -> HaproxyRouter {
        builder(&self.haproxy).state_file(self.keeps_state).build().unwrap()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.apps.instance(slot).await
    }

    async fn request(&self) -> Option<Slot> {
        answering_slot(&self.haproxy.address()).await
    }

    async fn replace(&self, slot: Slot) -> Option<Instance> {
        Some(self.apps.replace(slot).await)
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        self.apps.hold(self.haproxy.address()).await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        let command = |slot: Slot| match split.share(slot) {
            0 => format!("set server shop/{slot}1 state maint"),
            weight => format!("set server shop/{slot}1 weight {weight};set server shop/{slot}1 state ready"),
        };
        self.haproxy.cli(&Slot::BOTH.map(command).join(";"));
        true
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_in_http_mode() {
    let Some(fixture) = Fixture::start(Mode::Http, false).await else { return };
    conformance::router(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_in_tcp_mode_with_a_state_file() {
    let Some(fixture) = Fixture::start(Mode::Tcp, true).await else { return };
    conformance::router(&fixture).await;
}
