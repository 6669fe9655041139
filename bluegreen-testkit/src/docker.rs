//! The Docker engine of this machine by the `docker` command: another way to see and to do things, past the adapter.

use std::process::{Command, Output, Stdio};

use bluegreen_core::testing::part_is_here;

use crate::process::answers;

pub fn engine_is_here() -> bool {
    part_is_here("a Docker engine", answers(&["docker", "version"]), "start one with .ci/start-dockerd")
}

/// Whether there are an engine, both programs of Compose, and a registry.
pub fn compose_is_here() -> bool {
    let parts: [(&str, &str, &[&str]); 3] = [
        ("docker compose", "install it with .ci/install-compose-v2", &["docker", "compose", "version"]),
        ("docker-compose", "install docker-compose", &["docker-compose", "version"]),
        ("docker-registry", "install docker-registry", &["docker-registry", "--version"]),
    ];
    engine_is_here() && parts.into_iter().all(|(part, advice, words)| part_is_here(part, answers(words), advice))
}

pub fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that must succeed, and returns what it printed.
pub fn docker_ok(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The lines that a command printed, none when it failed.
pub fn docker_lines(arguments: &[&str]) -> Vec<String> {
    String::from_utf8_lossy(&docker(arguments).stdout).lines().map(str::to_owned).collect()
}

/// A name that no other test has, in this run or another.
pub fn unique(what: &str) -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(6).collect();
    format!("bg{what}{}{}", std::process::id(), random.to_lowercase())
}
