//! Words that would be commands if they reached the socket.

use bluegreen_core::testing::HOSTILE_WORDS;
use bluegreen_core::{Endpoint, ErrorKind, Instance, LocalHost, Router, Slot};
use bluegreen_haproxy::{HaproxyBackend, HaproxyRouter};
use bluegreen_testkit::patience::eventually;

use crate::setup::{BLUE, Setup, builder};

/// What would show: a server out of its place.
const INJECTIONS: [&str; 8] = [
    "shop/blue1 state maint;show info",
    "shop;set server shop/blue1 state maint",
    "shop\nset server shop/blue1 state maint",
    "shop\\;set weight shop/blue1 0",
    "shop <<\nset weight shop/blue1 0\n",
    "127.0.0.1:4000;set weight shop/blue1 0",
    "127.0.0.1 port 1;set weight shop/blue1 0 #:4000",
    "[::1;set weight shop/blue1 0]:4000",
];

fn words() -> impl Iterator<Item = &'static str> {
    INJECTIONS.into_iter().chain(HOSTILE_WORDS.iter().copied())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_and_no_address_becomes_a_command() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    let before = s.haproxy.server("blue1");
    for word in words() {
        // As the name of a backend or of a server: refused, or the name of nothing.
        if let Ok(router) = builder_of(&s, word).build() {
            let error = router.current().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{word:?}: {error}");
        }
        if let Ok(router) = builder(&s.haproxy).servers(([word], ["green1"])).build() {
            let error = router.current().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{word:?}: {error}");
        }
        // As the address, the host and the port of an endpoint.
        for address in [word.to_owned(), format!("{word}:4000"), format!("127.0.0.1:{word}"), format!("[{word}]:1")] {
            for host in [None, Some(word)] {
                let endpoint = Endpoint::http(&address);
                let endpoint = host.map_or(endpoint.clone(), |host| endpoint.on(host));
                let instance = Instance::Running { version: None, endpoints: vec![endpoint] };
                let error = s.router.attach(Slot::Green, &instance).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config, "{address:?}: {error}");
            }
        }
    }
    assert_eq!(s.haproxy.server("blue1"), before);
    assert_eq!(s.current().await, Some(BLUE));
    eventually("the lock is free", async || s.haproxy.cli("get var proc.bluegreen_lock_shop").starts_with("Variable"))
        .await;
}

fn builder_of(s: &Setup, backend: &str) -> bluegreen_haproxy::HaproxyRouterBuilder {
    HaproxyRouter::builder(LocalHost::new(), backend)
        .socket(s.haproxy.socket().display().to_string())
        .state_directory(s.haproxy.path("state").display().to_string())
}

#[test]
fn no_path_and_no_line_becomes_more_of_the_configuration() {
    let of = || HaproxyRouter::builder(LocalHost::new(), "shop");
    for word in words().filter(|word| !word.is_empty()) {
        assert!(of().socket(format!("/run/{word} x")).build().is_err(), "{word:?}");
        assert!(of().state_directory(format!("/{word}; x")).build().is_err(), "{word:?}");
        let backend = HaproxyBackend::new("shop").line(word).server_options(word);
        let Ok(section) = backend.render() else { continue };
        assert_eq!(section.lines().count(), 6, "{word:?} is a line of its own: {section}");
    }
    assert!(HaproxyBackend::new("shop\nfrontend x").render().is_err());
    assert!(HaproxyBackend::new("shop").state_file("/x\n  server x").render().is_err());
    assert!(HaproxyBackend::new("shop").servers_per_slot(0).render().is_err());
    for socket in ["", "relative", "host", "host:0", "unix:/run/x", "-o:80"] {
        assert_eq!(of().socket(socket).build().unwrap_err().kind(), ErrorKind::Config, "{socket:?}");
    }
}
