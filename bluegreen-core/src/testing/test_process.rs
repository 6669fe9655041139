use std::process::{Command, Stdio};

/// One test of this test binary, to be run in a process of its own: with another environment, or to be killed.
///
/// The test is named by its path, `concat!(module_path!(), "::its_name")`. An ignored one is run too. What it prints is not
/// captured.
#[must_use]
pub fn test_process(test: &str) -> Command {
    // The test harness leaves out the name of the crate.
    let test = test.split_once("::").map_or(test, |(_, path)| path);
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).stdin(Stdio::null());
    command
}
