//! An HAProxy with two apps behind it.

use bluegreen_core::{Endpoint, Instance, LocalHost, Router, Slot, Split, Version};
use bluegreen_haproxy::{HaproxyBackend, HaproxyRouter, HaproxyRouterBuilder, Mode};
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::traffic::{App, Response, get};

pub(crate) const BLUE: Split = Split::all(Slot::Blue);
pub(crate) const GREEN: Split = Split::all(Slot::Green);

pub(crate) fn share(percent: u8) -> Split {
    Split::toward(Slot::Green, percent).unwrap()
}

/// A generated backend of so many servers per slot.
pub(crate) fn generated(servers: usize) -> HaproxyBackend {
    HaproxyBackend::new("shop").servers_per_slot(servers)
}

/// An HAProxy with this backend.
pub(crate) fn start(backend: HaproxyBackend, mode: Mode) -> Option<TestHaproxy> {
    let word = if mode == Mode::Http { "http" } else { "tcp" };
    TestHaproxy::start(word, &backend.mode(mode).render().unwrap())
}

pub(crate) fn builder(haproxy: &TestHaproxy) -> HaproxyRouterBuilder {
    HaproxyRouter::builder(LocalHost::new(), "shop")
        .socket(haproxy.socket().display().to_string())
        .state_directory(haproxy.path("state").display().to_string())
}

pub(crate) fn router(haproxy: &TestHaproxy) -> HaproxyRouter {
    builder(haproxy).build().unwrap()
}

/// A slot's instance at these addresses.
pub(crate) fn at<A: ToString>(addresses: impl IntoIterator<Item = A>) -> Instance {
    let endpoints = addresses.into_iter().map(|address| Endpoint::http(address.to_string())).collect();
    Instance::Running { version: Some(Version::new("1.0.0").unwrap()), endpoints }
}

pub(crate) struct Setup {
    pub(crate) router: HaproxyRouter,
    pub(crate) blue: App,
    pub(crate) green: App,
    pub(crate) haproxy: TestHaproxy,
}

impl Setup {
    /// A generated backend with one server per slot, both attached and nothing routed.
    pub(crate) async fn start() -> Option<Self> {
        Self::of(start(generated(1), Mode::Http)?, |builder| builder).await
    }

    pub(crate) async fn of(
        haproxy: TestHaproxy,
        configure: impl FnOnce(HaproxyRouterBuilder) -> HaproxyRouterBuilder,
    ) -> Option<Self> {
        let router = configure(builder(&haproxy)).build().unwrap();
        let (blue, green) = (App::start("blue").await, App::start("green").await);
        router.attach(Slot::Blue, &blue.instance()).await.unwrap();
        router.attach(Slot::Green, &green.instance()).await.unwrap();
        Some(Self { router, blue, green, haproxy })
    }

    /// Moves all traffic to blue, from nothing.
    pub(crate) async fn first(&self) {
        self.router.shift(None, BLUE).await.unwrap();
    }

    pub(crate) async fn current(&self) -> Option<Split> {
        self.router.current().await.unwrap()
    }

    /// The answer to a request over a connection of its own.
    pub(crate) async fn get(&self) -> Response {
        get(&self.haproxy.address(), "shop.test", "/").await.unwrap()
    }
}
