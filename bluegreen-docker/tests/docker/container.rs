//! What the runtime of single containers promises.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, RuntimeFixture};
use bluegreen_core::{Effect, Error, ErrorKind, Instance, Reason, Release, Runtime, Secret, Slot, Target};
use bluegreen_docker::{ContainerRuntime, ContainerRuntimeBuilder, Engine};

use crate::support::{
    NotingHost, START_DEADLINE, Shop, WAITS, docker, docker_ok, eventually, get, grace, needs_docker, serves,
};

/// A service whose releases are images in a registry.
struct Service {
    shop: Shop,
}

impl Service {
    fn new() -> Self {
        Self { shop: Shop::new("services: {}") }
    }

    /// With a release that waits.
    fn waiting() -> Self {
        let service = Self::new();
        service.shop.publish("app:1.0", WAITS);
        service
    }

    fn image(&self) -> String {
        self.shop.images.name("app:${VERSION}")
    }

    fn builder(&self) -> ContainerRuntimeBuilder {
        self.builder_of(&self.image())
    }

    fn builder_of(&self, image: &str) -> ContainerRuntimeBuilder {
        let state = self.shop.path("state");
        let builder = ContainerRuntime::builder(&self.shop.name, image).state_directory(state.to_str().unwrap());
        builder.stabilization_time(Duration::from_millis(300)).start_deadline(START_DEADLINE)
    }

    fn runtime(&self) -> ContainerRuntime {
        self.builder().build().unwrap()
    }

    fn container(&self, slot: Slot) -> String {
        self.shop.project(slot)
    }

    fn inspect(&self, slot: Slot, format: &str) -> String {
        docker_ok(&["inspect", "--type", "container", "--format", format, &self.container(slot)])
    }

    /// What runs in a slot: its id, and when it was started.
    fn alive(&self, slot: Slot) -> Option<String> {
        let format = "{{.State.Running}} {{.Id}} {{.State.StartedAt}}";
        let output = docker(&["inspect", "--type", "container", "--format", format, &self.container(slot)]);
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().strip_prefix("true ").map(str::to_owned)
    }

    async fn deploy(&self, runtime: &ContainerRuntime, slot: Slot) -> bluegreen_core::Result<Instance> {
        runtime.prepare(&self.shop.version(slot, "1.0")).await.unwrap();
        runtime.start(&self.shop.version(slot, "1.0")).await
    }

    /// All that is kept of it for later processes.
    fn kept(&self) -> String {
        let entries = std::fs::read_dir(self.shop.path("state")).unwrap();
        entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default()).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for slot in Slot::BOTH {
            docker(&["rm", "-f", "-v", &self.container(slot)]);
        }
    }
}

/// Starts a release that must fail beside one that runs; returns the error, and how long it took.
async fn fails(
    service: &Service,
    script: &str,
    with: impl FnOnce(ContainerRuntimeBuilder) -> ContainerRuntimeBuilder,
) -> (Error, Duration) {
    service.shop.publish("app:0.9", WAITS);
    service.shop.publish("app:1.0", script);
    let live = service.runtime();
    live.prepare(&service.shop.version(Slot::Blue, "0.9")).await.unwrap();
    live.start(&service.shop.version(Slot::Blue, "0.9")).await.unwrap();
    let before = service.alive(Slot::Blue);
    let runtime = with(service.builder()).build().unwrap();
    runtime.prepare(&service.shop.version(Slot::Green, "1.0")).await.unwrap();
    let began = Instant::now();
    let error = runtime.start(&service.shop.version(Slot::Green, "1.0")).await.unwrap_err();
    let took = began.elapsed();
    runtime.stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(service.alive(Slot::Blue), before, "the other slot was touched");
    (error, took)
}

fn is_conflict<T: std::fmt::Debug>(result: bluegreen_core::Result<T>, what: &str) -> Error {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{what}: {error:?}");
    error
}

#[async_trait]
impl RuntimeFixture for Service {
    type Runtime = ContainerRuntime;

    async fn open(&self) -> ContainerRuntime {
        self.builder_of(&self.shop.images.name("app:${TAG}")).port(3000).build().unwrap()
    }

    fn target(&self, slot: Slot, release: usize) -> Target {
        let version = format!("1.{release}");
        self.shop.target(slot, Release::new(&version).unwrap().with_setting("TAG", version))
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    async fn alive(&self, slot: Slot) -> Option<String> {
        Self::alive(self, slot)
    }

    async fn kill(&self, slot: Slot) -> bool {
        docker_ok(&["kill", &self.container(slot)]);
        true
    }

    fn logged(&self) -> Option<&str> {
        Some("begins")
    }

    fn reused_version(&self, slot: Slot) -> Option<Target> {
        Some(self.shop.target(slot, Release::new("1.0").unwrap().with_setting("TAG", "other")))
    }

    fn other_settings(&self, slot: Slot) -> Option<Target> {
        let release = Release::new("1.0").unwrap().with_setting("TAG", "1.0").with_setting("WORKERS", "4");
        Some(self.shop.target(slot, release))
    }

    fn missing_artifact(&self, slot: Slot) -> Option<Target> {
        Some(self.shop.target(slot, Release::new("1.9").unwrap().with_setting("TAG", "1.9")))
    }

    fn stubborn(&self, slot: Slot) -> Option<Target> {
        Some(self.target(slot, 8))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_runtime_keeps_its_contract() {
    needs_docker!();
    let service = Service::new();
    for release in 0..3 {
        service.shop.publish(&format!("app:1.{release}"), &format!("{WAITS} # {release}"));
    }
    service.shop.publish("app:other", &format!("{WAITS} # other"));
    let stubborn = "trap '' TERM; echo stubborn begins; echo and stays; while :; do sleep 1; done";
    service.shop.publish("app:1.8", stubborn);
    conformance::runtime(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_other_content_is_refused_before_anything_is_pulled_and_what_was_prepared_is_started() {
    needs_docker!();
    let service = Service::waiting();
    let (runtime, target) = (service.runtime(), service.shop.version(Slot::Green, "1.0"));
    runtime.prepare(&target).await.unwrap();
    let name = service.shop.images.name("app:1.0");
    let id = || docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name]);
    let prepared = id();
    service.shop.images.make("app:1.0", &format!("{WAITS} # other"));
    docker_ok(&["push", "-q", &name]);
    let moved = id();
    for slot in Slot::BOTH {
        let target = service.shop.version(slot, "1.0");
        for refused in [runtime.prepare(&target).await, runtime.preview(&target).await.map(drop)] {
            let error = is_conflict(refused, "other content");
            assert_eq!(error.reason(), Some(Reason::OtherContent), "{error:?}");
        }
    }
    assert_eq!(id(), moved, "something was pulled");
    runtime.start(&target).await.unwrap();
    assert_eq!(service.inspect(Slot::Green, "{{.Image}}"), prepared);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_runs_with_other_settings_is_a_conflict_and_left_alone() {
    needs_docker!();
    let service = Service::waiting();
    service.deploy(&service.runtime(), Slot::Green).await.unwrap();
    let (before, target) = (service.alive(Slot::Green), service.shop.version(Slot::Green, "1.0"));
    let others = [
        service.builder().env("LEVEL", Secret::new("debug")),
        service.builder().memory(64 << 20),
        service.builder().port(3000),
        service.builder().command(["sleep", "60"]),
    ];
    for other in others {
        let error = is_conflict(other.build().unwrap().start(&target).await, "other settings");
        assert!(error.to_string().contains("other settings"), "{error}");
    }
    // It is the same to another operation.
    let mut later = target.clone();
    later.operation = "op-2".parse().unwrap();
    service.runtime().start(&later).await.unwrap();
    assert_eq!(service.alive(Slot::Green), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_fails_the_start_at_once_with_status_and_last_lines() {
    needs_docker!();
    for restart in ["no", "unless-stopped"] {
        let service = Service::new();
        let script = "echo cannot reach the database; sleep 0.5; exit 3";
        let with = |builder: ContainerRuntimeBuilder| {
            builder.restart(restart).health_command(["false"]).health_interval(Duration::from_secs(600))
        };
        let (error, took) = fails(&service, script, with).await;
        assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("exit status 3") && text.contains("cannot reach the database"), "{text}");
        assert!(took < START_DEADLINE, "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_started_at_all_says_why() {
    needs_docker!();
    let service = Service::new();
    let (error, _) = fails(&service, WAITS, |builder| builder.command(["no-such-program"]).init(false)).await;
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    assert!(error.to_string().contains("no-such-program"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_killed_for_its_memory_is_told_as_such() {
    needs_docker!();
    let service = Service::new();
    let with = |builder: ContainerRuntimeBuilder| builder.memory(16 << 20).stabilization_time(Duration::from_secs(60));
    let (error, _) = fails(&service, "echo eats; sleep 0.5; exec tail /dev/zero", with).await;
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("exit status 137") && text.contains("out of memory") && text.contains("eats"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_unhealthy_fails_the_start_with_what_its_check_printed() {
    needs_docker!();
    let service = Service::new();
    let check = ["sh", "-c", "echo no connection; exit 1"];
    let interval = Duration::from_millis(200);
    let with =
        |builder: ContainerRuntimeBuilder| builder.health_command(check).health_interval(interval).health_retries(2);
    let (error, _) = fails(&service, WAITS, with).await;
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("no connection") && text.contains("release begins"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_never_gets_healthy_fails_the_start_at_its_deadline() {
    needs_docker!();
    let service = Service::new();
    let with = |builder: ContainerRuntimeBuilder| {
        let builder = builder.health_command(["true"]).health_interval(Duration::from_secs(600));
        builder.start_deadline(Duration::from_secs(5))
    };
    let (error, took) = fails(&service, WAITS, with).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("not yet healthy") && text.contains("release begins"), "{text}");
    assert!(took >= Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_while_its_health_is_waited_for_is_told_at_once() {
    needs_docker!();
    let service = Service::new();
    service.shop.publish("app:1.0", "echo begins; sleep 5; echo gives up; exit 5");
    let runtime = service.runtime();
    service.deploy(&runtime, Slot::Green).await.unwrap();
    let target = service.shop.version(Slot::Green, "1.0");
    let waited = runtime.supervise(&target, Box::pin(std::future::pending()));
    let error = tokio::time::timeout(START_DEADLINE, waited).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unhealthy, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("exit status 5") && text.contains("gives up"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_had_is_told_by_a_plan_and_one_that_is_only_on_the_engine_is_used() {
    needs_docker!();
    let service = Service::new();
    let (runtime, target) = (service.runtime(), service.shop.version(Slot::Green, "1.0"));
    for refused in [runtime.preview(&target).await.map(drop), runtime.prepare(&target).await] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error:?}");
    }
    let unknown = service.builder_of(&service.shop.images.name("app:${TAG}")).build().unwrap();
    assert_eq!(unknown.preview(&target).await.unwrap_err().kind(), ErrorKind::Config);

    service.shop.images.make("app:1.0", WAITS);
    runtime.preview(&target).await.unwrap();
    service.deploy(&runtime, Slot::Green).await.unwrap();
    let noted = runtime.preview(&service.shop.version(Slot::Blue, "1.0")).await.unwrap().notes;
    assert!(!noted.iter().any(|note| note.contains("is there a")), "{noted:?}");
    let fixed = service.builder_of(&service.shop.images.name("app:1.0")).build().unwrap();
    let noted = fixed.preview(&service.shop.version(Slot::Blue, "2.0")).await.unwrap().notes;
    assert!(noted.iter().any(|note| note.contains("the same image as 1.0")), "{noted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_started_when_its_container_is_healthy_and_answers_at_its_port() {
    needs_docker!();
    let service = Service::new();
    service.shop.publish("app:1.0", &format!("sleep 1; {}", serves("it-is-$SLOT-$VERSION-$PORT")));
    let runtime = service
        .builder()
        .port(3000)
        .health_command(["wget", "-q", "-O-", "http://127.0.0.1:3000/"])
        .health_interval(Duration::from_millis(300))
        .health_retries(1000)
        .build()
        .unwrap();
    let mut addresses = Vec::new();
    for slot in Slot::BOTH {
        let target = service.shop.version(slot, "1.0");
        let preview = runtime.preview(&target).await.unwrap();
        let started = service.deploy(&runtime, slot).await.unwrap();
        assert_eq!(service.inspect(slot, "{{.State.Health.Status}}"), "healthy");
        let address = started.endpoint(Some("http")).unwrap().address.clone();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        assert!(get(&address).contains(&format!("it-is-{slot}-1.0-3000")));
        // A plan says where it will be.
        assert!(preview.notes.iter().any(|note| note.contains(&address)), "{preview:?}");
        addresses.push(address);
    }
    assert_ne!(addresses[0], addresses[1]);
    // While it restarts, and when the slot is started again.
    docker_ok(&["restart", "-t", "5", &service.container(Slot::Green)]);
    let green = || async { runtime.inspect(Slot::Green).await.unwrap().endpoint(None).unwrap().address.clone() };
    assert_eq!(green().await, addresses[1]);
    eventually("the page", async || {
        std::panic::catch_unwind(|| get(&addresses[1])).is_ok_and(|page| page.contains("it-is-green"))
    })
    .await;
    runtime.stop(Slot::Green, grace()).await.unwrap();
    service.deploy(&runtime, Slot::Green).await.unwrap();
    assert_eq!(green().await, addresses[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_somebody_else_has_is_left_to_them() {
    needs_docker!();
    let service = Service::new();
    service.shop.publish("app:1.0", &serves("hello"));
    let runtime = service.builder().port(3000).build().unwrap();
    let first = service.deploy(&runtime, Slot::Green).await.unwrap().endpoint(None).unwrap().address.clone();
    runtime.stop(Slot::Green, grace()).await.unwrap();
    let others = std::net::TcpListener::bind(&first).unwrap();
    let second = service.deploy(&runtime, Slot::Green).await.unwrap().endpoint(None).unwrap().address.clone();
    assert_ne!(first, second);
    drop(others);
    // What runs keeps what it has.
    let again = runtime.start(&service.shop.version(Slot::Green, "1.0")).await.unwrap();
    assert_eq!(again.endpoint(None).unwrap().address, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_somebody_else_with_the_slot_s_name_is_refused_and_left_alone() {
    needs_docker!();
    let service = Service::waiting();
    let (runtime, target) = (service.runtime(), service.shop.version(Slot::Green, "1.0"));
    runtime.prepare(&target).await.unwrap();
    docker_ok(&["run", "-d", "--name", &service.container(Slot::Green), &service.shop.images.name("app:1.0")]);
    let before = service.alive(Slot::Green);
    for refused in [
        runtime.preview(&target).await.map(drop),
        runtime.prepare(&target).await,
        runtime.start(&target).await.map(drop),
    ] {
        let error = is_conflict(refused, "a foreign container");
        assert!(error.to_string().contains(&service.container(Slot::Green)), "{error}");
    }
    assert_eq!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Absent);
    runtime.stop(Slot::Green, grace()).await.unwrap();
    assert!(before.is_some());
    assert_eq!(service.alive(Slot::Green), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_of_another_service_is_not_touched() {
    needs_docker!();
    let service = Service::waiting();
    service.deploy(&service.runtime(), Slot::Green).await.unwrap();
    let before = service.alive(Slot::Green);
    let other = ContainerRuntime::builder("other", service.image()).name(&service.shop.name);
    let other = other.state_directory(service.shop.path("other").to_str().unwrap()).build().unwrap();
    assert!(other.bind_service(&service.shop.name.parse().unwrap()).is_err());
    let mut target = service.shop.version(Slot::Green, "1.0");
    target.service = "other".parse().unwrap();
    for refused in [
        other.preview(&target).await.map(drop),
        other.prepare(&target).await,
        other.start(&target).await.map(drop),
        other.stop(Slot::Green, grace()).await.map(drop),
        other.inspect(Slot::Green).await.map(drop),
        other.logs(Slot::Green, 10).await.map(drop),
    ] {
        let error = is_conflict(refused, "another service");
        assert_eq!(error.reason(), Some(Reason::OtherService), "{error:?}");
        assert!(error.to_string().contains("`.name(..)`"), "{error}");
    }
    // Nor its records.
    let other = ContainerRuntime::builder("other", service.image());
    let other = other.state_directory(service.shop.path("state").to_str().unwrap()).build().unwrap();
    assert_eq!(other.prepare(&target).await.unwrap_err().reason(), Some(Reason::OtherService));
    assert_eq!(service.alive(Slot::Green), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_was_cut_off_can_be_made_again_and_its_image_is_ours_to_remove() {
    needs_docker!();
    let service = Service::new();
    service.shop.publish_large("app:1.0", WAITS, 30 << 20);
    let (runtime, target) = (service.runtime(), service.shop.version(Slot::Green, "1.0"));
    for milliseconds in [20, 60, 150, 300] {
        let _ = tokio::time::timeout(Duration::from_millis(milliseconds), runtime.prepare(&target)).await;
    }
    service.deploy(&runtime, Slot::Green).await.unwrap();
    assert!(service.alive(Slot::Green).is_some());
    assert!(runtime.prune(0).await.unwrap().versions.is_empty(), "what is in use was removed");
    runtime.stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(runtime.prune(0).await.unwrap().versions.len(), 1);
    assert_eq!(service.shop.images.on_engine(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_seen_in_no_argument_error_log_or_record() {
    needs_docker!();
    let service = Service::waiting();
    service.shop.publish("app:1.1", "echo the token is $TOKEN; exit 1");
    let host = NotingHost::default();
    let builder = service.builder().engine(Engine::on(host.clone())).env("TOKEN", Secret::new("hunter2$x")).port(3000);
    let runtime = builder.health_command(["sh", "-c", "echo $TOKEN; exit 1"]).health_retries(1).build().unwrap();
    let mut errors = Vec::new();
    for version in ["1.0", "1.1"] {
        let target = service.shop.version(Slot::Green, version);
        runtime.prepare(&target).await.unwrap();
        errors.push(runtime.start(&target).await.unwrap_err());
        errors.extend(runtime.inspect(Slot::Green).await.err());
        let logs = runtime.logs(Slot::Green, 10).await.unwrap();
        assert!(!format!("{logs:?}").contains("hunter2"), "{logs:?}");
        assert!(service.inspect(Slot::Green, "{{.Config.Env}}").contains("TOKEN=hunter2$x"));
        runtime.stop(Slot::Green, grace()).await.unwrap();
    }
    assert!(errors[1].to_string().contains("the token is ***"), "{errors:?}");
    assert!(host.noted().iter().any(|noted| noted.contains("releases.json")), "the host was not used");
    let everything = format!("{:?} {errors:?} {runtime:?} {runtime} {}", host.noted(), service.kept());
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_is_to_be_made_with_arrives() {
    needs_docker!();
    let service = Service::new();
    service.shop.publish("app:1.0", &format!("echo $SLOT >> /uploads/slots; {WAITS}"));
    let (network, volume) = (service.shop.name.clone() + "-net", service.shop.name.clone() + "-uploads");
    let folder = tempfile::tempdir().unwrap();
    let runtime = service
        .builder()
        .memory(64 << 20)
        .cpus(0.5)
        .volume(&volume, "/uploads")
        .volume(folder.path().to_str().unwrap(), "/a place")
        .network(&network)
        .user("0:0")
        .restart("on-failure:3")
        .stop_grace(Duration::from_secs(7))
        .build()
        .unwrap();
    let missing = runtime.prepare(&service.shop.version(Slot::Blue, "1.0")).await.unwrap_err();
    assert_eq!((missing.kind(), missing.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{missing:?}");
    docker_ok(&["network", "create", &network]);
    for slot in Slot::BOTH {
        service.deploy(&runtime, slot).await.unwrap();
    }
    let seen = |format: &str| service.inspect(Slot::Green, format);
    assert_eq!(seen("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}"), "67108864 500000000");
    assert_eq!(seen("{{.Config.User}} {{.HostConfig.Init}} {{.Config.StopTimeout}}"), "0:0 true 7");
    let policy = "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(seen(policy), "on-failure:3");
    let slots = docker_ok(&["exec", &service.container(Slot::Green), "cat", "/uploads/slots"]);
    assert_eq!(slots, "blue\ngreen");
    docker_ok(&["exec", &service.container(Slot::Green), "touch", "/a place/file"]);
    assert!(folder.path().join("file").exists());
    // By no name does the network know both.
    let aliases = |slot| service.inspect(slot, "{{range .NetworkSettings.Networks}}{{json .Aliases}}{{end}}");
    assert_ne!(aliases(Slot::Blue), aliases(Slot::Green));
    let label = |name: &str| seen(&format!("{{{{index .Config.Labels \"bluegreen.{name}\"}}}}"));
    assert_eq!([label("service"), label("slot"), label("version")], [&service.shop.name, "green", "1.0"]);
    let asked = runtime.stop_grace(Slot::Green, Duration::from_secs(1)).await.unwrap();
    assert_eq!(asked, Duration::from_secs(7));
    for slot in Slot::BOTH {
        assert!(runtime.stop(slot, grace()).await.unwrap().killed.is_empty());
    }
    assert!(docker(&["volume", "inspect", &volume]).status.success(), "a volume with a name was removed");
    docker(&["network", "rm", &network]);
    docker(&["volume", "rm", &volume]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_and_words_arrive_unchanged() {
    needs_docker!();
    let service = Service::waiting();
    let hostile =
        ["a b", "$HOME `id` $(id)", "'\"\\", "line\nbreak\ttab", "--rm", "", "é☃", "${VERSION} %s {{.Id}}", "a=b;c"];
    let script = "printf '<%s>' \"$@\" \"$VALUE\"; echo; trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
    for value in hostile {
        let words = ["/bin/sh", "-c", script, "sh"].into_iter().chain(hostile);
        let runtime = service.builder().command(words).env("VALUE", Secret::new(value)).build().unwrap();
        service.deploy(&runtime, Slot::Green).await.unwrap();
        let expected: String = hostile.iter().chain([&value]).map(|word| format!("<{word}>")).collect();
        let log = || String::from_utf8(docker(&["logs", &service.container(Slot::Green)]).stdout).unwrap();
        eventually("what was printed", async || log() == format!("{expected}\n")).await;
        runtime.stop(Slot::Green, grace()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_what_it_had_to_kill() {
    needs_docker!();
    let service = Service::new();
    service.shop.publish("app:1.0", "echo begins; trap '' TERM; while :; do sleep 1; done");
    for (init, hint) in [(true, false), (false, true)] {
        let runtime = service.builder().init(init).build().unwrap();
        service.deploy(&runtime, Slot::Green).await.unwrap();
        let stopped = runtime.stop(Slot::Green, Duration::from_secs(1)).await.unwrap();
        assert_eq!((stopped.killed.as_slice(), stopped.hint.is_some()), (&[service.shop.name.clone()][..], hint));
        assert_eq!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Absent);
        assert!(runtime.logs(Slot::Green, 1).await.unwrap()[0].ends_with("| begins"));
    }
}

#[test]
fn what_the_engine_would_refuse_is_refused_when_it_is_built() {
    let refused = |with: fn(ContainerRuntimeBuilder) -> ContainerRuntimeBuilder| {
        let built = with(ContainerRuntime::builder("shop", "shop:${VERSION}")).build();
        assert_eq!(built.unwrap_err().kind(), ErrorKind::Config);
    };
    refused(|builder| builder.port(0));
    refused(|builder| builder.env("PORT", Secret::new("80")));
    refused(|builder| builder.env("A-B", Secret::new("x")));
    refused(|builder| builder.env("A", Secret::new("x\0y")));
    refused(|builder| builder.command(Vec::<String>::new()));
    refused(|builder| builder.volume("./uploads", "/uploads"));
    refused(|builder| builder.volume("uploads", "uploads"));
    refused(|builder| builder.memory(1024));
    refused(|builder| builder.cpus(f64::NAN));
    refused(|builder| builder.network("host"));
    refused(|builder| builder.restart("sometimes"));
    refused(|builder| builder.restart("always:3"));
    refused(|builder| builder.health_retries(0));
    refused(|builder| builder.name("-x"));
    assert!(ContainerRuntime::builder("shop", "shop").restart("on-failure").build().is_ok());
}
