//! What a user does in the first week.

use std::time::{Duration, SystemTime};

use bluegreen_core::state::SlotStatus;
use bluegreen_core::{ErrorKind, Slot, Timestamp};
use bluegreen_docker::ComposeMigrator;

use crate::server::{Server, none_failed};

#[tokio::test(flavor = "multi_thread")]
async fn deploys_and_a_rollback_lose_no_request_and_the_old_slot_stays_warm_until_its_day_is_over() {
    let Some(server) = Server::start().await else { return };
    let report = server.deploy("1.0.0").await.unwrap();
    assert_eq!(report.slot, Some(Slot::Blue), "{report}");
    server.is_settled_on("1.0.0").await;
    let clients = server.clients(200);

    let report = server.deploy("1.1.0").await.unwrap();
    let done: Vec<_> = report.steps.iter().map(|step| step.step.to_string()).collect();
    let at = |step: &str| done.iter().position(|done| done == step).unwrap_or_else(|| panic!("no {step} in {report}"));
    assert!(at("start") < at("expand-after-start") && at("smoke") < at("shift-100"), "{report}");
    server.is_settled_on("1.1.0").await;

    // A day by the clock on the wall, in the record: a later process reads it.
    let kept = server.state().slot(Slot::Blue).clone();
    assert_eq!(kept.status, SlotStatus::Retained);
    let left = kept.retain_until.unwrap().since(Timestamp::from_system(SystemTime::now()));
    let day = Duration::from_secs(24 * 60 * 60);
    assert!(left <= day && left > day / 2, "{kept:?}");
    server.pipeline().retire().await.unwrap();
    assert_eq!(server.containers(Slot::Blue).len(), 3, "nothing is due yet");

    server.pipeline().rollback().await.unwrap();
    server.is_settled_on("1.0.0").await;
    // Into the slot of what was rolled back from.
    server.deploy("1.2.0").await.unwrap();
    server.is_settled_on("1.2.0").await;
    // On confirmation, before its day is over.
    server.pipeline().retire_now().await.unwrap();
    assert_eq!(server.containers(Slot::Blue), Vec::<String>::new());
    server.is_settled_on("1.2.0").await;

    let seen = none_failed(clients).await;
    assert_eq!(seen.answered.values().sum::<u64>(), seen.sent);
    assert!(["1.0.0", "1.1.0", "1.2.0"].iter().all(|version| seen.answered[*version] > 20), "{seen:?}");
    let data = std::fs::read_to_string(server.shop.folder.join("data/schema")).unwrap();
    assert_eq!(data, "expanded for 1.0.0\nexpanded for 1.1.0\nexpanded for 1.2.0\n");
    let calls = std::fs::read_to_string(server.shop.folder.join("data/calls")).unwrap();
    assert_eq!(calls, "call by 1.0.0\ncall by 1.1.0\ncall by 1.2.0\n", "one by each smoke test");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_with_compose_v1_and_a_version_is_deployed_once() {
    let Some(server) = Server::start().await else { return };
    let runtime = server.shop.runtime().compose_program(["docker-compose"]).build().unwrap();
    let migrator = ComposeMigrator::builder(&runtime, "api").expand(["migrate"]).build().unwrap();
    let pipeline = server.builder().runtime(runtime).migrator(migrator).build().unwrap();
    server.deploy_by(&pipeline, "1.0.0", "none").await.unwrap();
    let clients = server.clients(200);
    let report = server.deploy_by(&pipeline, "1.1.0", "none").await.unwrap();
    assert!(report.steps.iter().any(|step| step.step.to_string() == "expand-before-start"), "{report}");
    server.is_settled_on("1.1.0").await;
    for version in ["1.0.0", "1.1.0"] {
        let error = server.deploy_by(&pipeline, version, "none").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    pipeline.rollback().await.unwrap();
    server.is_settled_on("1.0.0").await;
    none_failed(clients).await;
}
