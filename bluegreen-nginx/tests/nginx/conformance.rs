//! Both routers against the suite of the trait.

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, HeldRequest, RouterFixture};
use bluegreen_core::{Instance, LocalHost, ServiceName, Slot, Split};
use bluegreen_nginx::{NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{TwoApps, answering_slot};

use crate::sites::Sites;

struct Fixture {
    nginx: TestNginx,
    apps: TwoApps,
}

impl Fixture {
    async fn start() -> Option<Self> {
        let nginx = TestNginx::start()?;
        Some(Self { nginx, apps: TwoApps::start().await })
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.apps.instance(slot).await
    }

    async fn request(&self) -> Option<Slot> {
        answering_slot(&self.nginx.address()).await
    }

    async fn replace(&self, slot: Slot) -> Option<Instance> {
        Some(self.apps.replace(slot).await)
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        self.apps.hold(self.nginx.address()).await
    }

    fn relink(&self, target: &str, link: &str) {
        let aside = self.nginx.path(".aside");
        std::os::unix::fs::symlink(target, &aside).unwrap();
        std::fs::rename(aside, self.nginx.path(link)).unwrap();
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
