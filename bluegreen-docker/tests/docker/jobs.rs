//! Services that end, that are restarted, and that run only while their slot is live.

use std::time::Duration;

use bluegreen_core::{ErrorKind, Instance, Runtime, Slot};
use bluegreen_docker::ComposeRuntime;

use crate::support::{Shop, WAITS, docker_ok, eventually, grace, needs_docker};

async fn up(runtime: &ComposeRuntime, shop: &Shop, slot: Slot) -> bluegreen_core::Result<Instance> {
    let target = shop.version(slot, "1.0");
    runtime.prepare(&target).await?;
    runtime.start(&target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_plain_compose_brings_up_is_up_jobs_and_restarts_included() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  web: {image: 'IMAGES/web:1.0', restart: always, tmpfs: [/run]}
  seed: {image: 'IMAGES/seed:1.0'}
  tidy: {image: 'IMAGES/seed:1.0', restart: 'no'}
  migrate: {image: 'IMAGES/migrate:1.0', restart: on-failure}
  after: {image: 'IMAGES/web:1.0', restart: always, depends_on: {migrate: {condition: service_completed_successfully}}}
",
    );
    // Until its database is there: the container's own file system outlives its restarts.
    let twice = "echo x >> /tries; if [ $(wc -l < /tries) -lt 3 ]; then echo no database yet; exit 1; fi;";
    shop.publish("web:1.0", &format!("{twice} {WAITS}"));
    shop.publish("migrate:1.0", &format!("{twice} exit 0"));
    shop.publish("seed:1.0", "exit 0");
    let runtime = shop.builder().endpoint("http", "web", 3000).build().unwrap();
    let started = up(&runtime, &shop, Slot::Green).await.unwrap();
    assert!(matches!(started, Instance::Running { .. }), "{started}");
    let found = runtime.inspect(Slot::Green).await.unwrap();
    assert!(matches!(found, Instance::Running { .. }), "what a start accepted is no fault later: {found}");
    runtime.stop(Slot::Green, grace()).await.unwrap();

    let strict = shop.builder().endpoint("http", "web", 3000).restarts_allowed(1).build().unwrap();
    let error = up(&strict, &shop, Slot::Green).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    assert!(error.to_string().contains("no database yet"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_somebody_stopped_is_missing_and_a_job_that_is_done_is_not() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  web: {image: 'IMAGES/app:1.0'}
  worker: {image: 'IMAGES/app:1.0', restart: unless-stopped}
  plain: {image: 'IMAGES/app:1.0'}
  seed: {image: 'IMAGES/seed:1.0', restart: 'no'}
",
    );
    shop.publish("app:1.0", WAITS);
    shop.publish("seed:1.0", "exit 0");
    let runtime = shop.builder().endpoint("http", "web", 3000).build().unwrap();
    let started = up(&runtime, &shop, Slot::Green).await.unwrap();
    assert!(matches!(started, Instance::Running { .. }), "{started}");
    for worker in ["worker", "plain"] {
        docker_ok(&["stop", &shop.container(Slot::Green, worker)]);
        let found = runtime.inspect(Slot::Green).await.unwrap();
        let told = format!("{worker}: exit status 0");
        assert!(matches!(&found, Instance::Degraded { reason, .. } if reason.contains(&told)), "{found}");
        docker_ok(&["start", &shop.container(Slot::Green, worker)]);
    }
    assert!(matches!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Running { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_runs_in_the_live_slot_alone_and_goes_back_with_the_traffic() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  web: {image: 'IMAGES/app:1.0'}
  cron: {image: 'IMAGES/app:1.0', restart: always}
",
    );
    shop.publish("app:1.0", WAITS);
    let runtime = shop.builder().endpoint("http", "web", 3000).build().unwrap();
    let told = runtime.preview(&shop.version(Slot::Green, "1.0")).await.unwrap();
    assert!(told.notes.iter().any(|note| note.contains(r#".only_while_live(["cron"])"#)), "{told:?}");

    let runtime = shop.builder().endpoint("http", "web", 3000).only_while_live(["cron"]).build().unwrap();
    let told = runtime.preview(&shop.version(Slot::Green, "1.0")).await.unwrap();
    assert!(!told.notes.iter().any(|note| note.contains("cron")), "{told:?}");
    let state = |slot: Slot| {
        let format = "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}";
        docker_ok(&["inspect", "--format", format, &shop.container(slot, "cron")])
    };
    let is_whole = async |slot: Slot| matches!(runtime.inspect(slot).await.unwrap(), Instance::Running { .. });
    for slot in Slot::BOTH {
        up(&runtime, &shop, slot).await.unwrap();
        assert_eq!(state(slot), "created always");
    }
    for live in [Slot::Blue, Slot::Green, Slot::Blue, Slot::Blue] {
        runtime.promoted(live).await.unwrap();
        assert_eq!(state(live), "running always", "{live} is live");
        let other = state(live.other());
        assert!(other.starts_with("created") || other == "exited no", "{other}");
        assert!(is_whole(live).await && is_whole(live.other()).await, "one that rests is no fault");
    }
    docker_ok(&["stop", &shop.container(Slot::Blue, "cron")]);
    assert!(!is_whole(Slot::Blue).await, "a live one that is down is a fault");
    runtime.stop(Slot::Green, grace()).await.unwrap();
    runtime.promoted(Slot::Blue).await.unwrap();
    assert!(is_whole(Slot::Blue).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_for_more_time_to_end_has_it_and_who_was_killed_is_named() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  job: {image: 'IMAGES/job:1.0', stop_grace_period: 30s, stop_signal: SIGUSR1}
  deaf: {image: 'IMAGES/deaf:1.0', stop_grace_period: 2s}
",
    );
    shop.publish("job:1.0", "trap 'sleep 3; echo all is written; exit 0' USR1; while :; do sleep 1 & wait $!; done");
    shop.publish("deaf:1.0", "trap '' TERM; while :; do sleep 1; done");
    let runtime = shop.runtime();
    up(&runtime, &shop, Slot::Green).await.unwrap();
    let given = runtime.stop_grace(Slot::Green, Duration::from_secs(1)).await.unwrap();
    assert_eq!(given, Duration::from_secs(30));
    let stopped = runtime.stop(Slot::Green, Duration::from_secs(1)).await.unwrap();
    assert_eq!(stopped.killed, ["deaf"]);
    assert!(stopped.to_string().contains("init: true"), "{stopped}");
    assert_eq!(runtime.service_logs(Slot::Green, "job", 5).await.unwrap(), ["job | all is written"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_before_the_stop_are_run_by_the_engine() {
    needs_docker!();
    // Compose knows `pre_stop:` from 2.30 on; what it says there is kept in this label.
    let hooks = r#"[{"command": ["sh", "-c", "echo $$SAID > /told"], "environment": {"SAID": "told"}}]"#;
    let shop = Shop::new(&format!(
        "services: {{api: {{image: 'IMAGES/api:1.0', labels: {{bluegreen.pre-stop: '{hooks}'}}}}}}"
    ));
    shop.publish("api:1.0", "trap 'cat /told; exit 0' TERM; while :; do sleep 1 & wait $!; done");
    let runtime = shop.runtime();
    up(&runtime, &shop, Slot::Green).await.unwrap();
    eventually("it runs", async || !shop.running(Slot::Green).is_empty()).await;
    runtime.stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(runtime.logs(Slot::Green, 5).await.unwrap(), ["api | told"]);
}
