//! What a person does by hand with `docker compose`.

use bluegreen_core::Slot;
use bluegreen_testkit::patience::eventually;

use crate::server::{Server, none_failed};

#[tokio::test(flavor = "multi_thread")]
async fn the_idle_slot_taken_down_by_hand_is_told_and_costs_no_request() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.deploy("1.1.0").await.unwrap();
    let clients = server.clients(200);
    server.down_by_hand(Slot::Blue);
    let status = server.pipeline().status().await.unwrap();
    assert!(status.to_string().contains("drift: blue is recorded as retained and is absent"), "{status}");
    // It is prepared still.
    let report = server.pipeline().rollback().await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("blue is recorded as retained and is absent")), "{report}");
    server.is_settled_on("1.0.0").await;

    server.deploy("1.2.0").await.unwrap();
    server.is_settled_on("1.2.0").await;
    none_failed(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_slot_taken_down_by_hand_is_told_and_both_a_rollback_and_a_deploy_put_it_right() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.deploy("1.1.0").await.unwrap();
    let clients = server.clients(100);
    server.down_by_hand(Slot::Green);
    // Users notice, and the tool says why.
    eventually("requests fail", async || clients.seen().failed > 0).await;
    let status = server.pipeline().status().await.unwrap();
    assert!(status.to_string().contains("drift: green gets traffic and is absent"), "{status}");

    let report = server.pipeline().rollback().await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("green gets traffic and is absent")), "{report}");
    server.is_settled_beside_a_missing_slot_on("1.0.0", Slot::Green).await;
    clients.stop().await;
    let clients = server.clients(100);
    server.deploy("1.2.0").await.unwrap();
    server.is_settled_on("1.2.0").await;
    none_failed(clients).await;

    server.down_by_hand(Slot::Green);
    let report = server.deploy("1.3.0").await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("green gets traffic and is absent")), "{report}");
    server.is_settled_beside_a_missing_slot_on("1.3.0", Slot::Green).await;
}
