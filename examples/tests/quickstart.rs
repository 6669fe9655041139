//! The quickstart as a user runs it: real processes, real traffic, and a deployer that is killed in each step.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use bluegreen_core::state::State;
use bluegreen_examples::traffic::Counts;
use rustix::process::{Pid, Signal, kill_process};

/// Every step of the quickstart's second deploy, and the outcome of the recovery from a death in it.
const STEPS: [(&str, &str); 18] = [
    ("observe", "succeeded"),
    ("prepare", "aborted"),
    ("start", "aborted"),
    ("health", "aborted"),
    ("smoke", "aborted"),
    ("attach", "aborted"),
    ("check-slots-10", "aborted"),
    ("shift-10", "rolled back"),
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

/// How many quickstarts run side by side, in all tests together: each has a proxy, two services, clients and a deployer.
const SIDE_BY_SIDE: usize = 2;

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// A folder of its own; whatever runs in it is stopped at the end, also when the test fails.
struct Quickstart {
    folder: tempfile::TempDir,
}

impl Quickstart {
    fn new() -> Self {
        let running = RUNNING.0.lock().unwrap();
        *RUNNING.1.wait_while(running, |running| *running >= SIDE_BY_SIDE).unwrap() += 1;
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        // The service's binary is built already: by the cargo that runs this test.
        command.env_remove("CARGO").arg("--dir").arg(self.folder.path()).args(arguments);
        command
    }

    /// Suspends the deployer, not in the moment in which it holds the lock of the state: nobody could write then.
    fn suspend(&self, deployer: Pid) {
        let directory = File::open(self.folder.path().join("state")).unwrap();
        loop {
            kill_process(deployer, Signal::STOP).unwrap();
            if directory.try_lock().is_ok() {
                return directory.unlock().unwrap();
            }
            kill_process(deployer, Signal::CONT).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The record, what runs in both slots, and what the proxy does.
    fn all_there_is(&self) -> Vec<String> {
        ["state/shop.json", "services/blue/instance.json", "services/green/instance.json", "proxy.json"]
            .map(|file| std::fs::read_to_string(self.folder.path().join(file)).unwrap())
            .to_vec()
    }

    fn state(&self) -> State {
        State::from_bytes(&std::fs::read(self.folder.path().join("state/shop.json")).unwrap()).unwrap()
    }

    fn counts(&self) -> Counts {
        Counts::read(&self.folder.path().join("counts.json")).unwrap()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        self.run(&["--stop"]);
        *RUNNING.0.lock().unwrap() -= 1;
        RUNNING.1.notify_all();
    }
}

/// Cargo builds the examples of a package before it runs its tests, unless it was told to build one test only.
fn binary() -> PathBuf {
    let service = Path::new(env!("CARGO_BIN_EXE_demo-service"));
    let binary = service.parent().unwrap().join("examples/quickstart");
    assert!(binary.exists(), "build the examples first: cargo build --examples");
    binary
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout))
}

#[test]
fn three_deploys_under_traffic_lose_no_request_and_the_bad_one_is_rolled_back() {
    let quickstart = Quickstart::new();
    let output = quickstart.run(&[]);
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    for part in [
        "deploy of shop 1.0 (blue): succeeded",
        "deploy of shop 2.0 (green): succeeded",
        "deploy of shop 3.0 (blue): rolled back",
        "0 failed because of a deploy",
        "state file: ",
    ] {
        assert!(told.contains(part), "{part} in:\n{told}");
    }
    let counts = quickstart.counts();
    assert_eq!(counts.failed, 0, "{:?}", counts.first_failure);
    for version in ["1.0", "2.0", "3.0"] {
        assert!(counts.answered[version] > 50, "{counts:?}");
    }
    assert!(counts.own_errors["3.0"] >= 2, "3.0 fails by itself: {counts:?}");
    assert!(!counts.own_errors.contains_key("2.0"), "{counts:?}");
    assert_eq!(counts.answered.values().sum::<u64>(), counts.sent, "every request has exactly one answer");
}

#[test]
fn a_deployer_killed_in_any_step_is_recovered_from_and_no_request_is_lost() {
    let steps = Mutex::new(STEPS.iter());
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some((step, outcome)) = steps.lock().unwrap().next() else { return };
                    crash_and_recover(step, outcome);
                }
            });
        }
    });
}

fn crash_and_recover(step: &str, outcome: &str) {
    let quickstart = Quickstart::new();
    let killed = quickstart.run(&["--crash-at", step]);
    assert_eq!(killed.status.signal(), Some(9), "{step}: {}", text(&killed));
    let left = quickstart.state();
    assert!(left.lease.is_some(), "{step}: a process that was killed gives nothing back");
    assert_eq!(left.operation.unwrap().last().unwrap().step.to_string(), step);
    let sent = quickstart.counts().sent;

    let recovered = quickstart.run(&["--recover"]);
    let told = text(&recovered);
    assert!(recovered.status.success(), "{step}: {told}");
    assert!(told.contains("note: found: deploy"), "{step}: it says what it found: {told}");
    let counts = quickstart.counts();
    assert_eq!(counts.failed, 0, "{step}: {:?}", counts.first_failure);
    assert!(counts.sent > sent, "{step}: traffic went on without a deployer");

    let state = quickstart.state();
    assert!(state.lease.is_none() && state.operation.is_none(), "{step}: {state:?}");
    assert_eq!(state.history.last().unwrap().outcome.word(), outcome, "{step}: {told}");
    let live = state.slot(state.live.unwrap()).version.clone().unwrap();
    let expected = if outcome == "succeeded" && step != "observe" { "2.0" } else { "1.0" };
    assert_eq!(live.as_str(), expected, "{step}");
    assert!(told.contains(&format!("running {expected}")), "{step}: the live slot runs: {told}");
}

#[test]
fn a_deployer_that_was_suspended_while_another_recovered_does_nothing_more() {
    std::thread::scope(|scope| {
        for (step, outcome) in [("soak-10", "rolled back"), ("bake", "succeeded")] {
            scope.spawn(move || suspend_and_recover(step, outcome));
        }
    });
}

fn suspend_and_recover(step: &str, outcome: &str) {
    let quickstart = Quickstart::new();
    let mut suspended = quickstart.command(&["--keep"]);
    let mut suspended = Ended(suspended.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let pid = Pid::from_child(&suspended.0);
    let in_step = || {
        let state = std::fs::read(quickstart.folder.path().join("state/shop.json")).ok()?;
        let operation = State::from_bytes(&state).ok()?.operation?;
        Some(operation.last()?.step.to_string() == step)
    };
    while in_step() != Some(true) {
        assert!(suspended.0.try_wait().unwrap().is_none(), "it ended before {step}");
        std::thread::sleep(Duration::from_millis(20));
    }
    quickstart.suspend(pid);

    // It waits until the lease has stood still for its whole time.
    let recovered = quickstart.run(&["--recover", "--keep"]);
    let told = text(&recovered);
    assert!(recovered.status.success(), "{step}: {told}");
    assert_eq!(quickstart.state().history.last().unwrap().outcome.word(), outcome, "{step}: {told}");
    let left = quickstart.all_there_is();

    kill_process(pid, Signal::CONT).unwrap();
    let mut told = String::new();
    suspended.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(!suspended.0.wait().unwrap().success() && told.contains("lease"), "{step}: {told}");
    assert_eq!(quickstart.all_there_is(), left, "{step}: {told}");
    assert_eq!(quickstart.counts().failed, 0, "{step}: {:?}", quickstart.counts().first_failure);
}

/// A process that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn recovering_where_nothing_was_begun_says_so() {
    let output = Quickstart::new().run(&["--recover"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("there is nothing to recover"), "{}", text(&output));
}

#[test]
fn a_step_that_the_deploy_does_not_have_is_named() {
    let output = Quickstart::new().run(&["--crash-at", "soak-99"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("the deploy has no step soak-99"), "{}", text(&output));
    let output = Quickstart::new().run(&["--crash-at", "nonsense"]);
    assert!(text(&output).contains("is not a step"), "{}", text(&output));
}
