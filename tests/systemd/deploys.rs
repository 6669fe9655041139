//! The deploy tool `examples/web-service.rs`, with clients in front of it.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use bluegreen_core::Slot;
use bluegreen_core::testing::sample;
use bluegreen_tests::deployer::STEPS;

use crate::service::{Service, text};
use crate::tool::Settings;

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_deploys_rolls_back_and_shows_what_runs_and_no_request_is_lost() {
    let Some(service) = Service::start().await else { return };
    service.build("1.0");
    service.succeeds(&["deploy", "1.0"]).await;
    let clients = service.clients();
    service.build("1.1");
    service.succeeds(&["deploy", "1.1"]).await;
    assert_eq!(service.public_version(), "1.1");
    assert!(service.succeeds(&["status"]).await.contains("1.1"));
    let log = service.succeeds(&["logs", "-n", "20"]).await;
    assert!(log.contains("shop 1.1 listens on 4002"), "{log}");
    service.succeeds(&["rollback"]).await;
    service.is_settled_on("1.0").await;
    assert_eq!(service.succeeds(&["history"]).await.lines().count(), 3);
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
    assert!(seen.sent > 100);
    // A reboot brings back what is live.
    service.server.reboot();
    assert_eq!(service.server.exec(&["systemctl", "is-active", "shop-blue.service"]), "active");
    assert!(service.server.alive(Slot::Green).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_is_not_seen_by_anyone() {
    let Some(service) = Service::start().await else { return };
    service.deploy("1.0").await;
    let clients = service.clients();
    for (version, program, told) in [
        ("1.1", "raise SystemExit('no database')", "no database"),
        ("1.2", "import time; time.sleep(600)", "health"),
        ("1.3", "import os; os.environ['VERSION'] = '1.0'", "1.0"),
    ] {
        service.build(version);
        let file = service.path(version).join("shop.py");
        let rest = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{program}\n{rest}")).unwrap();
        let settings = Settings::read(&service.path("deploy.toml")).unwrap();
        let release = settings.build(&version.parse().unwrap()).await.unwrap();
        let builder = settings.pipeline(&settings.hosts().unwrap()).unwrap();
        let builder = builder.check_interval(Duration::from_millis(100)).start_deadline(Duration::from_secs(12));
        let error = builder.lease_ttl(Duration::from_secs(10)).build().unwrap().deploy(release).await.unwrap_err();
        assert!(error.chain().contains(told), "{version}: {}", error.chain());
        service.is_settled_on("1.0").await;
    }
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployer_killed_in_any_step_is_recovered_from_and_no_request_is_lost() {
    let Some(service) = Service::start().await else { return };
    service.deploy("0.1").await;
    service.deploy("0.2").await;
    let mut live = "0.2".to_owned();
    let clients = service.clients();
    for (number, (step, outcome)) in sample(STEPS, 2, |(_, outcome)| *outcome).into_iter().enumerate() {
        let version = format!("1.{number}");
        service.build(&version);
        let killed = service.run(&["--crash-at", step, "deploy", &version]).await;
        assert_eq!(killed.status.signal(), Some(9), "{step}: {}", text(&killed));
        let recovered = service.run(&["recover"]).await;
        assert!(recovered.status.success(), "{step}: {}", text(&recovered));
        let history = service.pipeline().history().await.unwrap();
        assert_eq!(history.last().unwrap().outcome.word(), outcome, "{step}: {}", text(&recovered));
        if outcome == "succeeded" && step != "observe" {
            live = version;
        }
        service.is_settled_on(&live).await;
    }
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_to_begin_with_are_complete() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/web-service.toml");
    let settings = Settings::read(&file).unwrap();
    settings.pipeline(&settings.hosts().unwrap()).unwrap().build().unwrap();
}
