//! Both routers against the suite of the trait.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, HeldRequest, RouterFixture};
use bluegreen_core::{Instance, LocalHost, ServiceName, Slot, Split};
use bluegreen_nginx::{NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, get};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::sites::Sites;

struct Fixture {
    nginx: TestNginx,
    apps: Mutex<[std::sync::Arc<App>; 2]>,
}

impl Fixture {
    async fn start() -> Option<Self> {
        let nginx = TestNginx::start()?;
        let apps = [App::start("blue").await.into(), App::start("green").await.into()];
        Some(Self { nginx, apps: Mutex::new(apps) })
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.apps.lock().await[slot as usize].instance()
    }

    async fn request(&self) -> Option<Slot> {
        let answer = get(&self.nginx.address(), "shop.test", "/").await.ok()?;
        if answer.status == 200 { answer.body.parse().ok() } else { None }
    }

    async fn replace(&self, slot: Slot) -> Option<Instance> {
        let app = App::start(slot.as_str()).await;
        let instance = app.instance();
        self.apps.lock().await[slot as usize] = app.into();
        Some(instance)
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        let address = self.nginx.address();
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

    fn relink(&self, target: &str, link: &str) {
        let aside = self.nginx.path(".aside");
        std::os::unix::fs::symlink(target, &aside).unwrap();
        std::fs::rename(aside, self.nginx.path(link)).unwrap();
    }
}

struct Held {
    slot: Slot,
    app: std::sync::Arc<App>,
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

struct Flags(Fixture);

#[async_trait]
impl RouterFixture for Flags {
    type Router = NginxRouter;

    async fn open(&self) -> NginxRouter {
        NginxRouter::new(LocalHost::new(), self.0.nginx.config("shop")).unwrap()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.0.instance(slot).await
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }

    async fn request(&self) -> Option<Slot> {
        self.0.request().await
    }

    async fn replace(&self, slot: Slot) -> Option<Instance> {
        self.0.replace(slot).await
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        self.0.hold_request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        self.0.relink(&format!("green-{}", split.share(Slot::Green)), "state/shop/live");
        true
    }
}

struct Links(Fixture);

#[async_trait]
impl RouterFixture for Links {
    type Router = NginxSymlinkRouter;

    async fn open(&self) -> NginxSymlinkRouter {
        NginxSymlinkRouter::new(LocalHost::new(), self.0.nginx.config("shop")).unwrap()
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.0.instance(slot).await
    }

    fn marked_as(&self) -> Option<ServiceName> {
        Some(ServiceName::new("shop").unwrap())
    }

    async fn request(&self) -> Option<Slot> {
        self.0.request().await
    }

    async fn replace(&self, slot: Slot) -> Option<Instance> {
        self.0.replace(slot).await
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        self.0.hold_request().await
    }

    async fn switch_by_hand(&self, split: Split) -> bool {
        let Some(slot) = split.sole() else { return false };
        let site = self.0.nginx.path(format!("sites-available/shop-{slot}"));
        self.0.relink(&site.display().to_string(), "sites-enabled/shop");
        self.0.nginx.reload();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flag_router_keeps_the_contract() {
    let Some(fixture) = Fixture::start().await else { return };
    conformance::router(&Flags(fixture)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_symlink_router_keeps_the_contract() {
    let Some(fixture) = Fixture::start().await else { return };
    conformance::router(&Links(fixture)).await;
}
