//! The router against the suite of the trait, in both modes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, HeldRequest, RouterFixture};
use bluegreen_core::{Instance, ServiceName, Slot, Split};
use bluegreen_haproxy::{HaproxyRouter, Mode};
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::traffic::{App, get};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::setup::{builder, generated, start};

struct Fixture {
    haproxy: TestHaproxy,
    apps: Mutex<[Arc<App>; 2]>,
    keeps_state: bool,
}

impl Fixture {
    async fn start(mode: Mode, keeps_state: bool) -> Option<Self> {
        let haproxy = start(generated(1), mode)?;
        let apps = [App::start("blue").await.into(), App::start("green").await.into()];
        Some(Self { haproxy, apps: Mutex::new(apps), keeps_state })
    }
}

struct Held {
    slot: Slot,
    app: Arc<App>,
    answer: JoinHandle<Result<String, String>>,
}

#[async_trait]
impl HeldRequest for Held {
    fn slot(&self) -> Slot {
        self.slot
    }

    async fn finish(self: Box<Self>) -> bool {
        self.app.release();
        self.answer.await.unwrap().is_ok_and(|body| body == self.slot.as_str())
    }
}

#[async_trait]
impl RouterFixture for Fixture {
    type Router = HaproxyRouter;

    async fn open(&self) -> HaproxyRouter {
        builder(&self.haproxy).state_file(self.keeps_state).build().unwrap()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.apps.lock().await[slot as usize].instance()
    }

    async fn request(&self) -> Option<Slot> {
        let answer = get(&self.haproxy.address(), "shop.test", "/").await.ok()?;
        if answer.status == 200 { answer.body.parse().ok() } else { None }
    }

    async fn replace(&self, slot: Slot) -> Option<Instance> {
        let app = App::start(slot.as_str()).await;
        let instance = app.instance();
        self.apps.lock().await[slot as usize] = app.into();
        Some(instance)
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        let address = self.haproxy.address();
        let answer = tokio::spawn(async move { get(&address, "shop.test", "/hold").await.map(|answer| answer.body) });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            for slot in Slot::BOTH {
                let app = self.apps.lock().await[slot as usize].clone();
                if app.holding() == 1 {
                    return Some(Box::new(Held { slot, app, answer }));
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
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
