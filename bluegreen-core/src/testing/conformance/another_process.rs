use std::future::Future;
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Signal, getpgrp, kill_process_group};
use tokio::process::Command;

use crate::testing::test_process;

/// What the other process is asked to do, and how it is to end.
const TASK: &str = "BLUEGREEN_CONFORMANCE_TASK";
const END: &str = "BLUEGREEN_CONFORMANCE_END";

/// How a process ends that has started something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    /// By itself, after it has dropped everything.
    Returns,
    /// By SIGKILL, with its whole process group, as a terminal or a service manager may end it.
    Killed,
}

/// Runs one test of this test binary in a process of its own, for
/// [`start_in_another_process`](super::RuntimeFixture::start_in_another_process), and waits for its end.
///
/// The test is named by its path, `concat!(module_path!(), "::its_name")`. It calls [`as_another_process`], which gives it the
/// task: a text of the fixture's own, such as the directory to work in.
///
/// ```no_run
/// # use bluegreen_core::testing::conformance::{self, ProcessEnd};
/// # async fn start(directory: &str) {}
/// // In the fixture:
/// # async fn example() {
/// let test = concat!(module_path!(), "::another_process");
/// conformance::in_another_process(test, "/tmp/slots", ProcessEnd::Killed).await;
/// # }
///
/// // Beside the tests:
/// #[tokio::test]
/// async fn another_process() {
///     conformance::as_another_process(async |directory| start(&directory).await).await;
/// }
/// ```
///
/// # Panics
/// When the process did not end that way, with what it wrote.
pub async fn in_another_process(test: &str, task: &str, end: ProcessEnd) {
    let mut command = Command::from(test_process(test));
    command.env(TASK, task).env(END, word(end)).process_group(0).kill_on_drop(true);
    // Into files, not pipes: what is started may keep them open.
    let output = tempfile::NamedTempFile::new();
    let text = match &output {
        Ok(file) => {
            let handles = file.reopen().and_then(|out| Ok((out, file.reopen()?)));
            if let Ok((out, err)) = handles {
                command.stdout(out).stderr(err);
            }
            file.path().to_owned()
        }
        Err(error) => panic!("no file for what the process writes: {error}"),
    };
    let status = command.status().await;
    let ended_so = status.as_ref().is_ok_and(|status| match end {
        ProcessEnd::Returns => status.success(),
        ProcessEnd::Killed => status.signal() == Some(Signal::KILL.as_raw()),
    });
    let wrote = std::fs::read_to_string(text).unwrap_or_default();
    assert!(ended_so, "the test {test} did not end as asked ({end:?}) in a process of its own: {status:?}\n{wrote}");
    let ran = end == ProcessEnd::Killed || wrote.contains("1 passed");
    assert!(ran, "this test binary has no test {test}:\n{wrote}");
}

/// In a test that [`in_another_process`] runs: does the task, and ends the process as it was asked to. In any other run the
/// test has nothing to do.
pub async fn as_another_process<F: Future>(work: impl FnOnce(String) -> F) {
    let Ok(task) = std::env::var(TASK) else { return };
    work(task).await;
    if std::env::var(END).is_ok_and(|end| end == word(ProcessEnd::Killed)) {
        let _ = kill_process_group(getpgrp(), Signal::KILL);
    }
}

fn word(end: ProcessEnd) -> &'static str {
    match end {
        ProcessEnd::Returns => "returns",
        ProcessEnd::Killed => "killed",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Stdio;
    use std::time::Duration;

    use super::*;

    const THIS: &str = concat!(module_path!(), "::another_process");

    /// Starts `sleep` in a group of its own, or in that of the process, and writes down its pid.
    #[tokio::test]
    #[allow(clippy::zombie_processes, reason = "it is to outlive this process")]
    async fn another_process() {
        as_another_process(async |task| {
            let (file, own_group) = task.split_once(' ').unwrap();
            let mut command = std::process::Command::new("sleep");
            command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if own_group == "true" {
                command.process_group(0);
            }
            std::fs::write(file, command.spawn().unwrap().id().to_string()).unwrap();
        })
        .await;
    }

    async fn outlives(own_group: bool, end: ProcessEnd) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        in_another_process(THIS, &format!("{} {own_group}", file.display()), end).await;
        let pid = std::fs::read_to_string(file).unwrap();
        let lives = || Path::new("/proc").join(&pid).join("exe").exists();
        // A group is killed one by one.
        for _ in 0..250 {
            if !lives() {
                return false;
            }
            if own_group || end == ProcessEnd::Returns {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        true
    }

    #[tokio::test]
    async fn only_what_is_in_a_group_of_its_own_outlives_a_process_that_is_killed_with_its_group() {
        assert!(outlives(true, ProcessEnd::Killed).await);
        assert!(outlives(true, ProcessEnd::Returns).await);
        assert!(outlives(false, ProcessEnd::Returns).await);
        assert!(!outlives(false, ProcessEnd::Killed).await);
    }

    #[tokio::test]
    #[should_panic(expected = "this test binary has no test crate::no_such_test")]
    async fn a_test_that_is_not_there_is_noticed() {
        in_another_process("crate::no_such_test", "", ProcessEnd::Returns).await;
    }
}
