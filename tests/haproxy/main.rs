//! HAProxy on a server that is reached by SSH: its socket comes through a tunnel of a real sshd.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, beside the test functions")]

use bluegreen_core::{Router, Slot, Split};
use bluegreen_haproxy::{HaproxyBackend, HaproxyRouter};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::haproxy::TestHaproxy;
use bluegreen_testkit::process::user;
use bluegreen_testkit::ssh::{Sshd, sshd_is_here};
use bluegreen_testkit::traffic::{App, Load, get};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

#[tokio::test(flavor = "multi_thread")]
async fn a_far_haproxy_is_switched_over_ssh_without_a_lost_request_and_keeps_its_state() {
    if !sshd_is_here() {
        return;
    }
    let section = HaproxyBackend::new("shop")
        .line("load-server-state-from-file local")
        .line("server-state-file-name {dir}/state/servers");
    let Some(haproxy) = TestHaproxy::start("http", &section.render().unwrap()) else { return };
    let sshd = Sshd::start();
    let host = SshHost::builder(format!("{}@127.0.0.1:{}", user(), sshd.port()));
    let host = host.key_file(sshd.key()).known_hosts(sshd.known_hosts()).build().unwrap();
    let router = HaproxyRouter::builder(host, "shop")
        .socket(haproxy.socket().display().to_string())
        .state_directory(haproxy.path("state").display().to_string())
        .state_file(true)
        .build()
        .unwrap();
    router.bind_service(&bluegreen_core::ServiceName::new("shop").unwrap()).unwrap();
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.attach(Slot::Green, &green.instance()).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    let load = Load::start(&haproxy.address(), "shop.test", 4, 2);
    for _ in 0..5 {
        router.shift(Some(BLUE), Split::toward(Slot::Green, 10).unwrap()).await.unwrap();
        router.shift(Some(Split::toward(Slot::Green, 10).unwrap()), GREEN).await.unwrap();
        router.shift(Some(GREEN), BLUE).await.unwrap();
    }
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{tally:?}");
    router.shift(Some(BLUE), GREEN).await.unwrap();
    haproxy.reload();
    assert_eq!(router.current().await.unwrap(), Some(GREEN));
    assert_eq!(get(&haproxy.address(), "shop.test", "/").await.unwrap().body, "green");
    assert_eq!(router.preview(Slot::Blue).await.unwrap().notes, [""; 0]);
}
