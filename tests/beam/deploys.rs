//! What a user does in the first week.

use std::time::Duration;

use bluegreen_core::pipeline::Report;
use bluegreen_core::{ErrorKind, Slot};
use bluegreen_testkit::traffic::get;

use crate::setup::Server;
use crate::web_socket::WebSocket;

fn steps(report: &Report) -> Vec<String> {
    report.steps.iter().map(|step| step.step.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_deploys_and_a_rollback_lose_no_request_and_leave_long_ones_where_they_began() {
    let Some(server) = Server::start() else { return };
    let report = server.deploy("1.0.0").await.unwrap();
    assert_eq!(report.slot, Some(Slot::Blue), "{report}");
    server.is_settled_on("1.0.0").await;
    let clients = server.clients();

    // Both begin on 1.0.0, and outlast the switch.
    let mut socket = WebSocket::open(&server).await;
    let slow = tokio::spawn(request(server.nginx.address(), "/slow?ms=4000"));
    tokio::time::sleep(Duration::from_millis(200)).await;

    let report = server.deploy("2.0.0").await.unwrap();
    let told = report.to_string();
    let done = steps(&report);
    let at = |step: &str| done.iter().position(|done| done == step).unwrap_or_else(|| panic!("no {step} in {told}"));
    assert!(at("expand-before-start") < at("start") && at("start") < at("shift-100"), "{told}");
    assert!(told.contains("still in flight on blue"), "the WebSocket outlasts the drain, and that is said: {told}");
    server.is_settled_on("2.0.0").await;
    assert_eq!(slow.await.unwrap(), "blue 1.0.0\n");
    assert_eq!(socket.echo("still there?").await.as_deref(), Some("still there?"));

    // Blue is stopped for the third, and says goodbye to the WebSocket.
    let report = server.deploy("3.0.0").await.unwrap();
    let done = steps(&report);
    let at = |step: &str| done.iter().position(|done| done == step).unwrap();
    assert!(at("stop-occupant") < at("start"), "{report}");
    assert!(socket.was_closed().await);
    server.is_settled_on("3.0.0").await;

    let report = server.pipeline().rollback().await.unwrap();
    server.is_settled_on("2.0.0").await;
    assert_eq!(server.state().live, Some(Slot::Green), "{report}");

    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
    assert!(["1.0.0", "2.0.0", "3.0.0"].iter().all(|version| seen.answered[*version] > 20), "{seen:?}");
    assert_eq!(seen.answered.values().sum::<u64>(), seen.sent);
    let data = std::fs::read_to_string(server.path("data")).unwrap();
    assert_eq!(data, "expanded 1.0.0\nexpanded 2.0.0\nexpanded 3.0.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_release_is_promoted_later_and_a_version_is_deployed_once() {
    let Some(server) = Server::start() else { return };
    server.deploy("1.0.0").await.unwrap();
    let clients = server.clients();
    server.pipeline().stage(server.release("2.0.0", "")).await.unwrap();
    assert_eq!(server.public_version().await, "1.0.0");
    server.pipeline().migrate_slot(Slot::Green).await.unwrap();
    server.pipeline().promote().await.unwrap();
    server.is_settled_on("2.0.0").await;

    for version in ["1.0.0", "2.0.0"] {
        let error = server.deploy(version).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        server.is_settled_on("2.0.0").await;
    }
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

/// The body of an answer.
async fn request(address: String, path: &'static str) -> String {
    get(&address, &address, path).await.unwrap().body
}
