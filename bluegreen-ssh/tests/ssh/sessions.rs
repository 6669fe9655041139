//! Sessions of a connection when they run short: commands that end, wait, and are ended.

use std::fs;
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Command, Effect, ErrorKind, Host};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::patience::{PATIENCE, eventually, with_time_enough};
use bluegreen_testkit::pids::runs;
use bluegreen_testkit::ssh::{Kind, Sshd};
use futures::future::join_all;

use crate::reach::Reach;

/// A command that takes too long and notes its process.
fn slow(sshd: &Sshd, number: usize, limit: Duration) -> Command {
    let file = sshd.path().join(format!("pid-{number}"));
    Command::script("echo $$ > \"$1\"; sleep 600 & wait").arg(file.to_str().unwrap()).timeout(limit)
}

fn forget(sshd: &Sshd, number: usize) {
    let _ = fs::remove_file(sshd.path().join(format!("pid-{number}")));
}

fn pid(sshd: &Sshd, number: usize) -> Option<i32> {
    fs::read_to_string(sshd.path().join(format!("pid-{number}"))).ok()?.trim().parse().ok()
}

async fn all_are_killed(sshd: &Sshd, host: &SshHost, count: usize, limit: Duration) {
    let started = Instant::now();
    (0..count).for_each(|number| forget(sshd, number));
    let commands: Vec<_> = (0..count).map(|number| slow(sshd, number, limit)).collect();
    for (number, ended) in join_all(commands.iter().map(|command| host.run(command))).await.into_iter().enumerate() {
        let error = ended.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        match pid(sshd, number) {
            Some(pid) => {
                assert!(error.to_string().contains("was killed"), "{error}");
                assert!(!runs(pid), "process {pid} still runs: {error}");
            }
            // One whose time is over before it is its turn never runs.
            None => assert_eq!(error.effect(), Effect::NotApplied, "{error}"),
        }
    }
    assert!(started.elapsed() < limit + PATIENCE / 2, "{:?}", started.elapsed());
    eventually("nothing is left of them", async || sshd.commands().is_empty()).await;
    assert!(host.run(&Command::new("true")).await.unwrap().success());
}

#[tokio::test]
async fn commands_whose_time_ends_together_are_all_killed() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    with_time_enough(async |limit| {
        all_are_killed(&sshd, &host, 8, limit).await;
        (0..8).all(|number| pid(&sshd, number).is_some()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn commands_beyond_the_sessions_wait_no_longer_than_their_time_and_are_killed() {
    needs_sshd!();
    let sshd = Sshd::start();
    all_are_killed(&sshd, &sshd.host(), 24, Duration::from_secs(2)).await;
}

#[tokio::test]
async fn commands_are_killed_also_where_the_server_opens_no_session_more() {
    needs_sshd!();
    let sshd = Sshd::with("MaxSessions 3");
    let host = sshd.builder().max_sessions(3).build().unwrap();
    all_are_killed(&sshd, &host, 3, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn waiting_for_a_session_counts_as_time_and_changes_nothing() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.builder().max_sessions(1).build().unwrap();
    // Until the first is under way when the second is given up.
    with_time_enough(async |limit| {
        let running = tokio::spawn({
            let host = host.clone();
            let first = slow(&sshd, 0, limit * 2);
            async move { host.run(&first).await }
        });
        while pid(&sshd, 0).is_none() && !running.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = host.run(&slow(&sshd, 1, Duration::from_millis(300))).await.unwrap_err();
        let waited_less = !running.is_finished();
        assert_eq!(running.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
        if waited_less {
            assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied), "{error}");
            assert_eq!(pid(&sshd, 1), None);
        }
        (0..2).for_each(|number| forget(&sshd, number));
        waited_less.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_kill_that_cannot_see_the_processes_does_not_claim_that_they_have_ended() {
    needs_sshd!();
    let hidden = "mount -t tmpfs none /proc";
    let works = std::process::Command::new("unshare").args(["-m", "sh", "-c", hidden]).output();
    if !part_is_here("a mount namespace", works.is_ok_and(|output| output.status.success()), "run it as root") {
        return;
    }
    let sshd =
        Sshd::with(&format!("ForceCommand exec unshare -m sh -c '{hidden} && exec sh -c \"$SSH_ORIGINAL_COMMAND\"'"));
    let host = sshd.host();
    let error = with_time_enough(async |limit| {
        let error = host.run(&slow(&sshd, 0, limit)).await.unwrap_err();
        pid(&sshd, 0).map(|_| error)
    });
    let error = error.await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    assert!(error.to_string().contains("could not be killed") && error.to_string().contains("/proc"), "{error}");
}

#[tokio::test]
async fn a_server_that_closes_unused_sessions_and_refuses_long_requests_runs_every_command() {
    let Some(dropbear) = Kind::Dropbear.start() else { return };
    let host = dropbear.host();
    for length in [10, 7_000, 9_000, 80_000].into_iter().cycle().take(12) {
        let words = "x".repeat(length);
        let output = host.run(&Command::script("printf %s \"$1\"").arg(words.as_str())).await.unwrap();
        assert_eq!(output.text(), words);
    }
    let echo = Command::new("echo").arg("well");
    // Debian 12's dropbear has a fault of its own by which it ends a connection that closes many sessions: "Failed assertion
    // (common-channel.c:705): `!channel->sent_close'". That is told, and the next commands run.
    for _ in 0..10 {
        let outputs = join_all((0..16).map(|_| host.run(&echo))).await;
        let lost: Vec<_> = outputs.iter().flat_map(|output| output.as_ref().err()).collect();
        if lost.is_empty() {
            outputs.into_iter().for_each(|output| assert_eq!(output.unwrap().text(), "well"));
            return;
        }
        assert!(lost.iter().all(|error| error.kind() == ErrorKind::Unreachable), "{lost:?}");
        eventually("the server says why", async || dropbear.log().contains("Failed assertion")).await;
    }
    panic!("each time a command was lost: {}", dropbear.log());
}
