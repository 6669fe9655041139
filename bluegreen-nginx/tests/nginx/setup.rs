//! A router with two apps.

use bluegreen_core::{Error, LocalHost, Router, Slot, Split};
use bluegreen_nginx::{NginxConfig, NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, Response, get};

use crate::sites::Sites;

pub(crate) const BLUE: Split = Split::all(Slot::Blue);
pub(crate) const GREEN: Split = Split::all(Slot::Green);

pub(crate) struct Setup<R> {
    pub(crate) router: R,
    pub(crate) blue: App,
    pub(crate) green: App,
    pub(crate) nginx: TestNginx,
}

pub(crate) fn share(percent: u8) -> Split {
    Split::toward(Slot::Green, percent).unwrap()
}

/// The flag router of the service `shop`, both slots attached and nothing routed.
pub(crate) async fn flags(
    nginx: Option<TestNginx>,
    configure: impl FnOnce(NginxConfig) -> NginxConfig,
) -> Option<Setup<NginxRouter>> {
    let nginx = nginx?;
    let router = NginxRouter::new(LocalHost::new(), configure(nginx.config("shop"))).unwrap();
    attached(nginx, router).await
}

/// The symlink router of the service `shop`, both slots attached and nothing routed.
pub(crate) async fn links(
    nginx: Option<TestNginx>,
    configure: impl FnOnce(NginxConfig) -> NginxConfig,
) -> Option<Setup<NginxSymlinkRouter>> {
    let nginx = nginx?;
    let router = NginxSymlinkRouter::new(LocalHost::new(), configure(nginx.config("shop"))).unwrap();
    attached(nginx, router).await
}

async fn attached<R: Router>(nginx: TestNginx, router: R) -> Option<Setup<R>> {
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.attach(Slot::Green, &green.instance()).await.unwrap();
    Some(Setup { router, blue, green, nginx })
}

impl<R: Router> Setup<R> {
    /// The answer to a request for `/` over a connection of its own.
    pub(crate) async fn get(&self) -> Response {
        self.get_path("/").await
    }

    pub(crate) async fn get_path(&self, path: &str) -> Response {
        get(&self.nginx.address(), "shop.test", path).await.unwrap()
    }

    /// Moves all traffic to blue, from nothing.
    pub(crate) async fn first(&self) {
        self.router.shift(None, BLUE).await.unwrap();
    }

    pub(crate) async fn current(&self) -> Result<Option<Split>, Error> {
        self.router.current().await
    }
}
