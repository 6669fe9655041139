//! A deployer that is killed.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use bluegreen_core::Slot;
use bluegreen_core::testing::sample;
use bluegreen_docker::ComposeMigrator;
use bluegreen_testkit::docker::{docker, docker_lines};
use bluegreen_testkit::patience::eventually;

use crate::server::{Server, none_failed};

/// The steps before any traffic moves, in a deploy into a slot that is occupied.
const BEFORE: [(&str, &str); 10] = [
    ("observe", "succeeded"),
    ("prepare", "aborted"),
    ("stop-occupant", "aborted"),
    ("start", "aborted"),
    ("health", "aborted"),
    ("expand-after-start", "aborted"),
    ("smoke", "aborted"),
    ("attach", "aborted"),
    ("check-slots-10", "aborted"),
    ("shift-10", "rolled back"),
];

/// The steps after, and how the recovery from a death in each ends.
const AFTER: [(&str, &str); 10] = [
    ("soak-10", "rolled back"),
    ("check-slots-50", "rolled back"),
    ("shift-50", "rolled back"),
    ("soak-50", "rolled back"),
    ("check-slots-100", "rolled back"),
    ("shift-100", "rolled back"),
    ("verify", "rolled back"),
    ("drain", "succeeded"),
    ("bake", "succeeded"),
    ("retain", "succeeded"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_any_step_before_traffic_moves_is_recovered_from_and_no_request_is_lost() {
    kill_in_each(&BEFORE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_any_step_after_that_is_recovered_from_and_no_request_is_lost() {
    kill_in_each(&AFTER).await;
}

/// A step, and after how many milliseconds of it: what it does on the engine goes on, or is half done, when its deployer
/// dies.
const MIDDLES: [&str; 5] = ["download", "start+500", "start+1500", "expand-after-start+20", "shift-50+8"];

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_the_middle_of_what_a_step_does_is_recovered_from_and_no_request_is_lost() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.deploy("1.1.0").await.unwrap();
    let clients = server.clients(150);
    // A version that no other test fetches, and of a size that is not fetched in a moment.
    server.images.publish_with("3.0.0", "none", 40 << 20).await;
    let is_here = || docker(&["image", "inspect", &server.images.name_of("3.0.0")]).status.success();
    for moment in sample(MIDDLES, 2, |moment| *moment == "download") {
        let killed = deployer(&server, &["deploy", "3.0.0", moment]).await;
        assert_eq!(killed.status.signal(), Some(9), "{moment}: {}", text(&killed));
        assert_eq!(is_here(), moment != "download", "{moment}");
        let recovered = deployer(&server, &["recover"]).await;
        assert!(recovered.status.success(), "{moment}: {}", text(&recovered));
        server.is_settled_on("1.1.0").await;
    }
    server.deploy("3.0.0").await.unwrap();
    server.is_settled_on("3.0.0").await;
    none_failed(clients).await;
}

/// The steps in which a deploy is undone that a gate has refused.
const UNDOING: [&str; 4] = ["shift-back", "collect-logs", "drain-failed", "stop-failed"];

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_while_it_undoes_a_deploy_is_recovered_from_and_no_request_is_lost() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.images.publish("1.1.0", "none").await;
    let clients = server.clients(150);
    for step in sample(UNDOING, 2, |_| ()) {
        is_killed(&server, &["deploy-refused", "1.1.0", step], step).await;
        is_recovered_from(&server, "deploy", "rolled back").await;
        server.is_settled_on("1.0.0").await;
        assert_eq!(server.containers(Slot::Green), Vec::<String>::new(), "{step}");
    }
    server.deploy("1.1.0").await.unwrap();
    server.is_settled_on("1.1.0").await;
    none_failed(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_outlives_its_deployer_is_waited_for_and_rollbacks_and_retirements_are_completed() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.deploy("1.1.0").await.unwrap();
    let (clients, kept) = (server.clients(150), server.containers(Slot::Blue));
    server.images.publish("3.1.0", "slow-migration=10").await;
    let migration = format!("{}-blue-migration", server.shop.service);
    let runs = || docker_lines(&["ps", "-q", "--filter", &format!("name=^{migration}$")]).len();
    let deploy = ["deploy-migrated-first", "3.1.0", "expand-before-start+1500"];
    is_killed(&server, &deploy, "expand-before-start").await;
    eventually("the migration runs", async || runs() == 1).await;
    is_recovered_from(&server, "deploy", "aborted").await;
    server.is_settled_on("1.1.0").await;
    let schema = || std::fs::read_to_string(server.shop.folder.join("data/schema")).unwrap();
    let done = || schema().matches("expanded for 3.1.0").count();
    assert!(runs() == 1 || done() == 1, "it was cut off");
    let left = server.containers(Slot::Blue);
    assert!(kept.iter().all(|id| left.contains(id)), "the way back is gone: {left:?}");
    let runtime = server.shop.runtime().build().unwrap();
    let migrator = ComposeMigrator::builder(&runtime, "api").expand(["migrate"]).build().unwrap();
    server.deploy_by(&server.builder().migrator(migrator).build().unwrap(), "3.1.0", "none").await.unwrap();
    server.is_settled_on("3.1.0").await;
    assert_eq!(server.containers(Slot::Blue).len(), 3, "the migration has left nothing");
    assert_eq!(done(), 1, "two ran side by side: {}", schema());

    is_killed(&server, &["rollback", "shift-100"], "shift-100").await;
    is_recovered_from(&server, "rollback", "succeeded").await;
    server.is_settled_on("1.1.0").await;
    is_killed(&server, &["retire", "retire"], "retire").await;
    is_recovered_from(&server, "retire", "succeeded").await;
    server.is_settled_on("1.1.0").await;
    assert_eq!(server.containers(Slot::Blue), Vec::<String>::new());
    none_failed(clients).await;
}

/// Runs the tool, which must be killed in this step.
async fn is_killed(server: &Server, arguments: &[&str], step: &str) {
    let killed = deployer(server, arguments).await;
    assert_eq!(killed.status.signal(), Some(9), "{step}: {}", text(&killed));
    let left = server.state();
    assert!(left.lease.is_some(), "{step}: a process that was killed gives nothing back");
    assert_eq!(left.operation.unwrap().last().unwrap().step.to_string(), *step);
}

/// Runs the tool, which must find this operation unfinished, and bring it to this end.
async fn is_recovered_from(server: &Server, operation: &str, outcome: &str) {
    let recovered = deployer(server, &["recover"]).await;
    assert!(recovered.status.success(), "{}", text(&recovered));
    assert!(text(&recovered).contains(&format!("note: found: {operation}")), "{}", text(&recovered));
    assert_eq!(server.state().history.last().unwrap().outcome.word(), outcome, "{}", text(&recovered));
}

async fn kill_in_each(steps: &'static [(&str, &str)]) {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    server.deploy("1.1.0").await.unwrap();
    let (mut live, mut next) = ("1.1.0".to_owned(), 0);
    let clients = server.clients(150);
    for (step, outcome) in sample(steps.iter().copied(), 2, |(_, outcome)| *outcome) {
        let version = format!("2.{next}.0");
        server.images.publish(&version, "none").await;
        is_killed(&server, &["deploy", &version, step], step).await;
        is_recovered_from(&server, "deploy", outcome).await;
        if outcome == "succeeded" && step != "observe" {
            (live, next) = (version, next + 1);
        }
        server.is_settled_on(&live).await;
    }
    none_failed(clients).await;
}

/// Runs the tool as a process.
async fn deployer(server: &Server, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compose-deployer"));
    command.arg(serde_json::to_string(&server.shop).unwrap()).args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}
