//! The program's own clients are built when ours have asked already. A process of its own: it is about the state of one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bluegreen_core::{Health, HealthCheck, Instance, OperationId, Release, Slot, Target};
use bluegreen_embedder::{own_clients, set_up_ours};
use bluegreen_http::HttpCheck;

#[tokio::test]
async fn a_programs_own_http_client_works_when_ours_have_asked_before() {
    let server = support::page().await;
    set_up_ours().unwrap();
    let check = HttpCheck::get(&server).unwrap();
    let nowhere = Instance::Running { version: None, endpoints: Vec::new() };
    let release = Release::new("1").unwrap();
    let target = Target::new("shop".parse().unwrap(), Slot::Blue, release, OperationId::new("test").unwrap());
    assert_eq!(check.check(&target, &nowhere).await.unwrap(), Health::healthy());
    support::ask_with(own_clients().unwrap(), &server).await;
    support::nothing_is_installed();
    // A program may still choose a provider.
    rustls::crypto::ring::default_provider().install_default().unwrap();
}
