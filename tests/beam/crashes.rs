//! A deployer that is killed.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use bluegreen_core::testing::sample;

use crate::setup::Server;
use crate::web_socket::WebSocket;

/// The steps of a deploy into a slot that is occupied, and how the recovery from a death in each ends.
pub(crate) const STEPS: [(&str, &str); 12] = [
    ("observe", "succeeded"),
    ("prepare", "aborted"),
    ("expand-before-start", "aborted"),
    ("stop-occupant", "aborted"),
    ("start", "aborted"),
    ("health", "aborted"),
    ("attach", "aborted"),
    ("check-slots-100", "aborted"),
    ("shift-100", "rolled back"),
    ("verify", "rolled back"),
    ("drain", "succeeded"),
    ("retain", "succeeded"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_any_step_is_recovered_from_and_no_request_is_lost() {
    let steps = sample(STEPS, 2, |(_, outcome)| *outcome);
    let halves = steps.chunks(steps.len().div_ceil(2));
    let halves: Vec<_> = halves.map(|steps| tokio::spawn(kill_in_each(steps.to_vec()))).collect();
    for half in halves {
        half.await.unwrap();
    }
}

/// A step, and after how many milliseconds of it.
const MIDDLES: [(&str, u32); 9] = [
    ("prepare", 30),
    ("prepare", 90),
    ("prepare", 200),
    ("expand-before-start", 300),
    ("stop-occupant", 100),
    ("start", 60),
    ("start", 300),
    ("shift-100", 4),
    ("shift-100", 12),
];

/// What a step does on the server goes on, or is half done, when its deployer dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_the_middle_of_what_a_step_does_is_recovered_from_and_no_request_is_lost() {
    let Some(server) = Server::start() else { return };
    server.deploy("0.1.0").await.unwrap();
    server.deploy("0.2.0").await.unwrap();
    let mut live = "0.2.0".to_owned();
    let (clients, mut socket) = (server.clients(), WebSocket::open(&server).await);
    for (step, moment) in sample(MIDDLES, 1, |(step, _)| *step) {
        let version = format!("1.{}.{moment}", step.len());
        let killed = deployer(&server, &["--crash-at", &format!("{step}+{moment}"), "deploy", &version]).await;
        assert_eq!(killed.status.signal(), Some(9), "{step}+{moment}: {}", text(&killed));
        let recovered = deployer(&server, &["recover"]).await;
        assert!(recovered.status.success(), "{step}+{moment}: {}", text(&recovered));
        let now = server.public_version().await;
        assert!(now == live || now == version, "{step}+{moment}: {now}, {}", text(&recovered));
        server.is_settled_on(&now).await;
        socket.is_held(&server).await;
        live = now;
    }
    server.deploy("2.0.0").await.unwrap();
    server.is_settled_on("2.0.0").await;
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

async fn kill_in_each(steps: Vec<(&'static str, &'static str)>) {
    let Some(server) = Server::start() else { return };
    server.deploy("0.1.0").await.unwrap();
    server.deploy("0.2.0").await.unwrap();
    let mut live = "0.2.0".to_owned();
    let (clients, mut socket) = (server.clients(), WebSocket::open(&server).await);
    for (number, (step, outcome)) in steps.iter().enumerate() {
        let version = format!("1.{number}.0");
        let killed = deployer(&server, &["--crash-at", step, "deploy", &version]).await;
        assert_eq!(killed.status.signal(), Some(9), "{step}: {}", text(&killed));
        let left = server.state();
        assert!(left.lease.is_some(), "{step}: a process that was killed gives nothing back");
        assert_eq!(left.operation.unwrap().last().unwrap().step.to_string(), *step);
        assert_eq!(server.public_version().await, if in_force(step) { &version } else { &live }.as_str());

        let recovered = deployer(&server, &["recover"]).await;
        assert!(recovered.status.success(), "{step}: {}", text(&recovered));
        assert!(text(&recovered).contains("note: found: deploy"), "{step}: {}", text(&recovered));
        assert_eq!(server.state().history.last().unwrap().outcome.word(), *outcome, "{step}: {}", text(&recovered));
        if *outcome == "succeeded" && *step != "observe" {
            live = version;
        }
        server.is_settled_on(&live).await;
        socket.is_held(&server).await;
    }
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

/// Whether the new version has the traffic when the process dies at the beginning of this step.
fn in_force(step: &str) -> bool {
    ["verify", "drain", "retain"].contains(&step)
}

/// Runs the tool as a process.
pub(crate) async fn deployer(server: &Server, arguments: &[&str]) -> Output {
    if let [.., "deploy", version] = arguments {
        server.release_here(version);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_beam-deployer"));
    command.arg("--settings").arg(server.path("deploy.toml")).args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}
