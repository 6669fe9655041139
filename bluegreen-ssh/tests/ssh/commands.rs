//! Commands on a real server.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bluegreen_core::testing::{HOSTILE_WORDS, part_is_here};
use bluegreen_core::{Command, Effect, ErrorKind, Host, Secret};
use futures::future::join_all;

use bluegreen_testkit::patience::{PATIENCE, eventually, with_time_enough};
use bluegreen_testkit::pids::runs;
use bluegreen_testkit::process::{run, user};
use bluegreen_testkit::ssh::Sshd;
use tempfile::TempDir;

use crate::reach::Reach;

#[tokio::test]
async fn the_server_reads_every_hostile_word_and_value_unchanged() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let command = Command::new("printf").arg("%s\\0").args(HOSTILE_WORDS.iter().copied());
    let output = host.run(&command).await.unwrap().ok(&command, &host).unwrap();
    let words: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    assert_eq!(&words[..HOSTILE_WORDS.len()], HOSTILE_WORDS);

    let mut command =
        Command::script((0..HOSTILE_WORDS.len()).map(|n| format!("printf '%s\\0' \"$V{n}\"\n")).collect::<String>());
    for (n, value) in HOSTILE_WORDS.iter().enumerate() {
        command = command.env(format!("V{n}"), Secret::new(*value));
    }
    let output = host.run(&command).await.unwrap().ok(&command, &host).unwrap();
    let values: Vec<_> = output.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    assert_eq!(&values[..HOSTILE_WORDS.len()], HOSTILE_WORDS);
}

#[tokio::test]
async fn streams_status_signal_input_and_directory_arrive() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let input = "line\n\0binary\u{ff}".repeat(50_000);
    let command =
        Command::script("cat; pwd >&2; exit 7").stdin(input.clone()).directory("/usr/lib").output_limit(10 << 20);
    let output = host.run(&command).await.unwrap();
    assert!(output.stdout == input.as_bytes(), "{} of {} bytes", output.stdout.len(), input.len());
    assert_eq!((output.error_text().as_str(), output.status), ("/usr/lib", Some(7)));
    let error = output.ok(&command, &host).unwrap_err();
    assert!(error.to_string().contains("exit status 7") && error.context("host").is_some(), "{error}");

    let killed = host.run(&Command::script("kill -9 $$")).await.unwrap();
    assert_eq!((killed.status, killed.signal.as_deref()), (None, Some("KILL")));
    // A command that does not read its input ends all the same.
    assert!(host.run(&Command::new("true").stdin(vec![b'x'; 8 << 20])).await.unwrap().success());
}

#[tokio::test]
async fn the_output_that_is_kept_is_limited_to_its_end() {
    needs_sshd!();
    let sshd = Sshd::start();
    let command = Command::script("seq 1 200000; seq 1 1000 >&2; echo end; echo END >&2").output_limit(10);
    let output = sshd.host().run(&command).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "00000\nend\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "\n1000\nEND\n");
}

#[tokio::test]
async fn a_missing_program_or_directory_is_not_found_and_changed_nothing() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    for command in [Command::new("no-such-program-here"), Command::new("true").directory("/no/such/directory")] {
        let error = host.run(&command).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
    let error = host.run(&Command::new("/etc/passwd")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    // The same status of a program that runs is the program's own affair.
    assert_eq!(host.run(&Command::script("echo hi; exit 127")).await.unwrap().status, Some(127));
}

#[tokio::test]
async fn no_secret_is_seen_in_any_command_line_of_the_server() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let secret = format!("hunter2-{}", std::process::id());
    let command =
        Command::script("sleep 1; echo \"$TOKEN\" | cksum").env("TOKEN", Secret::new(&*secret)).stdin(secret.clone());
    let running = tokio::spawn({
        let host = host.clone();
        async move { host.run(&command).await.unwrap() }
    });
    let mut seen = 0;
    while !running.is_finished() {
        for pid in sshd.commands() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            assert!(!line.contains(&secret), "{line}");
            seen += usize::from(line.contains("sleep"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(seen > 0, "the command was never looked at");
    assert!(running.await.unwrap().success());
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_its_children() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let pids = sshd.path().join("pids");
    let script = format!(
        "echo $$ > {0}; (sleep 600 & echo $! >> {0}; wait) & sh -c 'trap \"\" HUP TERM INT; echo $$ >> {0}; while :; do sleep 1; done'",
        pids.display()
    );
    let started = Instant::now();
    let command = Command::script(script);
    let error = with_time_enough(async |limit| {
        let error = host.run(&command.clone().timeout(limit)).await.unwrap_err();
        std::fs::read_to_string(&pids).is_ok_and(|text| text.lines().count() == 3).then_some(error)
    });
    let error = error.await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert!(error.to_string().contains("was killed"), "{error}");
    assert!(started.elapsed() < PATIENCE * 2, "{:?}", started.elapsed());
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        assert!(!runs(pid.parse().unwrap()), "process {pid} still runs");
    }
    assert!(host.run(&Command::new("true")).await.unwrap().success());
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_is_ended() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let file = sshd.path().join("pid");
    let command = Command::script(format!("echo $$ > {}; sleep 600", file.display()));
    for _ in 0..12 {
        let _ = std::fs::remove_file(&file);
        let pid = || std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<i32>().ok());
        tokio::select! {
            ended = host.run(&command) => panic!("the command ended: {ended:?}"),
            () = eventually("the command runs", async || pid().is_some()) => {}
        }
        let pid = pid().unwrap();
        eventually("the command has ended", async || !runs(pid)).await;
    }
    eventually("nothing is left of it", async || sshd.commands().is_empty()).await;
    // No session was lost by it: the server allows 10.
    let sleep = Command::new("sleep").arg("0.2");
    for output in join_all((0..8).map(|_| host.run(&sleep))).await {
        assert!(output.unwrap().success());
    }
}

/// A server where each use of sudo is written down: its words, and an empty line. `None` where there is no sudo.
fn sshd_that_notes_sudo() -> Option<(Sshd, TempDir, PathBuf)> {
    if !part_is_here("sudo", Path::new("/usr/bin/sudo").exists(), "install sudo") {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let (program, notes) = (directory.path().join("sudo"), directory.path().join("notes"));
    let text = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" '' >> {}\nexec /usr/bin/sudo \"$@\"\n", notes.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let sshd = Sshd::with(&format!("SetEnv SHLVL=1 PATH={}:/usr/bin:/bin", directory.path().display()));
    Some((sshd, directory, notes))
}

#[tokio::test]
async fn sudo_runs_as_root_with_the_environment_and_only_where_it_is_asked_for() {
    needs_sshd!();
    let Some((sshd, _directory, notes)) = sshd_that_notes_sudo() else { return };
    let host = sshd.host();
    let script = "id -u; echo \"$TOKEN\"; echo \"${SUDO_UID-none} ${SUDO_USER-none}\"";
    let command = Command::script(script).env("TOKEN", Secret::new("a'b c"));
    let me = run(std::process::Command::new("id").arg("-u"));
    let me = me.trim();
    let output = host.run(&command).await.unwrap().ok(&command, &host).unwrap();
    assert_eq!(output.text(), format!("{me}\na'b c\nnone none"));
    assert!(!notes.exists());
    let command = command.sudo(true);
    let output = host.run(&command).await.unwrap().ok(&command, &host).unwrap();
    assert_eq!(output.text(), format!("0\na'b c\n{me} {}", user()));
    assert!(!std::fs::read_to_string(&notes).unwrap().contains("a'b c"));
}

#[tokio::test]
async fn a_command_under_sudo_that_takes_too_long_is_ended_by_sudo() {
    needs_sshd!();
    let Some((sshd, _directory, notes)) = sshd_that_notes_sudo() else { return };
    let host = sshd.host();
    let file = sshd.path().join("pids");
    let script = "echo $$ $PPID \"${SUDO_UID-none}\" > \"$1\"; trap '' HUP TERM INT; sleep 600; true";
    let command = Command::script(script).arg(file.to_str().unwrap());
    let me = run(std::process::Command::new("id").arg("-u"));
    for (sudo, uid, uses) in [(false, "none", 0), (true, me.trim(), 2)] {
        let error = with_time_enough(async |limit| {
            for left in [&file, &notes] {
                let _ = std::fs::remove_file(left);
            }
            let error = host.run(&command.clone().sudo(sudo).timeout(limit)).await.unwrap_err();
            std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')).then_some(error)
        });
        let error = error.await;
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
        assert!(error.to_string().contains("was killed"), "{error}");
        let text = std::fs::read_to_string(&file).unwrap();
        let [pid, parent, sudo_uid] = text.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(sudo_uid, uid);
        assert!(!runs(pid.parse().unwrap()), "the command still runs");
        assert!(!sudo || !runs(parent.parse().unwrap()), "sudo still runs");
        // The command is one use of sudo, and what ends it the other.
        let noted = std::fs::read_to_string(&notes).unwrap_or_default();
        assert_eq!(noted.matches("-n\n--\n").count(), uses, "{noted}");
        assert_eq!(noted.contains("kill -KILL"), sudo, "{noted}");
    }
}

#[tokio::test]
async fn what_a_login_shell_prints_by_itself_is_no_output() {
    needs_sshd!();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("rc"), "echo Welcome to this server; echo Mind the gap >&2\n").unwrap();
    let sshd = Sshd::with(&format!("ForceCommand . {}/rc; eval \"$SSH_ORIGINAL_COMMAND\"", home.path().display()));
    let output = sshd.host().run(&Command::script("echo out; echo err >&2")).await.unwrap();
    assert_eq!((output.text().as_str(), output.error_text().as_str()), ("out", "err"));
}

#[tokio::test]
async fn an_account_without_a_shell_is_an_error_that_quotes_the_server() {
    needs_sshd!();
    let sshd = Sshd::with("ForceCommand echo This account is for looking only; exit 1");
    let host = sshd.host();
    // What was never sent is not run. What was sent may have been, whatever the server says.
    let with_secret = Command::new("true").env("TOKEN", Secret::new("x"));
    for (command, effect) in [(with_secret, Effect::NotApplied), (Command::new("true"), Effect::Unknown)] {
        let error = host.run(&command).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, effect), "{error}");
        assert!(error.to_string().contains("This account is for looking only"), "{error}");
    }
}
