//! What becomes of containers that end while a pipeline waits until their slot is healthy.

use std::net::TcpStream;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::memory::{MemoryRouter, MemoryStateStore};
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::{
    Error, ErrorKind, Health, HealthCheck, Instance, Pipeline, Release, Result, Runtime, Slot, Target,
};
use bluegreen_docker::ComposeRuntime;

use crate::support::{Shop, WAITS, docker, docker_ok, eventually, grace, needs_docker, serves};

/// Longer than any of these tests takes.
const NEVER: Duration = Duration::from_secs(600);

fn release() -> Release {
    Release::new("1.0").unwrap()
}

/// A pipeline for which the release is never healthy, unless the check says so.
fn builder(shop: &Shop, runtime: &ComposeRuntime) -> PipelineBuilder {
    Pipeline::builder(&shop.name)
        .runtime(runtime.clone())
        .router(MemoryRouter::new())
        .store(MemoryStateStore::new())
        .health(ScriptedHealth::new([Health::unhealthy("no page yet")]))
        .verify(ScriptedHealth::new([Health::healthy_as("1.0".parse().unwrap())]))
        .check_interval(Duration::from_millis(100))
        .start_deadline(NEVER)
        .stop_grace(grace())
}

/// Healthy when something is served.
#[derive(Debug)]
struct Page;

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("page")
    }
}

#[async_trait]
impl HealthCheck for Page {
    async fn check(&self, _: &Target, instance: &Instance) -> Result<Health> {
        use std::io::{Read as _, Write as _};
        let fetch = |address: &str| {
            let (mut stream, mut page) = (TcpStream::connect(address)?, String::new());
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
            stream.read_to_string(&mut page).map(|_| page)
        };
        let page = instance.endpoint(None).and_then(|endpoint| fetch(&endpoint.address).ok());
        Ok(match page {
            Some(page) if page.contains("it-serves") => Health::healthy(),
            _ => Health::unhealthy("no page"),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_while_the_health_of_its_slot_is_waited_for_fails_the_deploy_with_its_last_words() {
    needs_docker!();
    let shop = Shop::new("services: {web: {image: 'IMAGES/app:1.0'}, worker: {image: 'IMAGES/worker:1.0'}}");
    shop.publish("app:1.0", WAITS);
    shop.publish("worker:1.0", "trap 'echo the queue is gone; exit 3' USR1; while :; do sleep 1 & wait $!; done");
    let runtime = shop.builder().stabilization_time(Duration::ZERO).endpoint("http", "web", 3000).build().unwrap();
    let pipeline = builder(&shop, &runtime).build().unwrap();
    let fails = async {
        eventually("the worker runs", async || shop.running(Slot::Blue).len() == 2).await;
        let worker = shop.container(Slot::Blue, "worker");
        // It is told until it hears.
        loop {
            docker(&["kill", "-s", "USR1", &worker]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let deployed = tokio::select! {
        deployed = pipeline.deploy(release()) => deployed,
        never = fails => never,
        () = tokio::time::sleep(NEVER / 2) => panic!("it waits for its deadline"),
    };
    let error = deployed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.chain();
    assert!(text.contains("worker: exit status 3, and wrote last: the queue is gone"), "{text}");
    assert!(!text.contains("web:"), "the one that did not fail is blamed: {text}");
    assert_eq!(shop.ps(Slot::Blue, &["-a", "-q"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_needs_some_restarts_and_a_job_that_is_done_later_make_a_whole_slot() {
    needs_docker!();
    let shop = Shop::new(
        "
services:
  web: {image: 'IMAGES/web:1.0', restart: always}
  seed: {image: 'IMAGES/seed:1.0'}
",
    );
    let thrice = "echo x >> /tries; if [ $(wc -l < /tries) -lt 4 ]; then sleep 1; echo no database yet; exit 1; fi;";
    shop.publish("web:1.0", &format!("{thrice} {}", serves("it-serves")));
    shop.publish("seed:1.0", "sleep 2; exit 0");
    let runtime = shop.builder().stabilization_time(Duration::ZERO).restarts_allowed(5).endpoint("http", "web", 3000);
    let runtime = runtime.build().unwrap();
    // All of it is seen by the health check alone.
    let pipeline = builder(&shop, &runtime).health(Page).build().unwrap();
    pipeline.deploy(release()).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(matches!(found, Instance::Running { .. }), "what was forgiven is no fault later: {found}");
    // Later ones are.
    // The command may die with the container that it ends.
    docker(&["exec", &shop.container(Slot::Blue, "web"), "sh", "-c", "kill -TERM 1"]);
    eventually("the restart shows", async || runtime.inspect(Slot::Blue).await.unwrap().is_degraded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_is_told_at_the_deadline_with_how_often_it_ended_and_how() {
    needs_docker!();
    let compose = "
services:
  web: {image: 'IMAGES/app:1.0', healthcheck: {test: ['CMD', 'HEALTHY'], interval: 1s, retries: 1000}}
  worker: {image: 'IMAGES/worker:1.0', restart: always}
";
    let shop = Shop::new(compose);
    shop.publish("app:1.0", WAITS);
    shop.publish("worker:1.0", "echo x >> /tries; echo no queue; exit $(( 3 + $(wc -l < /tries) % 2 ))");
    let is_told = |text: &str| {
        for told in ["worker: ended ", " times: exit status 3", "exit status 4", "wrote last: ", "no queue"] {
            assert!(text.contains(told), "{told:?} is not in {text}");
        }
    };
    // By the start, whose deadline it is.
    shop.write("compose.yaml", &compose.replace("HEALTHY", "false"));
    let runtime = |limit: u64| {
        let builder = ComposeRuntime::builder(&shop.name, shop.path("compose.yaml").to_str().unwrap());
        builder.endpoint("http", "web", 3000).start_deadline(Duration::from_secs(limit)).build().unwrap()
    };
    let (target, patient) = (shop.version(Slot::Blue, "1.0"), runtime(20));
    patient.prepare(&target).await.unwrap();
    let error = patient.start(&target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    is_told(&error.to_string());

    // By the wait for the health of what was started before.
    let looping = shop.container(Slot::Blue, "worker");
    let wait = Box::pin(async {
        // The engine makes no long pauses any more.
        docker_ok(&["restart", "-t", "0", &looping]);
        let ended = || docker_ok(&["inspect", "--format", "{{.RestartCount}}", &looping]).parse::<u32>().unwrap();
        while ended() < 3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Error::new(ErrorKind::Timeout, "not healthy in time"))
    });
    let mut later = target.clone();
    later.operation = "op-2".parse().unwrap();
    let error = runtime(600).supervise(&later, wait).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    is_told(&error.to_string());
    patient.stop(Slot::Blue, grace()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_release_of_which_a_part_has_ended_is_no_way_back_and_is_not_waited_for() {
    needs_docker!();
    let shop = Shop::new("services: {web: {image: 'IMAGES/app:1.0'}, worker: {image: 'IMAGES/app:1.0'}}");
    shop.publish("app:1.0", WAITS);
    let runtime = shop.builder().endpoint("http", "web", 3000).build().unwrap();
    let target = shop.version(Slot::Blue, "1.0");
    runtime.prepare(&target).await.unwrap();
    runtime.start(&target).await.unwrap();
    // Another process, which has not started it.
    let runtime = shop.builder().endpoint("http", "web", 3000).build().unwrap();
    runtime.supervise(&target, Box::pin(async { Ok(()) })).await.unwrap();
    docker_ok(&["stop", "-t", "5", &shop.container(Slot::Blue, "worker")]);
    let waited = tokio::time::timeout(NEVER / 2, runtime.supervise(&target, Box::pin(std::future::pending()))).await;
    let error = waited.expect("it is waited for").unwrap_err();
    assert!(error.to_string().contains("worker: exit status 0"), "{error}");
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(found.is_degraded(), "the end of a worker was forgiven: {found}");
}
