//! What a person changed on the server by hand.

use bluegreen_core::Slot;
use bluegreen_testkit::beam::APP;

use crate::crashes::{deployer, text};
use crate::setup::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_that_someone_broke_stops_the_first_deploy_with_its_own_words_and_no_later_one() {
    let Some(server) = Server::start() else { return };
    let broken = server.nginx.path("conf.d/broken.conf");
    std::fs::write(&broken, "server { listen nonsense; nonsense on; }").unwrap();
    let error = server.deploy("1.0.0").await.unwrap_err();
    assert!(error.chain().contains("broken.conf:1"), "{}", error.chain());
    assert!(!server.nginx.path(format!("conf.d/{APP}.conf")).exists(), "the site is gone again");

    std::fs::remove_file(&broken).unwrap();
    server.deploy("1.0.0").await.unwrap();
    let clients = server.clients();
    server.deploy("2.0.0").await.unwrap();
    // From now on both ports are known, and no deploy needs a reload.
    std::fs::write(&broken, "server { listen nonsense; nonsense on; }").unwrap();
    server.deploy("3.0.0").await.unwrap();
    server.is_settled_on("3.0.0").await;
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_that_was_switched_by_hand_is_seen_and_the_next_deploy_goes_by_what_nginx_does() {
    let Some(server) = Server::start() else { return };
    server.deploy("1.0.0").await.unwrap();
    server.deploy("2.0.0").await.unwrap();
    let clients = server.clients();

    let all_to_blue = || {
        // The flags of `no percent for green`.
        let link = server.nginx.path(format!("state/{APP}/live"));
        let aside = link.with_file_name("aside");
        std::os::unix::fs::symlink("green-0", &aside).unwrap();
        std::fs::rename(&aside, &link).unwrap();
    };
    all_to_blue();
    assert_eq!(server.public_version().await, "1.0.0");
    let status = server.pipeline().status().await.unwrap();
    assert_eq!(status.observed.live, Some(Slot::Blue));
    assert!(!status.agrees() && status.to_string().contains("drift"), "{status}");
    let refused = deployer(&server, &["promote", "blue"]).await;
    assert!(!refused.status.success() && text(&refused).contains("blue is live already"), "{}", text(&refused));
    assert_eq!(server.public_version().await, "1.0.0");

    server.deploy("3.0.0").await.unwrap();
    assert_eq!(server.state().live, Some(Slot::Green));
    server.is_settled_on("3.0.0").await;

    all_to_blue();
    let promoted = deployer(&server, &["promote", "green"]).await;
    assert!(promoted.status.success(), "{}", text(&promoted));
    server.is_settled_on("3.0.0").await;
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_release_that_someone_stopped_is_replaced() {
    let Some(server) = Server::start() else { return };
    server.deploy("1.0.0").await.unwrap();
    server.kill_node(Slot::Blue);
    let status = server.pipeline().status().await.unwrap();
    assert!(!status.observed.slot(Slot::Blue).is_running(), "{status}");
    server.deploy("2.0.0").await.unwrap();
    server.is_settled_beside_a_stopped_blue_on("2.0.0").await;
}
