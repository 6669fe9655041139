//! What `stop`, `inspect` and `logs` promise.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bluegreen_core::{Effect, Instance, Runtime, Slot};
use bluegreen_docker::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::support::{
    NotingHost, Shop, WAITS, docker, docker_ok, engine_socket, eventually, grace, needs_docker, unique,
};

#[tokio::test(flavor = "multi_thread")]
async fn stop_never_touches_the_other_slot_nor_what_is_shared_nor_any_volume() {
    needs_docker!();
    let shared = unique("net");
    let shop = Shop::new(&format!(
        "
services:
  api:
    image: IMAGES/app:${{VERSION}}
    volumes: ['data:/tmp/data', 'common:/tmp/common']
    networks: {{default: {{}}, far: {{aliases: ['api-${{SLOT}}']}}, named: {{aliases: ['api-${{SLOT}}']}}}}
networks:
  far: {{name: {shared}, external: true}}
  named: {{name: {shared}-named}}
volumes:
  data: {{}}
  common: {{name: {shared}-common}}
"
    ));
    shop.publish("app:1.0", WAITS);
    docker_ok(&["network", "create", &shared]);
    let _removed = Leftovers(shared.clone());
    let runtime = shop.builder().data_per_slot(["data"]).data_shared(["common"]).build().unwrap();
    for slot in Slot::BOTH {
        runtime.prepare(&shop.version(slot, "1.0")).await.unwrap();
        runtime.start(&shop.version(slot, "1.0")).await.unwrap();
    }
    let live = shop.running(Slot::Blue);
    runtime.stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(shop.running(Slot::Blue), live);
    assert_eq!(shop.ps(Slot::Green, &["-a", "-q"]), Vec::<String>::new());
    runtime.stop(Slot::Blue, grace()).await.unwrap();

    let names = |kind: &str| docker_ok(&[kind, "ls", "--format", "{{.Name}}"]);
    for kept in [shared.clone(), format!("{shared}-named")] {
        assert!(names("network").lines().any(|name| name == kept), "the network {kept} is gone");
    }
    for slot in Slot::BOTH {
        assert!(names("volume").contains(&format!("{}_data", shop.project(slot))), "a volume is gone");
        assert!(!names("network").contains(&format!("{}_default", shop.project(slot))), "a network was left");
    }
    assert!(names("volume").contains(&format!("{shared}-common")), "a volume is gone");
}

struct Leftovers(String);

impl Drop for Leftovers {
    fn drop(&mut self) {
        for name in docker_ok(&["ps", "-aq", "--filter", &format!("network={}", self.0)]).lines() {
            docker(&["rm", "-f", name]);
        }
        docker(&["network", "rm", &self.0, &format!("{}-named", self.0)]);
        docker(&["volume", "rm", &format!("{}-common", self.0)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_depends_on_others_ends_first_and_its_last_words_are_kept() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  web: {image: 'IMAGES/app:1.0', depends_on: [api], environment: {NAME: web}}
  api: {image: 'IMAGES/app:1.0', depends_on: {db: {condition: service_started}}, environment: {NAME: api}}
  db: {image: 'IMAGES/app:1.0', environment: {NAME: db}}
",
    );
    let script = "trap 'sleep 0.3; echo $NAME ends; exit 0' TERM; echo begins; while :; do sleep 1 & wait $!; done";
    shop.publish("app:1.0", script);
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.stop(Slot::Green, grace()).await.unwrap();
    let logs = shop.runtime().logs(Slot::Green, 3).await.unwrap();
    assert_eq!(logs, ["web | web ends", "api | api ends", "db | db ends"]);
    assert_eq!(runtime.service_logs(Slot::Green, "api", 10).await.unwrap(), ["api | begins", "api | api ends"]);
    assert_eq!(runtime.service_logs(Slot::Green, "none", 10).await.unwrap(), Vec::<String>::new());

    // The next occupant's log is its own.
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let logs = runtime.logs(Slot::Green, 100).await.unwrap();
    assert!(logs.iter().all(|line| line.ends_with("begins")), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_depend_on_may_end_gracefully_although_they_have_used_up_the_grace() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/api:1.0', depends_on: [db]}, db: {image: 'IMAGES/db:1.0'}}");
    shop.publish("api:1.0", "trap '' TERM; while :; do sleep 1; done");
    shop.publish("db:1.0", "trap 'sleep 0.5; echo all is written; exit 0' TERM; while :; do sleep 1 & wait $!; done");
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.stop(Slot::Green, Duration::from_secs(6)).await.unwrap();
    assert_eq!(runtime.logs(Slot::Green, 10).await.unwrap(), ["db | all is written"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_service_holds_no_lines_of_one_whose_name_begins_alike() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  api: {image: 'IMAGES/app:1.0', environment: {NAME: api}}
  api-worker: {image: 'IMAGES/app:1.0', environment: {NAME: worker}}
",
    );
    shop.publish("app:1.0", "trap 'exit 0' TERM; echo $NAME begins; while :; do sleep 1 & wait $!; done");
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    for _ in 0..2 {
        let api = runtime.service_logs(Slot::Green, "api", 10).await.unwrap();
        assert_eq!(api, ["api | api begins"]);
        let worker = runtime.service_logs(Slot::Green, "api-worker", 10).await.unwrap();
        assert_eq!(worker, ["api-worker | worker begins"]);
        // The same of what is kept.
        runtime.stop(Slot::Green, grace()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_died_tells_why_for_each_service() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}, web: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", "trap 'exit 5' USR1; echo begins; while :; do sleep 1 & wait $!; done");
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    docker_ok(&["kill", "-s", "USR1", &shop.container(Slot::Green, "api")]);
    docker_ok(&["wait", &shop.container(Slot::Green, "api")]);
    // One of two runs: there is something to be stopped.
    assert!(runtime.inspect(Slot::Green).await.unwrap().is_running());
    docker_ok(&["kill", &shop.container(Slot::Green, "web")]);
    let Instance::Stopped { version, reason } = runtime.inspect(Slot::Green).await.unwrap() else {
        panic!("not stopped")
    };
    assert_eq!(version.unwrap().as_str(), "1.0");
    assert_eq!(reason.unwrap(), "api: exit status 5, web: exit status 137 (killed)");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_containers_of_a_service_are_several_endpoints() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0', scale: 2}}");
    shop.publish("app:1.0", WAITS);
    let runtime = shop.builder().endpoint("http", "api", 3000).build().unwrap();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let started = runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let addresses: std::collections::BTreeSet<_> =
        started.endpoints().iter().map(|endpoint| &endpoint.address).collect();
    assert_eq!(addresses.len(), 2, "{started:?}");
    let logs = runtime.service_logs(Slot::Green, "api", 100).await.unwrap();
    assert!(
        logs.iter().any(|line| line.starts_with("api-1 | ")) && logs.iter().any(|line| line.starts_with("api-2 | "))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_deployer_left_at_work_is_waited_for_and_removed() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.stop(Slot::Green, grace()).await.unwrap();
    // Compose, as it goes on when the one who called it is gone; it has not started anything yet.
    let state = shop.path(".bluegreen").join(&shop.name);
    let (begun, project) = (shop.path("begun"), shop.project(Slot::Green));
    let script = "touch \"$1\"; sleep 2; exec docker compose -p \"$2\" -f \"$3\" -f \"$4\" up -d";
    let mut compose = std::process::Command::new("flock");
    compose.arg(state.join("green.lock")).args(["sh", "-c", script, "sh"]).arg(&begun).arg(&project);
    let mut compose = compose.arg(shop.path("compose.yaml")).arg(state.join("green.compose.yaml")).spawn().unwrap();
    eventually("it is at work", async || begun.exists()).await;
    runtime.stop(Slot::Green, grace()).await.unwrap();
    assert!(compose.try_wait().unwrap().is_some(), "it is still at work");
    assert_eq!(shop.ps(Slot::Green, &["-a", "-q"]), Vec::<String>::new());
    assert_eq!(shop.list("network", Slot::Green), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_works_without_a_compose_file_that_can_be_read() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    shop.write("compose.yaml", "services: [");
    std::fs::remove_dir_all(shop.path(".bluegreen")).unwrap();
    runtime.stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(shop.ps(Slot::Green, &["-a", "-q"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_loses_the_engine_halfway_does_not_claim_that_nothing_was_done() {
    needs_docker!();
    let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let socket = shop.path("tunnel.sock");
    until_a_removal(&socket);
    let far = NotingHost::default().tunnelling_to(&socket);
    let runtime = shop.builder().engine(Engine::on(far).address("unix:///far/docker.sock")).build().unwrap();
    // Compose is to reach the engine all the same.
    shop.runtime().prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    shop.runtime().start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    let error = runtime.stop(Slot::Green, grace()).await.unwrap_err();
    assert_eq!(shop.ps(Slot::Green, &["-a", "-q"]), Vec::<String>::new());
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    shop.runtime().stop(Slot::Green, grace()).await.unwrap();
}

/// A socket that leads to the engine's, for as long as no container was removed.
fn until_a_removal(socket: &Path) {
    let (listener, gone) = (UnixListener::bind(socket).unwrap(), Arc::new(AtomicBool::new(false)));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let gone = Arc::clone(&gone);
            tokio::spawn(async move {
                let mut engine = UnixStream::connect(engine_socket()).await.unwrap();
                let (mut said, mut answered) = (vec![0; 65536], vec![0; 65536]);
                loop {
                    tokio::select! {
                        read = client.read(&mut said) => {
                            let Ok(count @ 1..) = read else { return };
                            if gone.load(Ordering::SeqCst) {
                                return;
                            }
                            gone.store(said.starts_with(b"DELETE "), Ordering::SeqCst);
                            engine.write_all(&said[..count]).await.unwrap();
                        }
                        read = engine.read(&mut answered) => {
                            let Ok(count @ 1..) = read else { return };
                            client.write_all(&answered[..count]).await.unwrap();
                        }
                    }
                }
            });
        }
    });
}
