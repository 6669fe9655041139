//! The process runtime with real processes: what survives, what is found again, what is reported.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bluegreen_core::testing::test_process;
use bluegreen_core::{
    Effect, ErrorKind, Instance, OperationId, Reason, Release, Runtime, Secret, ServiceName, Slot, Target,
};
use bluegreen_local::{ProcessRuntime, ProcessRuntimeBuilder};
use bluegreen_testkit::pids::{runs, send};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const GRACE: Duration = Duration::from_secs(5);

/// A state directory with a script as the service. What still runs at the end of a test is killed.
struct Site {
    directory: tempfile::TempDir,
}

impl Site {
    fn new(script: &str) -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap() };
        site.write_service(script);
        site
    }

    fn write_service(&self, script: &str) {
        std::fs::write(self.service(), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(self.service(), PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn service(&self) -> PathBuf {
        self.directory.path().join("service")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn builder(&self) -> ProcessRuntimeBuilder {
        ProcessRuntime::builder(self.state()).directory(self.directory.path().to_str().unwrap())
    }

    fn runtime(&self) -> ProcessRuntime {
        self.builder().build().unwrap()
    }

    fn target(&self, slot: Slot, version: &str) -> Target {
        let release = Release::new(version).unwrap().with_artifact(self.service());
        Target::new(ServiceName::new("shop").unwrap(), slot, release, OperationId::new("op-1").unwrap())
    }

    fn record(&self, slot: Slot) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.record_file(slot)).unwrap()).unwrap()
    }

    fn record_file(&self, slot: Slot) -> PathBuf {
        self.state().join(slot.as_str()).join("instance.json")
    }

    fn edit_record(&self, slot: Slot, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut record = self.record(slot);
        edit(&mut record);
        std::fs::write(self.record_file(slot), record.to_string()).unwrap();
    }

    fn leader(&self, slot: Slot) -> i32 {
        i32::try_from(self.record(slot)["process"]["pid"].as_i64().unwrap()).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Whatever became of the records: all that runs in this site's directory is this test's own.
        for pid in running_in(self.directory.path()) {
            send(pid, Signal::KILL);
        }
    }
}

/// The processes whose working directory is `directory`, zombies left out.
fn running_in(directory: &Path) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory))
        .filter(|pid| runs(*pid))
        .collect()
}

async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(20);
    while Instant::now() < give_up {
        if let Some(found) = probe().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen within 20 s");
}

async fn file_text(path: &Path) -> String {
    let read = async || std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'));
    eventually(&format!("{}", path.display()), read).await.trim().to_owned()
}

async fn stopped(runtime: &ProcessRuntime, slot: Slot) -> Instance {
    eventually("the end of the process", async || {
        Some(runtime.inspect(slot).await.unwrap()).filter(|instance| !instance.is_running())
    })
    .await
}

fn port(instance: &Instance) -> u16 {
    instance.endpoint(Some("http")).unwrap().address.rsplit_once(':').unwrap().1.parse().unwrap()
}

const SLEEP: &str = "exec sleep 600";

#[tokio::test]
async fn a_state_directory_of_an_earlier_version_is_its_services_by_its_records() {
    let site = Site::new("exec sleep 60");
    let target = site.target(Slot::Blue, "1.0");
    let runtime = site.runtime();
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    std::fs::remove_file(site.state().join(bluegreen_core::MARK)).unwrap();
    let (blog, shop) = (ServiceName::new("blog").unwrap(), ServiceName::new("shop").unwrap());
    for slot in Slot::BOTH {
        let other = site.runtime();
        other.bind_service(&blog).unwrap();
        let error = other.stop(slot, GRACE).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::OtherService), "{error:?}");
        let theirs = Target { service: blog.clone(), ..site.target(slot, "2.0") };
        let error = site.runtime().prepare(&theirs).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::OtherService), "{error:?}");
    }
    assert!(!site.state().join(bluegreen_core::MARK).exists(), "who is refused leaves no mark");
    let own = site.runtime();
    own.bind_service(&shop).unwrap();
    own.start(&target).await.unwrap();
    assert!(site.state().join(bluegreen_core::MARK).exists(), "its own service adopts it");
    own.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn an_empty_slot_is_absent_and_everything_asked_of_it_is_harmless() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), Instance::Absent);
    assert_eq!(runtime.logs(Slot::Blue, 10).await.unwrap(), Vec::<String>::new());
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn the_service_gets_port_slot_version_its_environment_and_nothing_of_the_deployers() {
    let site = Site::new("env | sort > env.tmp; mv env.tmp env; exec sleep 600");
    let runtime = site.builder().env("TOKEN", Secret::new("t0k en$")).arg("--{slot}").build().unwrap();
    let target = site.target(Slot::Green, "1.0");
    runtime.prepare(&target).await.unwrap();
    let instance = runtime.start(&target).await.unwrap();
    let env = file_text(&site.file("env")).await;
    let has = |line: &str| env.lines().any(|have| have == line);
    assert!(has(&format!("PORT={}", port(&instance))), "{env}");
    assert!(has("SLOT=green") && has("VERSION=1.0") && has("TOKEN=t0k en$"), "{env}");
    // And what its shell sets.
    let known = "PATH HOME USER LOGNAME SHELL LANG LC_ALL TZ TMPDIR \
                 PORT SLOT VERSION BLUEGREEN_INSTANCE TOKEN PWD OLDPWD SHLVL _";
    let is_known = |name: &str| known.split_whitespace().any(|known| known == name);
    assert!(env.lines().all(|line| is_known(line.split('=').next().unwrap())), "{env}");
    let seen = format!("{runtime:?} {}", std::fs::read_to_string(site.record_file(Slot::Green)).unwrap());
    assert!(!seen.contains("t0k en$"));
    let leader = site.leader(Slot::Green);
    assert!(!std::fs::read_to_string(format!("/proc/{leader}/cmdline")).unwrap().contains("t0k en$"));
    runtime.stop(Slot::Green, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_variable_of_the_deployer_is_handed_on_when_asked_for() {
    // Cargo sets it for every test.
    let Some(value) = std::env::var("CARGO_MANIFEST_DIR").ok() else { panic!("run this by cargo test") };
    let site = Site::new("env > env.tmp; mv env.tmp env; exec sleep 600");
    let runtime = site.builder().inherit_env("CARGO_MANIFEST_DIR").inherit_env("NOT_SET_ANYWHERE").build().unwrap();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let env = file_text(&site.file("env")).await;
    assert!(env.lines().any(|line| line == format!("CARGO_MANIFEST_DIR={value}")), "{env}");
    assert!(!env.contains("NOT_SET_ANYWHERE"), "{env}");
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn given_ports_are_used_and_chosen_ones_differ_between_the_slots() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    let blue = port(&runtime.start(&site.target(Slot::Blue, "1")).await.unwrap());
    let green = port(&runtime.start(&site.target(Slot::Green, "2")).await.unwrap());
    assert_ne!(blue, green);
    for slot in Slot::BOTH {
        runtime.stop(slot, GRACE).await.unwrap();
    }
    let fixed = site.builder().ports((4001, 4002)).build().unwrap();
    assert_eq!(port(&fixed.start(&site.target(Slot::Green, "2")).await.unwrap()), 4002);
    fixed.stop(Slot::Green, GRACE).await.unwrap();
    assert_eq!(site.builder().ports((4001, 4001)).build().unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn the_same_release_is_returned_as_it_runs_and_another_is_a_conflict() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    let first = runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let leader = site.leader(Slot::Blue);
    assert_eq!(runtime.start(&site.target(Slot::Blue, "1")).await.unwrap(), first);
    assert_eq!(site.leader(Slot::Blue), leader);
    let error = runtime.start(&site.target(Slot::Blue, "2")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains("version 1 runs in the slot"), "{error}");
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), first);
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_version_with_other_content_is_a_conflict_in_prepare_and_in_start() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    runtime.prepare(&site.target(Slot::Blue, "1")).await.unwrap();
    site.write_service("exit 0");
    for error in [
        runtime.prepare(&site.target(Slot::Blue, "1")).await.unwrap_err(),
        runtime.start(&site.target(Slot::Blue, "1")).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    }
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), Instance::Absent);
    runtime.prepare(&site.target(Slot::Blue, "2")).await.unwrap();
}

#[tokio::test]
async fn prepare_finds_a_missing_artifact_and_a_program_that_cannot_be_run() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    std::fs::set_permissions(site.service(), PermissionsExt::from_mode(0o644)).unwrap();
    let error = runtime.prepare(&site.target(Slot::Blue, "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    std::fs::remove_file(site.service()).unwrap();
    let error = runtime.prepare(&site.target(Slot::Blue, "1")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error}");
}

#[tokio::test]
async fn a_crash_is_reported_with_its_exit_status_and_last_words() {
    let site = Site::new("echo one; echo two; echo 'no database' >&2; exit 3");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let instance = stopped(&runtime, Slot::Blue).await;
    assert_eq!(instance.to_string(), "stopped 1 (exit status 3)");
    assert_eq!(runtime.logs(Slot::Blue, 2).await.unwrap(), ["two", "no database"]);
    // The next start of the same version has lines of its own.
    site.write_service("exit 0");
    let error = runtime.start(&site.target(Slot::Blue, "1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    site.write_service("echo one; echo two; echo 'no database' >&2; exit 3");
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    stopped(&runtime, Slot::Blue).await;
    assert_eq!(runtime.logs(Slot::Blue, 10).await.unwrap(), ["one", "two", "no database"]);
}

#[tokio::test]
async fn death_by_a_signal_is_told_from_a_stop_on_request() {
    let site = Site::new("echo $$ > pid; exec sleep 600");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let pid: i32 = file_text(&site.file("pid")).await.parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(stopped(&runtime, Slot::Blue).await.to_string(), "stopped 1 (exit status 137 (signal 9))");
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(runtime.inspect(Slot::Blue).await.unwrap().to_string().contains("(exit status 137"));
}

#[tokio::test]
async fn stop_lets_the_service_end_by_itself() {
    let site = Site::new("trap 'echo bye; exit 0' TERM; echo up > up; while :; do sleep 0.05; done");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    file_text(&site.file("up")).await;
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert_eq!(runtime.logs(Slot::Blue, 1).await.unwrap(), ["bye"]);
    let instance = runtime.inspect(Slot::Blue).await.unwrap();
    assert_eq!(instance.to_string(), "stopped 1 (stopped on request, exit status 0)");
    assert_eq!(running_in(site.directory.path()), Vec::<i32>::new());
}

#[tokio::test]
async fn what_does_not_end_in_time_is_killed_with_all_its_children() {
    // One child in the same session, one that left it; none of them listens to SIGTERM.
    let site = Site::new("trap '' TERM; sleep 601 & setsid sleep 602 & echo up > up; sleep 603");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    file_text(&site.file("up")).await;
    eventually("three sleeps", async || (running_in(site.directory.path()).len() >= 5).then_some(())).await;
    let began = Instant::now();
    runtime.stop(Slot::Blue, Duration::from_millis(300)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(running_in(site.directory.path()), Vec::<i32>::new());
    let instance = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(instance.to_string().starts_with("stopped 1 (stopped on request, "), "{instance}");
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn children_of_a_crashed_service_do_not_stand_in_the_way_of_the_next_start() {
    let site = Site::new("sleep 601 & exit 1");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    assert_eq!(stopped(&runtime, Slot::Blue).await.to_string(), "stopped 1 (exit status 1)");
    let child = eventually("only the child is left", async || match running_in(site.directory.path())[..] {
        [child] => Some(child),
        _ => None,
    })
    .await;
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    assert!(!runs(child));
    stopped(&runtime, Slot::Blue).await;
    runtime.stop(Slot::Blue, Duration::ZERO).await.unwrap();
    assert_eq!(running_in(site.directory.path()), Vec::<i32>::new());
}

#[tokio::test]
async fn stopping_one_slot_leaves_the_other_alone() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    let blue = runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    runtime.start(&site.target(Slot::Green, "2")).await.unwrap();
    runtime.stop(Slot::Green, GRACE).await.unwrap();
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), blue);
    assert!(runs(site.leader(Slot::Blue)));
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_reused_pid_is_not_mistaken_for_ours_and_is_never_signalled() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    // A stranger that leads a session and has the recorded pid, but began at another time.
    let stranger = Other(std::process::Command::new("setsid").arg("sleep").arg("600").spawn().unwrap());
    let pid = i32::try_from(stranger.0.id()).unwrap();
    site.edit_record(Slot::Blue, |record| {
        record["process"]["pid"] = pid.into();
        record["stop_requested"] = false.into();
    });
    let token = site.record(Slot::Blue)["token"].as_str().unwrap().to_owned();
    let exit = site.state().join("blue").join(format!("exit-{token}"));
    // A service that is stopped in the moment of its start may leave none.
    if exit.exists() {
        std::fs::remove_file(exit).unwrap();
    }
    let instance = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(!instance.is_running(), "{instance}");
    runtime.stop(Slot::Blue, Duration::ZERO).await.unwrap();
    assert!(runs(pid), "the stranger was killed");
}

/// A process that is none of the runtime's. It ends with the test.
struct Other(std::process::Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_start_that_was_cut_off_before_it_was_recorded_is_found_and_can_be_stopped() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    let instance = runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let leader = site.leader(Slot::Blue);
    // What a deployer leaves behind that is killed between the start and the record of it.
    site.edit_record(Slot::Blue, |record| record["process"] = serde_json::Value::Null);
    let new = site.runtime();
    assert_eq!(new.inspect(Slot::Blue).await.unwrap(), instance);
    assert_eq!(new.start(&site.target(Slot::Blue, "1")).await.unwrap(), instance);
    assert_eq!(new.start(&site.target(Slot::Blue, "2")).await.unwrap_err().kind(), ErrorKind::Conflict);
    new.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(!runs(leader));
}

#[tokio::test]
async fn a_start_that_was_cut_off_before_it_happened_is_repeated() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    let token = site.record(Slot::Blue)["token"].as_str().unwrap().to_owned();
    std::fs::remove_file(site.state().join("blue").join(format!("exit-{token}"))).unwrap();
    site.edit_record(Slot::Blue, |record| {
        record["process"] = serde_json::Value::Null;
        record["stop_requested"] = false.into();
    });
    let instance = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(instance.to_string().contains("the deployer ended before it started the process"), "{instance}");
    assert!(runtime.start(&site.target(Slot::Blue, "1")).await.unwrap().is_running());
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_cut_off_does_not_leave_a_start_half_done() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    let target = site.target(Slot::Blue, "1");
    for patience in [0, 100, 1_000, 3_000, 10_000] {
        let _ = tokio::time::timeout(Duration::from_micros(patience), runtime.start(&target)).await;
        let instance = runtime.start(&target).await.unwrap();
        assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), instance);
        let leaders = running_in(site.directory.path()).into_iter().filter(|pid| is_session_leader(*pid)).count();
        assert_eq!(leaders, 1, "the service runs once");
        let _ = tokio::time::timeout(Duration::from_micros(patience), runtime.stop(Slot::Blue, GRACE)).await;
        runtime.stop(Slot::Blue, GRACE).await.unwrap();
        assert_eq!(running_in(site.directory.path()), Vec::<i32>::new());
    }
}

fn is_session_leader(pid: i32) -> bool {
    rustix::process::getsid(Pid::from_raw(pid)).is_ok_and(|session| session.as_raw_pid() == pid)
}

#[tokio::test]
async fn the_service_still_counts_as_running_when_only_its_supervisor_was_killed() {
    let site = Site::new("echo $$ > pid; exec sleep 600");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let pid: i32 = file_text(&site.file("pid")).await.parse().unwrap();
    kill_process(Pid::from_raw(site.leader(Slot::Blue)).unwrap(), Signal::KILL).unwrap();
    eventually("the supervisor's end", async || (!runs(site.leader(Slot::Blue))).then_some(())).await;
    assert!(runtime.inspect(Slot::Blue).await.unwrap().is_running());
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn children_of_a_living_deployer_do_not_stay_as_zombies() {
    let site = Site::new("exit 0");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let leader = site.leader(Slot::Blue);
    eventually("the reaping of the child", async || (!Path::new(&format!("/proc/{leader}")).exists()).then_some(()))
        .await;
}

#[tokio::test]
async fn a_corrupt_record_is_an_error_that_names_the_file_and_never_an_empty_slot() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let good = std::fs::read(site.record_file(Slot::Blue)).unwrap();
    for bad in [&b"{"[..], b"", b"{\"format\":1}"] {
        std::fs::write(site.record_file(Slot::Blue), bad).unwrap();
        let error = runtime.inspect(Slot::Blue).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.context("path").unwrap().ends_with("blue/instance.json"), "{error}");
        assert_eq!(runtime.start(&site.target(Slot::Blue, "2")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    std::fs::write(site.record_file(Slot::Blue), good).unwrap();
    site.edit_record(Slot::Blue, |record| record["format"] = 99.into());
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap_err().kind(), ErrorKind::Corrupt);
    site.edit_record(Slot::Blue, |record| record["format"] = 1.into());
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn state_and_logs_are_for_the_owner_alone() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    let target = site.target(Slot::Blue, "1");
    runtime.start(&target).await.unwrap();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(site.state()), 0o700);
    assert_eq!(mode(site.record_file(Slot::Blue)), 0o600);
    assert_eq!(mode(runtime.log_file(Slot::Blue, target.version())), 0o600);
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn logs_of_old_versions_do_not_pile_up() {
    let site = Site::new("echo up; exec sleep 600");
    let runtime = site.runtime();
    for version in 1..=14 {
        let target = site.target(Slot::Blue, &version.to_string());
        runtime.start(&target).await.unwrap();
        eventually("the log", async || (runtime.logs(Slot::Blue, 1).await.unwrap() == ["up"]).then_some(())).await;
        runtime.stop(Slot::Blue, GRACE).await.unwrap();
    }
    let entries = std::fs::read_dir(site.state().join("blue")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut logs: Vec<_> =
        entries.filter_map(|name| name.to_str()?.strip_suffix(".log")?.parse::<u32>().ok()).collect();
    logs.sort_unstable();
    assert_eq!(logs, (5..=14).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_state_directory_belongs_to_one_service() {
    let site = Site::new("exit 0");
    let runtime = site.runtime();
    runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
    let mut other = site.target(Slot::Blue, "2");
    other.service = ServiceName::new("cart").unwrap();
    assert_eq!(runtime.start(&other).await.unwrap_err().reason(), Some(Reason::OtherService));
}

/// Not a test of its own: the tests below run it as a deployer process that they kill.
#[tokio::test]
#[ignore = "a helper process of the other tests"]
async fn deployer() {
    let Some(directory) = std::env::var_os("TEST_SITE") else { return };
    let directory = PathBuf::from(directory);
    let runtime =
        ProcessRuntime::builder(directory.join("state")).directory(directory.to_str().unwrap()).build().unwrap();
    let release = Release::new("1").unwrap().with_artifact(directory.join("service"));
    let service = ServiceName::new("shop").unwrap();
    runtime.start(&Target::new(service, Slot::Blue, release, OperationId::new("op-1").unwrap())).await.unwrap();
    std::fs::write(directory.join("started"), "yes\n").unwrap();
    // Wait to be killed, and not for ever.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn spawn_deployer(site: &Site) -> std::process::Child {
    test_process(concat!(module_path!(), "::deployer"))
        .env("TEST_SITE", site.directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

async fn deployer_that_dies_of(signal: Signal, script: &str) -> Site {
    let site = Site::new(script);
    let mut deployer = spawn_deployer(&site);
    file_text(&site.file("started")).await;
    // The whole group, which is what a terminal does on Ctrl-C.
    kill_process_group(Pid::from_child(&deployer), signal).unwrap();
    assert!(!deployer.wait().unwrap().success());
    site
}

#[tokio::test]
async fn the_service_survives_sigkill_of_its_deployer_and_a_new_one_finds_it() {
    let site = deployer_that_dies_of(Signal::KILL, "echo up; exec sleep 600").await;
    let runtime = site.runtime();
    let instance = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(instance.is_running() && runs(site.leader(Slot::Blue)), "{instance}");
    assert_eq!(runtime.start(&site.target(Slot::Blue, "1")).await.unwrap(), instance);
    eventually("the log", async || (runtime.logs(Slot::Blue, 1).await.unwrap() == ["up"]).then_some(())).await;
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert_eq!(running_in(site.directory.path()), Vec::<i32>::new());
}

#[tokio::test]
async fn the_service_survives_ctrl_c_in_the_terminal_of_its_deployer() {
    let site = deployer_that_dies_of(Signal::INT, SLEEP).await;
    assert!(site.runtime().inspect(Slot::Blue).await.unwrap().is_running());
    site.runtime().stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_new_deployer_learns_the_exit_status_of_a_crash_it_did_not_see() {
    let site =
        deployer_that_dies_of(Signal::KILL, "while [ ! -e crash ]; do sleep 0.02; done; echo ouch; exit 42").await;
    let runtime = site.runtime();
    assert!(runtime.inspect(Slot::Blue).await.unwrap().is_running());
    std::fs::write(site.file("crash"), "").unwrap();
    assert_eq!(stopped(&runtime, Slot::Blue).await.to_string(), "stopped 1 (exit status 42)");
    assert_eq!(runtime.logs(Slot::Blue, 1).await.unwrap(), ["ouch"]);
}

#[tokio::test]
async fn whenever_the_deployer_is_killed_a_new_one_ends_with_one_service_and_then_with_none() {
    // From a kill before the start to ten after it, however slow this machine is.
    let (mut delay, mut began) = (0, 0);
    while began < 10 {
        delay += 1 + delay / 10;
        assert!(delay < 20_000, "the deployer starts nothing");
        let site = Site::new(SLEEP);
        let mut deployer = spawn_deployer(&site);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        deployer.kill().unwrap();
        deployer.wait().unwrap();
        began += usize::from(site.record_file(Slot::Blue).exists());
        let runtime = site.runtime();
        runtime.start(&site.target(Slot::Blue, "1")).await.unwrap();
        let all = running_in(site.directory.path());
        assert_eq!(all.iter().filter(|pid| is_session_leader(**pid)).count(), 1, "after {delay} ms: {all:?}");
        runtime.stop(Slot::Blue, GRACE).await.unwrap();
        assert_eq!(running_in(site.directory.path()), Vec::<i32>::new(), "after {delay} ms");
    }
}

#[tokio::test]
async fn a_port_that_another_program_has_is_found_by_a_plan_and_by_a_start() {
    let site = Site::new(SLEEP);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let runtime = site.builder().ports((taken.local_addr().unwrap().port(), free)).build().unwrap();
    let target = site.target(Slot::Blue, "1");
    for error in [runtime.preview(&target).await.unwrap_err(), runtime.start(&target).await.unwrap_err()] {
        assert_eq!(error.effect(), Effect::NotApplied, "{error}");
        assert!(error.to_string().contains("another program listens there"), "{error}");
    }
    runtime.preview(&site.target(Slot::Green, "1")).await.unwrap();
    drop(taken);
    runtime.preview(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    runtime.preview(&target).await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_plan_finds_an_artifact_that_is_missing_or_changed_and_writes_nothing() {
    let site = Site::new(SLEEP);
    let runtime = site.runtime();
    let target = site.target(Slot::Blue, "1");
    runtime.preview(&target).await.unwrap();
    assert!(!site.state().join("releases").exists(), "a plan writes nothing");
    runtime.prepare(&target).await.unwrap();
    site.write_service("exit 1");
    let error = runtime.preview(&target).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::OtherContent), "{error}");
    std::fs::remove_file(site.service()).unwrap();
    assert_eq!(runtime.preview(&target).await.unwrap_err().kind(), ErrorKind::NotFound);
}
