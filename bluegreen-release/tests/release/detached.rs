//! Programs in sessions of their own: what reaches them, what ends them, and what is known of them.

use std::fs;
use std::time::Duration;

use bluegreen_core::testing::HOSTILE_WORDS;
use bluegreen_core::{Effect, ErrorKind, Instance, Migrator, Phase, Runtime, Secret, Slot};
use bluegreen_release::CommandMigrator;
use bluegreen_testkit::patience::{PATIENCE, comes};
use bluegreen_testkit::pids::{environment, runs, send};
use bluegreen_testkit::ssh::{Sshd, sshd_is_here};
use rustix::process::Signal;

use crate::detached_lab::{Detached, SERVES, STUBBORN, busybox_sshd, target};
use crate::support::Lab;

const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn words_and_variables_reach_the_program_unchanged() {
    let server = Detached::here();
    let words: Vec<_> = HOSTILE_WORDS.iter().map(ToString::to_string).collect();
    let mut builder =
        server.builder().command([&["bin/shop".to_owned()], &words[..], &["{port} {slot}".to_owned()]].concat());
    for (number, word) in words.iter().enumerate() {
        builder = builder.env(format!("HOSTILE_{number}"), Secret::new(word));
    }
    let runtime = builder.ports((4711, 4712)).build().unwrap();
    let program = "#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done > words\nexec sleep 600\n";
    let blue = target(Slot::Blue, server.release("1.0", program));
    let pid = server.started(&runtime, &blue).await;
    let file = server.lab.path("server dir").join("releases/1.0/words");
    let expected: String = words.iter().map(|word| format!("{word}\0")).collect::<String>() + "4711 blue\0";
    assert!(comes(PATIENCE, || fs::read_to_string(&file).is_ok_and(|text| text == expected)), "{file:?}");
    let there = environment(pid);
    for (number, word) in words.iter().enumerate() {
        assert!(there.contains(&format!("HOSTILE_{number}={word}")), "{word:?} in {there:?}");
    }
    assert!(there.contains(&"PORT=4711".to_owned()) && there.contains(&"VERSION=1.0".to_owned()), "{there:?}");
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn secrets_are_in_no_list_of_processes_and_in_files_of_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Detached::here();
    let runtime = server.builder().env("TOKEN", Secret::new("hush-4711")).build().unwrap();
    server.started(&runtime, &target(Slot::Blue, server.release("1.0", SERVES))).await;
    for pid in server.members(Slot::Blue) {
        let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap()).into_owned();
        assert!(!line.contains("hush"), "{line}");
    }
    for name in ["env", "env-1.0", "log"] {
        let mode = fs::metadata(server.file(Slot::Blue, name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}

#[tokio::test]
async fn the_exit_status_or_the_signal_is_told() {
    let server = Detached::here();
    let runtime = server.runtime();
    let ends = [("1.0", "exit 7", "exit status 7"), ("1.1", "kill -9 $$", "killed by signal 9 (exit status 137)")];
    for (version, end, reason) in ends {
        let blue = target(Slot::Blue, server.release(version, &format!("#!/bin/sh\necho last words\n{end}\n")));
        runtime.prepare(&blue).await.unwrap();
        runtime.start(&blue).await.unwrap();
        let error = runtime.supervise(&blue, Box::pin(std::future::pending())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unhealthy);
        assert!(error.to_string().contains(reason) && error.to_string().contains("last words"), "{error}");
        match runtime.inspect(Slot::Blue).await.unwrap() {
            Instance::Stopped { reason: Some(told), .. } => assert_eq!(told, reason),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_at_once() {
    let server = Detached::here();
    let runtime = server.builder().command(["bin/none"]).build().unwrap();
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    runtime.prepare(&blue).await.unwrap();
    runtime.start(&blue).await.unwrap();
    let error = runtime.supervise(&blue, Box::pin(std::future::pending())).await.unwrap_err();
    assert!(error.to_string().contains("exit status 127 (the program was not found)"), "{error}");
}

#[tokio::test]
async fn a_pid_that_was_used_again_is_not_taken_for_the_program() {
    let server = Detached::here();
    let runtime = server.runtime();
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    server.started(&runtime, &blue).await;
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    // A process with a session of its own, and a name that looks like numbers, has the pid of the leader and of the program.
    let mut stranger = std::process::Command::new("setsid").args(["--wait", "sleep", "600"]).spawn().unwrap();
    let pid = stranger.id().cast_signed();
    for name in ["leader", "program"] {
        fs::write(server.file(Slot::Blue, name), format!("{pid} 1\n")).unwrap();
    }
    for name in ["ended", "stopping"] {
        let _ = fs::remove_file(server.file(Slot::Blue, name));
    }
    assert!(!runtime.inspect(Slot::Blue).await.unwrap().is_running());
    runtime.stop(Slot::Blue, Duration::ZERO).await.unwrap();
    runtime.start(&blue).await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(runs(pid), "the stranger was ended");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn what_ran_before_a_restart_of_the_machine_is_down_and_its_pids_are_others() {
    let server = Detached::here();
    let runtime = server.runtime();
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    let pid = server.started(&runtime, &blue).await;
    let record = server.read(Slot::Blue, "record");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(server.file(Slot::Blue, "record"), record.replace(boot.trim(), "another-boot")).unwrap();
    match runtime.inspect(Slot::Blue).await.unwrap() {
        Instance::Stopped { reason: Some(told), .. } => assert_eq!(told, "the machine was restarted since"),
        other => panic!("{other:?}"),
    }
    runtime.stop(Slot::Blue, Duration::ZERO).await.unwrap();
    assert!(runs(pid));
    fs::write(server.file(Slot::Blue, "record"), record).unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_program_outlives_its_supervisor_and_its_end_is_still_seen() {
    let server = Detached::here();
    let runtime = server.runtime();
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    let pid = server.started(&runtime, &blue).await;
    assert!(comes(PATIENCE, || server.read(Slot::Blue, "log").contains("goes on")));
    for name in server.members(Slot::Blue).into_iter().filter(|member| !server.programs(Slot::Blue).contains(member)) {
        send(name, Signal::KILL);
    }
    assert!(comes(PATIENCE, || server.members(Slot::Blue) == [pid]));
    assert!(runtime.inspect(Slot::Blue).await.unwrap().is_running());
    runtime.start(&blue).await.unwrap();
    assert!(runs(pid), "a start of what runs left it alone");
    send(pid, Signal::KILL);
    assert!(comes(PATIENCE, || !runs(pid)));
    match runtime.inspect(Slot::Blue).await.unwrap() {
        Instance::Stopped { reason: Some(told), .. } => {
            assert!(told.contains("together with its supervisor"), "{told}")
        }
        other => panic!("{other:?}"),
    }
    server.started(&runtime, &blue).await;
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn children_end_with_their_program_also_those_that_left_its_session() {
    let server = Detached::here();
    let runtime = server.runtime();
    let program = "#!/bin/sh\nsleep 601 &\nsetsid sleep 602 &\n(trap '' TERM; exec sleep 603) &\nexec sleep 600\n";
    let blue = target(Slot::Blue, server.release("1.0", program));
    server.started(&runtime, &blue).await;
    assert!(comes(PATIENCE, || server.programs(Slot::Blue).len() == 4), "{:?}", server.programs(Slot::Blue));
    // The one that ignores SIGTERM has to have become what it is.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopped = runtime.stop(Slot::Blue, Duration::from_secs(1)).await.unwrap();
    assert_eq!(server.members(Slot::Blue), Vec::<i32>::new());
    assert_eq!(stopped.killed.len(), 1, "{stopped}");
    assert!(stopped.killed[0].ends_with("(sleep)"), "{stopped}");
}

#[tokio::test]
async fn a_log_is_bounded_and_its_last_lines_are_kept() {
    let server = Detached::here();
    let runtime = server.builder().log_limit(2 << 20).build().unwrap();
    let program = "#!/bin/sh\nyes 'a line of the log' | head -c 20000000\necho\necho the end of it\nexec sleep 600\n";
    let blue = target(Slot::Blue, server.release("1.0", program));
    server.started(&runtime, &blue).await;
    assert!(comes(PATIENCE, || server.read(Slot::Blue, "log").ends_with("the end of it\n")));
    let size = |name| fs::metadata(server.file(Slot::Blue, name)).unwrap().len();
    assert!(size("log") <= 3 << 20 && size("log.1") <= 3 << 20, "{} {}", size("log"), size("log.1"));
    assert_eq!(runtime.logs(Slot::Blue, 1).await.unwrap(), ["the end of it"]);
    assert_eq!(runtime.logs(Slot::Blue, 1000).await.unwrap().len(), 1000);
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn of_two_starts_at_once_one_runs_the_program_and_the_other_finds_it() {
    let server = Detached::here();
    let (one, other) = (server.runtime(), server.runtime());
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    one.prepare(&blue).await.unwrap();
    let (first, second) = tokio::join!(one.start(&blue), other.start(&blue));
    assert_eq!(first.unwrap(), second.unwrap());
    assert!(comes(PATIENCE, || server.programs(Slot::Blue).len() == 1));
    one.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_start_brings_a_stop_that_was_cut_off_to_its_end() {
    let server = Detached::here();
    let runtime = server.runtime();
    let blue = target(Slot::Blue, server.release("1.0", STUBBORN));
    let before = server.started(&runtime, &blue).await;
    assert!(comes(PATIENCE, || server.read(Slot::Blue, "log").contains("stays")));
    let stop = tokio::time::timeout(Duration::from_secs(1), runtime.stop(Slot::Blue, Duration::from_secs(600)));
    assert!(stop.await.is_err());
    let next = target(Slot::Blue, server.release("1.1", SERVES));
    let after = server.started(&runtime, &next).await;
    assert!(!runs(before) && runs(after));
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_command_of_a_release_finds_its_directory_and_its_environment() {
    let server = Detached::here();
    let runtime = server.builder().env("GREETING", Secret::new("it's \"quoted\"\n$HOME")).build().unwrap();
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    runtime.prepare(&blue).await.unwrap();
    let migrator =
        CommandMigrator::builder(&runtime, ["sh", "-c", "printf %s \"$GREETING\" > migrated; test -x bin/shop"]);
    migrator.build().migrate(Phase::Expand, &blue).await.unwrap();
    let file = server.lab.path("server dir").join("releases/1.0/migrated");
    assert_eq!(fs::read_to_string(file).unwrap(), "it's \"quoted\"\n$HOME");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_setsid_is_refused_before_anything_is_done() {
    if !sshd_is_here() {
        return;
    }
    let tools = Lab::new();
    let Some(sshd) = busybox_sshd(&tools) else { return };
    // Busybox's own shell would find what is built into it.
    for name in ["setsid", "sh"] {
        fs::remove_file(tools.path("tools").join(name)).unwrap();
    }
    std::os::unix::fs::symlink("/bin/dash", tools.path("tools/sh")).unwrap();
    let server = Detached::over(&sshd);
    let runtime = server.runtime();
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    for error in [runtime.preview(&blue).await.unwrap_err(), runtime.prepare(&blue).await.unwrap_err()] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("there is no `setsid` on the server"), "{error}");
    }
    assert!(!server.lab.path("server dir/releases").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_outlives_the_session_and_the_server_that_started_it() {
    if !sshd_is_here() {
        return;
    }
    let mut sshd = Sshd::start();
    let server = Detached::over(&sshd);
    let runtime = server.runtime();
    let blue = target(Slot::Blue, server.release("1.0", SERVES));
    let pid = server.started(&runtime, &blue).await;
    // With what runs in its sessions.
    sshd.restart();
    assert!(runs(pid));
    assert!(runtime.inspect(Slot::Blue).await.unwrap().is_running());
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(!runs(pid));
}
