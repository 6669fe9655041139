//! The server is restarted: no node runs any more, and nginx routes as before.

use bluegreen_core::Slot;

use crate::crashes::{deployer, text};
use crate::setup::Server;

#[tokio::test(flavor = "multi_thread")]
async fn the_live_release_is_brought_up_again_without_its_tarball() {
    let Some(server) = Server::start() else { return };
    server.deploy("1.0.0").await.unwrap();
    let second = server.release("2.0.0", "");
    let tarball = second.artifact().unwrap().to_owned();
    server.pipeline().deploy(second).await.unwrap();

    Slot::BOTH.into_iter().for_each(|slot| server.kill_node(slot));
    std::fs::remove_file(tarball).unwrap();
    let status = server.pipeline().status().await.unwrap().to_string();
    assert!(status.contains("green gets traffic and is stopped 2.0.0"), "{status}");

    let restored = deployer(&server, &["restore"]).await;
    assert!(restored.status.success(), "{}", text(&restored));
    server.is_settled_beside_a_stopped_blue_on("2.0.0").await;
    server.deploy("3.0.0").await.unwrap();
    server.is_settled_on("3.0.0").await;
}
