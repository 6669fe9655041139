//! What becomes of programs that do not start, do not stay, or do not end.

use std::time::Duration;

use bluegreen_core::memory::{MemoryRouter, MemoryStateStore};
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::{ErrorKind, Health, Pipeline, Runtime, Slot};

use crate::programs::{SERVES, STUBBORN};
use crate::server::{Server, target};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_run_or_is_not_ready_is_told_with_its_end_and_its_last_lines() {
    let Some(server) = Server::start() else { return };
    // `systemd-notify` is a process of its own.
    let ready = server.builder().notify().directive("NotifyAccess", "all").start_deadline(Duration::from_secs(3));
    let runtime = server.set_up(ready).await;
    let cases = [
        ("1.0", "echo no database; exit 3", ErrorKind::Unexpected, ["exit status 3", "no database"]),
        ("1.1", "echo it dies; kill -9 $$", ErrorKind::Unexpected, ["killed by signal 9", "it dies"]),
        ("1.2", "echo never ready; exec sleep 60", ErrorKind::Timeout, ["had not started within 3s", "never ready"]),
    ];
    for (version, script, kind, told) in cases {
        let target = target(Slot::Blue, server.release(version, script));
        runtime.prepare(&target).await.unwrap();
        let error = runtime.start(&target).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        told.iter().for_each(|words| assert!(error.chain().contains(words), "{words:?} is not in {}", error.chain()));
        assert_eq!(server.alive(Slot::Blue), None, "something of it stayed");
        assert!(!runtime.inspect(Slot::Blue).await.unwrap().is_running());
    }
    let target = target(Slot::Blue, server.release("2.0", &format!("systemd-notify --ready; {SERVES}")));
    runtime.prepare(&target).await.unwrap();
    assert!(runtime.start(&target).await.unwrap().is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_fails_the_deploy_at_once_with_how_it_ended() {
    let Some(server) = Server::start() else { return };
    let runtime = server.set_up(server.builder().restarts_allowed(1)).await;
    let pipeline = Pipeline::builder("shop")
        .runtime(runtime)
        .router(MemoryRouter::new())
        .store(MemoryStateStore::new())
        .health(ScriptedHealth::new([Health::unhealthy("no page yet")]))
        .verify(ScriptedHealth::new([Health::healthy_as("1.0".parse().unwrap())]))
        .start_deadline(Duration::from_secs(600))
        .build()
        .unwrap();
    let release = server.release("1.0", "echo no queue; sleep 0.2; exit 4");
    let deployed = tokio::time::timeout(Duration::from_secs(120), pipeline.deploy(release)).await;
    let error = deployed.expect("it waits for its deadline").unwrap_err();
    let told = error.chain();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{told}");
    for words in ["exit status 4", "(restarts: 1)", "no queue", "shop-blue.service"] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    assert_eq!(server.alive(Slot::Blue), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_while_its_health_is_waited_for_is_told_as_that() {
    let Some(server) = Server::start() else { return };
    let runtime = server.set_up(server.builder().restarts_allowed(0)).await;
    let target = target(Slot::Blue, server.release("1.0", SERVES));
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    // As the kernel does it where memory is short.
    server.exec(&["systemctl", "kill", "-s", "KILL", "shop-blue.service"]);
    let healthy = Box::pin(std::future::pending());
    let error = runtime.supervise(&target, healthy).await.unwrap_err();
    assert!(error.chain().contains("killed by signal 9"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_killed_and_told_and_the_units_own_time_is_kept() {
    let Some(server) = Server::start() else { return };
    let runtime = server.set_up(server.builder().stop_timeout(Duration::from_secs(2))).await;
    let stubborn = target(Slot::Blue, server.release("1.0", STUBBORN));
    runtime.prepare(&stubborn).await.unwrap();
    runtime.start(&stubborn).await.unwrap();
    assert_eq!(runtime.stop_grace(Slot::Blue, Duration::from_secs(1)).await.unwrap(), Duration::from_secs(2));
    let stopped = runtime.stop(Slot::Blue, Duration::from_secs(10)).await.unwrap();
    assert_eq!(stopped.killed, ["shop-blue.service"]);
    let slow =
        "trap 'echo it cleans up; sleep 1; echo it is clean; exit 0' TERM; while :; do sleep 0.1 & wait $!; done";
    let slow = target(Slot::Green, server.release("2.0", slow));
    runtime.prepare(&slow).await.unwrap();
    runtime.start(&slow).await.unwrap();
    let stopped = runtime.stop(Slot::Green, Duration::from_secs(10)).await.unwrap();
    assert_eq!(stopped.killed, Vec::<String>::new());
    assert_eq!(runtime.logs(Slot::Green, 2).await.unwrap(), ["it cleans up", "it is clean"]);
}
