//! What `start` promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bluegreen_core::{Effect, ErrorKind, Instance, Migrator, Phase, Release, Runtime, Secret, Slot, When};
use bluegreen_docker::{ComposeMigrator, ComposeRuntime};

use crate::support::{
    Fate, NotingHost, START_DEADLINE, Shop, WAITS, docker, docker_ok, eventually, get, grace, needs_docker, proxy,
    serves,
};

async fn deploy(runtime: &ComposeRuntime, shop: &Shop, slot: Slot) -> bluegreen_core::Result<Instance> {
    runtime.prepare(&shop.version(slot, "1.0")).await.unwrap();
    runtime.start(&shop.version(slot, "1.0")).await
}

/// Starts a service beside a good one, which must fail; returns the error, and how long it took.
async fn fails(shop: &Shop, script: &str) -> (bluegreen_core::Error, Duration) {
    shop.publish("app:1.0", WAITS);
    shop.publish("bad:1.0", script);
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let began = Instant::now();
    let error = runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap_err();
    (error, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_started_when_all_that_have_a_healthcheck_are_healthy() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api:
    image: IMAGES/api:${VERSION}
    healthcheck: {test: ['CMD', 'wget', '-q', '-O-', 'http://127.0.0.1:3000/'], interval: 1s, retries: 100}
  web:
    image: IMAGES/web:${VERSION}
    depends_on: {api: {condition: service_healthy}}
    healthcheck: {test: ['CMD', 'wget', '-q', '-O-', 'http://127.0.0.1:3000/'], interval: 1s, retries: 100}
  worker:
    image: IMAGES/worker:${VERSION}
",
    );
    shop.publish("api:1.0", &format!("sleep 1; {}", serves("this-is-api")));
    shop.publish("web:1.0", &serves("this-is-web"));
    shop.publish("worker:1.0", WAITS);
    let before = std::fs::read(shop.path("compose.yaml")).unwrap();
    for program in [&["docker", "compose"][..], &["docker-compose"][..]] {
        let builder = shop.builder().compose_program(program.iter().copied());
        let runtime = builder.endpoint("api", "api", 3000).endpoint("web", "web", 3000).build().unwrap();
        let started = deploy(&runtime, &shop, Slot::Green).await.unwrap();
        for service in ["api", "web"] {
            let id = shop.container(Slot::Green, service);
            assert_eq!(docker_ok(&["inspect", "--format", "{{.State.Health.Status}}", &id]), "healthy");
            // Ports that the compose file does not publish are found all the same.
            let endpoint = started.endpoint(Some(service)).unwrap();
            assert!(endpoint.address.starts_with("127.0.0.1:"), "{endpoint}");
            assert!(get(&endpoint.address).contains(&format!("this-is-{service}")));
        }
        assert_eq!(shop.running(Slot::Green).len(), 3);
        runtime.stop(Slot::Green, grace()).await.unwrap();
    }
    assert_eq!(std::fs::read(shop.path("compose.yaml")).unwrap(), before, "the user's file was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_exits_fails_the_start_at_once_and_leaves_the_other_slot_untouched() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api: {image: 'IMAGES/app:${VERSION}', healthcheck: {test: ['CMD', 'false'], interval: 60s}}
  worker: {image: 'IMAGES/bad:${VERSION}'}
",
    );
    let live = shop.builder().build().unwrap();
    shop.publish("app:0.9", WAITS);
    shop.publish("bad:0.9", WAITS);
    shop.write("blue.yaml", "services: {api: {healthcheck: {disable: true}}}");
    let blue = shop.builder().override_file(shop.path("blue.yaml").to_str().unwrap()).build().unwrap();
    blue.prepare(&shop.version(Slot::Blue, "0.9")).await.unwrap();
    blue.start(&shop.version(Slot::Blue, "0.9")).await.unwrap();
    let before = shop.running(Slot::Blue);

    let (error, took) = fails(&shop, "echo cannot reach the database; sleep 1; exit 3").await;
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("worker: exit status 3") && text.contains("cannot reach the database"), "{text}");
    assert!(!text.contains("api:"), "the one that did not fail is blamed: {text}");
    assert!(took < START_DEADLINE, "it waited for the others: {took:?}");
    assert_eq!(shop.running(Slot::Blue), before);
    live.stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(shop.running(Slot::Blue), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loop_fails_the_start_with_the_exit_status() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api: {image: 'IMAGES/app:${VERSION}', healthcheck: {test: ['CMD', 'false'], interval: 60s}}
  worker: {image: 'IMAGES/bad:${VERSION}', restart: always}
",
    );
    let (error, _) = fails(&shop, "echo begins and breaks; sleep 0.3; exit 7").await;
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("worker") && text.contains("exit status 7") && text.contains("begins and breaks"), "{text}");
    // It is stopped, restart policy or not.
    shop.runtime().stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(shop.ps(Slot::Green, &["-a", "-q"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_killed_for_its_memory_is_told_as_such() {
    needs_docker!();
    for restart in ["no", "always"] {
        let compose = "
services:
  api: {image: 'IMAGES/app:${VERSION}', healthcheck: {test: ['CMD', 'false'], interval: 60s}}
  worker: {image: 'IMAGES/bad:${VERSION}', mem_limit: 16m, restart: 'RESTART'}
";
        let shop = Shop::new(&compose.replace("RESTART", restart));
        let (error, _) = fails(&shop, "echo eats; sleep 0.5; exec tail /dev/zero").await;
        assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("worker") && text.contains("exit status 137") && text.contains("out of memory"),
            "{text}"
        );
        assert!(text.contains("eats"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_whose_events_stay_away_in_silence_is_ready_long_before_its_deadline() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api:
    image: IMAGES/app:${VERSION}
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 1s, retries: 60}
",
    );
    shop.publish("app:1.0", &format!("(sleep 6; touch /tmp/ready) & {WAITS}"));
    let (socket, stalled) = (shop.path("engine.sock"), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&stalled);
    proxy(&socket, move |line| {
        let is_events = line.starts_with("GET ") && line.contains("/events?");
        seen.fetch_or(is_events, Ordering::SeqCst);
        if is_events { Fate::Stalls } else { Fate::Passes }
    });
    let builder = shop.builder().docker_host(format!("unix://{}", socket.display()));
    let runtime = builder.start_deadline(Duration::from_secs(600)).build().unwrap();
    let started = tokio::time::timeout(START_DEADLINE, deploy(&runtime, &shop, Slot::Green)).await;
    assert!(started.expect("it waits for its deadline").unwrap().is_running());
    assert!(stalled.load(Ordering::SeqCst), "no events were asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_unhealthy_fails_the_start_with_what_its_check_printed() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api:
    image: IMAGES/bad:${VERSION}
    healthcheck: {test: ['CMD-SHELL', 'echo no connection; exit 1'], interval: 1s, retries: 2}
",
    );
    let (error, _) = fails(&shop, WAITS).await;
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("api") && text.contains("no connection") && text.contains("release begins"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_never_gets_healthy_fails_the_start_at_its_deadline() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api: {image: 'IMAGES/app:${VERSION}', healthcheck: {test: ['CMD', 'true'], interval: 600s}}
  worker: {image: 'IMAGES/app:${VERSION}'}
",
    );
    shop.publish("app:1.0", WAITS);
    let runtime = shop.builder().start_deadline(Duration::from_secs(20)).build().unwrap();
    let error = deploy(&runtime, &shop, Slot::Green).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("api: not yet healthy") && !text.contains("worker: not"), "{text}");
    assert!(text.contains("release begins"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_a_healthcheck_is_waited_for_only_where_it_is_to_settle() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}}");
    shop.publish("app:1.0", "trap 'echo is told to fail; exit 1' USR1; while :; do sleep 1 & wait $!; done");
    let (hour, target) = (Duration::from_secs(3600), shop.version(Slot::Green, "1.0"));
    let patient = shop.builder().stabilization_time(hour).start_deadline(hour).build().unwrap();
    patient.prepare(&target).await.unwrap();
    let fails = async {
        eventually("it runs", async || shop.running(Slot::Green).len() == 1).await;
        // It is told until it hears.
        loop {
            docker(&["kill", "-s", "USR1", &shop.container(Slot::Green, "api")]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let started = tokio::select! {
        started = patient.start(&target) => started,
        never = fails => never,
    };
    let error = started.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    assert!(error.to_string().contains("is told to fail"), "{error}");
    patient.stop(Slot::Green, grace()).await.unwrap();
    let runtime = shop.builder().stabilization_time(Duration::ZERO).start_deadline(hour).build().unwrap();
    runtime.start(&target).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_others_wait_for_may_end_and_its_failure_is_told() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  setup: {image: 'IMAGES/setup:${VERSION}'}
  api:
    image: IMAGES/app:${VERSION}
    depends_on: {setup: {condition: service_completed_successfully}}
",
    );
    shop.publish("app:1.0", WAITS);
    shop.publish("setup:1.0", "echo set up");
    let runtime = shop.runtime();
    let started = deploy(&runtime, &shop, Slot::Green).await.unwrap();
    assert!(started.is_running());
    let api = shop.container(Slot::Green, "api");
    // What has done its work is not made to do it again.
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    assert_eq!(shop.container(Slot::Green, "api"), api);
    runtime.stop(Slot::Green, grace()).await.unwrap();

    shop.publish("app:1.1", WAITS);
    shop.publish("setup:1.1", "echo cannot set up; exit 4");
    runtime.prepare(&shop.version(Slot::Green, "1.1")).await.unwrap();
    let error = runtime.start(&shop.version(Slot::Green, "1.1")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("setup: exit status 4") && text.contains("cannot set up"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_two_slots_cannot_share_is_told_before_anything_is_changed_or_left_out() {
    needs_docker!();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let compose = format!("services: {{api: {{image: 'IMAGES/app:${{VERSION}}', ports: ['127.0.0.1:{port}:3000']}}}}");
    let shop = Shop::new(&compose);
    shop.publish("app:1.0", WAITS);
    for builder in [shop.builder().as_written(true), shop.builder().compose_program(["docker-compose"])] {
        let error = builder.build().unwrap().prepare(&shop.version(Slot::Blue, "1.0")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("services.api.ports: 127.0.0.1:{port}:3000")), "{text}");
        assert!(text.contains("127.0.0.1::3000"), "{text}");
    }
    // Unless the file is to be run as it is, each slot gets a port of its own instead.
    let runtime = shop.runtime();
    for slot in Slot::BOTH {
        deploy(&runtime, &shop, slot).await.unwrap();
    }
    assert!(std::net::TcpListener::bind(("127.0.0.1", port)).is_ok(), "the port of the file is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_file_sees_version_slot_settings_and_variables_and_secrets_are_seen_nowhere_else() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api:
    image: IMAGES/app:${VERSION}
    environment: {A: '${VERSION}/${SLOT}/${WORKERS}', TOKEN: '${TOKEN}'}
",
    );
    shop.publish("app:1.0", WAITS);
    shop.publish("app:1.1", "echo the token is $TOKEN; exit 1");
    let host = NotingHost::default();
    let builder = shop.builder().host(host.clone()).env("TOKEN", Secret::new("hunter2$x"));
    let runtime = builder.build().unwrap();
    let release = Release::new("1.0").unwrap().with_setting("WORKERS", "4");
    let target = shop.target(Slot::Green, release);
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    let environment = docker_ok(&["inspect", "--format", "{{.Config.Env}}", &shop.container(Slot::Green, "api")]);
    assert!(environment.contains("A=1.0/green/4") && environment.contains("TOKEN=hunter2$x"), "{environment}");
    runtime.stop(Slot::Green, grace()).await.unwrap();

    let broken = shop.target(Slot::Green, Release::new("1.1").unwrap().with_setting("WORKERS", "4"));
    runtime.prepare(&broken).await.unwrap();
    let error = runtime.start(&broken).await.unwrap_err();
    shop.write("compose.yaml", "services: {api: {image: '${TOKEN}', bad: 1}}");
    let unreadable = runtime.prepare(&broken).await.unwrap_err();
    shop.write("compose.yaml", "services: {api: {image: 'IMAGES/app:${TOKEN}'}}");
    let misused = runtime.prepare(&broken).await.unwrap_err();
    assert!(error.to_string().contains("the token is ***"), "{error}");
    let logs = runtime.logs(Slot::Green, 10).await.unwrap();
    runtime.stop(Slot::Green, grace()).await.unwrap();
    let errors = format!("{error:?} {unreadable:?} {misused:?}");
    let everything = format!("{:?} {errors} {logs:?} {runtime:?} {runtime}", host.noted());
    assert!(!everything.contains("hunter2"), "{everything}");

    let bad = shop.target(Slot::Green, Release::new("1.1").unwrap().with_setting("SLOT", "blue"));
    assert_eq!(runtime.prepare(&bad).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_several_lines_is_seen_in_no_log_error_or_answer() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}', environment: {KEY: '${KEY}'}}}");
    // The last one begins before the place where a long line is cut, and ends behind it.
    let long = "echo \"$(head -c 8150 /dev/zero | tr '\\0' x)$(echo \"$KEY\" | head -n 1)\"";
    shop.publish("app:1.0", &format!("echo \"the key is $KEY\"; {long}; {WAITS}"));
    shop.publish("app:1.1", &format!("echo \"the key is $KEY\"; {long}; exit 1"));
    let key = "-----BEGIN KEY-----\nhunter2/hunter2+hunter2\n-----END KEY-----";
    let runtime = shop.builder().env("KEY", Secret::new(key)).build().unwrap();
    let (good, bad) = (shop.version(Slot::Green, "1.0"), shop.version(Slot::Blue, "1.1"));
    for target in [&good, &bad] {
        runtime.prepare(target).await.unwrap();
    }
    runtime.start(&good).await.unwrap();
    let error = runtime.start(&bad).await.unwrap_err();
    let mut logs = runtime.logs(Slot::Green, 20).await.unwrap();
    let show = ["sh", "-c", "echo \"$KEY\""];
    let migrator = ComposeMigrator::builder(&runtime, "api")
        .when(When::AfterStart)
        .expand(["sh", "-c", "echo \"$KEY\" >&2; exit 1"])
        .pending(show);
    let migrator = migrator.build().unwrap();
    let pending = migrator.pending(&good).await.unwrap().unwrap();
    let refused = migrator.migrate(Phase::Expand, &good).await.unwrap_err();
    runtime.stop(Slot::Green, grace()).await.unwrap();
    logs.extend(runtime.logs(Slot::Green, 20).await.unwrap());
    assert!(logs.contains(&"api | the key is ***".to_owned()), "{logs:?}");
    let everything = format!("{error:?} {refused:?} {pending:?} {logs:?}");
    for part in ["BEGIN", "hunter", "END", "-----"] {
        assert!(!everything.contains(part), "{part}: {everything}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_made_says_whose_it_is() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}}");
    shop.publish("app:1.0", WAITS);
    deploy(&shop.runtime(), &shop, Slot::Green).await.unwrap();
    let label = |name: &str| {
        let format = format!("{{{{index .Config.Labels \"bluegreen.{name}\"}}}}");
        docker_ok(&["inspect", "--format", &format, &shop.container(Slot::Green, "api")])
    };
    assert_eq!(
        [label("service"), label("slot"), label("version"), label("operation")],
        [&shop.name, "green", "1.0", "op-1"]
    );
    let networks = shop.list("network", Slot::Green);
    assert_eq!(networks.len(), 1);
    let labels = docker_ok(&["network", "inspect", "--format", "{{json .Labels}}", &networks[0]]);
    assert!(labels.contains(&format!("\"bluegreen.service\":\"{}\"", shop.name)), "{labels}");
    assert!(labels.contains("\"bluegreen.slot\":\"green\""), "{labels}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_started_by_hand_is_in_the_way_and_is_left_alone() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let file = shop.path("compose.yaml");
    docker_ok(&["compose", "-p", &shop.project(Slot::Green), "-f", file.to_str().unwrap(), "up", "-d"]);
    let before = shop.running(Slot::Green);
    let runtime = shop.runtime();
    assert_eq!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Running { version: None, endpoints: vec![] });
    let error = deploy(&runtime, &shop, Slot::Green).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(shop.running(Slot::Green), before);
    docker_ok(&["compose", "-p", &shop.project(Slot::Green), "-f", file.to_str().unwrap(), "down", "-t", "1"]);
    assert_eq!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_was_cut_off_halfway_keeps_what_runs_and_adds_the_rest() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}'}, web: {image: 'IMAGES/app:${VERSION}'}}");
    shop.publish("app:1.0", WAITS);
    let runtime = shop.runtime();
    deploy(&runtime, &shop, Slot::Green).await.unwrap();
    let (api, web) = (shop.container(Slot::Green, "api"), shop.container(Slot::Green, "web"));
    docker_ok(&["rm", "-f", &web]);
    // A later operation finds the slot so, and takes it over.
    let mut target = shop.version(Slot::Green, "1.0");
    target.operation = "op-2".parse().unwrap();
    runtime.start(&target).await.unwrap();
    assert_eq!(shop.container(Slot::Green, "api"), api);
    assert_eq!(shop.running(Slot::Green).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_was_cut_off_among_replicas_adds_those_that_are_missing() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:${VERSION}', scale: 3}}");
    shop.publish("app:1.0", WAITS);
    let runtime = shop.builder().endpoint("http", "api", 3000).build().unwrap();
    let first = deploy(&runtime, &shop, Slot::Green).await.unwrap();
    assert_eq!(first.endpoints().len(), 3, "{first:?}");
    let before = shop.running(Slot::Green);
    docker_ok(&["rm", "-f", &before[0]]);
    let whole = runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let addresses = |instance: &Instance| {
        instance.endpoints().iter().map(|endpoint| endpoint.address.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(addresses(&whole), addresses(&first));
    assert!(before[1..].iter().all(|id| shop.running(Slot::Green).contains(id)), "what ran was replaced");
}
