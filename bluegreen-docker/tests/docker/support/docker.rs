//! The `docker` command: another way to see and to do things, past the adapter.

use std::process::{Command, Output, Stdio};

pub(crate) fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn docker_ok(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
