//! What a BEAM migrator guarantees beyond the contract, on a real release.

use std::fs;
use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, LocalHost, Migrator, Phase, Runtime, Secret, Slot, When};
use bluegreen_ssh::BeamMigrator;
use bluegreen_testkit::patience::eventually;

use crate::beam_server::{GRACE, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_runs_in_the_new_release_with_the_environment_of_its_slot() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.builder(LocalHost::new()).env("PASSWORD", Secret::new("it's $HOME")).build().unwrap();
    let (live, new) = (server.target(Slot::Blue, "1.0.0"), server.target(Slot::Green, "1.1.0"));
    runtime.prepare(&live).await.unwrap();
    runtime.start(&live).await.unwrap();
    let before = server.alive(Slot::Blue);
    runtime.prepare(&new).await.unwrap();

    let expression =
        r#"DemoApp.Release.migrate(); IO.puts(Enum.map_join(~w(PASSWORD PORT SLOT VERSION), "|", &System.get_env/1))"#;
    let migrator = BeamMigrator::builder(&runtime, "DemoApp.Release.migrate()").pending(expression).build();
    assert_eq!(migrator.when(), When::BeforeStart);
    let printed = migrator.pending(&new).await.unwrap().unwrap();
    assert_eq!(printed, [format!("it's $HOME|{}|green|1.1.0", server.ports[1])]);
    assert_eq!(fs::read_to_string(server.data()).unwrap(), "expanded 1.1.0\n");
    assert_eq!((server.alive(Slot::Blue), server.alive(Slot::Green)), (before, None));
    assert_eq!(server.get(Slot::Blue, "/migrated"), "expanded 1.1.0\n");
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_is_an_error_with_its_exit_status_and_last_lines() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let failing = server.behaving(Slot::Green, "1.1.0", "migration-fails");
    runtime.prepare(&failing).await.unwrap();
    let migrator = BeamMigrator::builder(&runtime, "DemoApp.Release.migrate()").build();
    let error = migrator.migrate(Phase::Expand, &failing).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::Unknown));
    for part in ["exit status 1", "this migration fails", "DemoApp.Release.migrate()", "1.1.0 in green"] {
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    }
    assert!(!server.data().exists());

    let error =
        BeamMigrator::builder(&runtime, "System.halt(7)").build().migrate(Phase::Expand, &failing).await.unwrap_err();
    assert!(error.to_string().contains("exit status 7"), "{error}");
    let slow = BeamMigrator::builder(&runtime, "Process.sleep(:infinity)").timeout(Duration::from_secs(2)).build();
    let error = slow.migrate(Phase::Expand, &failing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    eventually("what took too long is ended", async || server.processes().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_says_so_and_changes_nothing() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let target = server.target(Slot::Green, "1.0.0");
    let migrator = BeamMigrator::builder(&runtime, "DemoApp.Release.migrate()").build();
    let error = migrator.migrate(Phase::Expand, &target).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "it is not prepared");
    assert_eq!(migrator.pending(&target).await.unwrap(), None);
    migrator.migrate(Phase::Contract, &target).await.unwrap();
    let error = migrator.revert(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::NotApplied));
    let error = runtime.rpc(Slot::Green, ":ok").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied));
}
