//! `ComposeMigrator`: core's contract, and what it promises beyond.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::memory::{MemoryRouter, MemoryStateStore};
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::testing::conformance::{self, MigratorFixture};
use bluegreen_core::{Effect, ErrorKind, Migrator, Phase, Pipeline, Release, Runtime, Slot, Target, When};
use bluegreen_docker::{ComposeMigrator, ComposeRuntime};

use crate::support::{Fate, Shop, WAITS, docker_ok, eventually, grace, needs_docker, proxy};

/// Long enough for a migration to begin, also on a machine that is busy otherwise.
const LIMIT: Duration = Duration::from_secs(20);

/// The data is a file with a line for each thing that a version needs; a migration takes its time, and is repeatable.
const MIGRATE: &str = r#"case $1 in
expand) grep -q '^new$' /data/schema || { echo half >> /data/log; sleep 0.05; echo new >> /data/schema; };;
contract) grep -v '^old$' /data/schema > /data/next; sleep 0.05; cat /data/next > /data/schema;;
revert) grep -v '^new$' /data/schema > /data/next; cat /data/next > /data/schema;;
pending) grep -q '^new$' /data/schema || echo add-new;;
verify) grep -q '^new$' /data/schema;;
esac"#;

struct Data {
    shop: Shop,
    when: When,
}

impl Data {
    async fn new(when: When) -> Self {
        let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0', volumes: ['./data:/data']}}");
        shop.publish("app:1.0", WAITS);
        std::fs::create_dir(shop.path("data")).unwrap();
        let data = Self { shop, when };
        let runtime = data.shop.runtime();
        runtime.prepare(&data.target()).await.unwrap();
        if when == When::AfterStart {
            runtime.start(&data.target()).await.unwrap();
        }
        data
    }

    fn schema(&self) -> PathBuf {
        self.shop.path("data/schema")
    }

    fn has(&self, line: &str) -> bool {
        std::fs::read_to_string(self.schema()).unwrap().lines().any(|found| found == line)
    }
}

fn command(phase: &str) -> Vec<String> {
    ["sh", "-c", MIGRATE, "migrate", phase].map(str::to_owned).to_vec()
}

#[async_trait]
impl MigratorFixture for Data {
    type Migrator = ComposeMigrator;

    async fn open(&self) -> ComposeMigrator {
        let runtime = self.shop.runtime();
        let builder = ComposeMigrator::builder(&runtime, "api").when(self.when);
        let builder = builder.expand(command("expand")).contract(command("contract")).verify(command("verify"));
        builder.revert(command("revert")).pending(command("pending")).build().unwrap()
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        conformance::CutOff::sampled()
    }

    fn target(&self) -> Target {
        self.shop.version(Slot::Green, "1.0")
    }

    async fn reset(&self) {
        std::fs::write(self.schema(), "old\n").unwrap();
    }

    async fn data(&self) -> String {
        std::fs::read_to_string(self.schema()).unwrap()
    }

    async fn old_version_works(&self) -> bool {
        self.has("old")
    }

    async fn is_expanded(&self) -> bool {
        self.has("new")
    }

    async fn is_contracted(&self) -> bool {
        !self.has("old")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_inside_the_new_release_keep_the_contract() {
    needs_docker!();
    conformance::migrator(&Data::new(When::AfterStart).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_in_a_container_of_their_own_keep_the_contract_and_leave_none_behind() {
    needs_docker!();
    let data = Data::new(When::BeforeStart).await;
    conformance::migrator(&data).await;
    eventually("no container is left", async || data.shop.ps(Slot::Green, &["-a", "-q"]).is_empty()).await;
    data.shop.runtime().stop(Slot::Green, grace()).await.unwrap();
    assert_eq!(data.shop.list("network", Slot::Green), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_is_told_with_its_exit_status_and_what_it_printed_last() {
    needs_docker!();
    let data = Data::new(When::AfterStart).await;
    let runtime = data.shop.runtime();
    let script = "seq 1 100000; echo relation users does not exist >&2; exit 9";
    let once = ComposeMigrator::builder(&runtime, "api").expand(["sh", "-c", script]).build().unwrap();
    let exec =
        ComposeMigrator::builder(&runtime, "api").when(When::AfterStart).expand(["sh", "-c", script]).build().unwrap();
    for migrator in [exec, once] {
        let error = migrator.migrate(Phase::Expand, &data.target()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("exit status 9") && text.contains("relation users does not exist"), "{text}");
        assert!(text.contains("compose service: api") && text.len() < 2000, "{text}");
        migrator.migrate(Phase::Contract, &data.target()).await.unwrap();
    }
    // No such program is no success either.
    let missing =
        ComposeMigrator::builder(&runtime, "api").when(When::AfterStart).expand(["no-such-program"]).build().unwrap();
    let error = missing.migrate(Phase::Expand, &data.target()).await.unwrap_err();
    assert!(error.to_string().contains("no-such-program"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_cannot_be_verified_has_failed() {
    needs_docker!();
    let data = Data::new(When::AfterStart).await;
    let builder = ComposeMigrator::builder(&data.shop.runtime(), "api").when(When::AfterStart).expand(["true"]);
    let migrator = builder.verify(["sh", "-c", "echo still missing; false"]).build().unwrap();
    let error = migrator.migrate(Phase::Expand, &data.target()).await.unwrap_err();
    assert!(error.to_string().contains("verify") && error.to_string().contains("still missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_off_left_running_is_waited_for_and_never_doubled() {
    needs_docker!();
    for when in [When::AfterStart, When::BeforeStart] {
        let data = Data::new(when).await;
        let runtime = data.shop.runtime();
        let script = "mkdir /data/lock || { echo two at a time >> /data/schema; exit 1; }; sleep 3; rmdir /data/lock; \
                      echo done >> /data/schema";
        let builder = ComposeMigrator::builder(&runtime, "api").when(when);
        let migrator = builder.expand(["sh", "-c", script]).build().unwrap();
        let (first, target) = (migrator.clone(), data.target());
        let running = tokio::spawn(async move { first.migrate(Phase::Expand, &target).await });
        eventually("the migration runs", async || data.shop.path("data/lock").exists()).await;
        running.abort();
        let _ = running.await;
        migrator.migrate(Phase::Expand, &data.target()).await.unwrap();
        assert_eq!(data.data().await, "done\ndone\n", "{when:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_takes_too_long_is_told_and_not_ended() {
    needs_docker!();
    for when in [When::AfterStart, When::BeforeStart] {
        let data = Data::new(when).await;
        let runtime = data.shop.runtime();
        let builder = ComposeMigrator::builder(&runtime, "api").when(when);
        let script = "touch /data/begun; until [ -e /data/may-end ]; do sleep 0.1; done; echo done >> /data/schema";
        let migrator = builder.expand(["sh", "-c", script]).timeout(LIMIT).build().unwrap();
        let error = migrator.migrate(Phase::Expand, &data.target()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(data.shop.path("data/begun").exists() && error.to_string().contains("still runs"), "{error}");
        std::fs::write(data.shop.path("data/may-end"), "").unwrap();
        eventually("it ends by itself", async || data.schema().exists()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_anything_is_prepared_it_cannot_be_told_what_is_pending() {
    needs_docker!();
    let data = Data::new(When::BeforeStart).await;
    data.reset().await;
    let other = data.shop.version(Slot::Green, "2.0");
    assert_eq!(data.open().await.pending(&other).await.unwrap(), None);
    assert_eq!(data.open().await.pending(&data.target()).await.unwrap(), Some(vec!["add-new".to_owned()]));
    let runtime = data.shop.runtime();
    let error = ComposeMigrator::builder(&runtime, "api").when(When::AfterStart).expand(["true"]).build().unwrap();
    let error = error.migrate(Phase::Expand, &other).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error:?}");
    assert!(ComposeMigrator::builder(&runtime, "api").when(When::AfterStart).build().is_err());
    let live = docker_ok(&["ps", "-q", "--filter", &format!("name={}-migration", data.shop.project(Slot::Green))]);
    assert_eq!(live, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_phase_that_did_run_is_never_reported_as_not_applied() {
    needs_docker!();
    // The container is gone when the verify command is to be run in it.
    let data = Data::new(When::AfterStart).await;
    let (socket, begun) = (data.shop.path("engine.sock"), AtomicUsize::new(0));
    let container = data.shop.container(Slot::Green, "api");
    proxy(&socket, move |line| {
        let begins = line.starts_with("POST ") && line.contains("/containers/") && line.contains("/exec");
        if begins && begun.fetch_add(1, Ordering::SeqCst) == 1 {
            docker_ok(&["rm", "-f", &container]);
        }
        Fate::Passes
    });
    let runtime = data.shop.builder().docker_host(format!("unix://{}", socket.display())).build().unwrap();
    let builder = ComposeMigrator::builder(&runtime, "api")
        .when(When::AfterStart)
        .expand(["true"])
        .contract(["touch", "/data/contracted"]);
    let error = builder.verify(["true"]).build().unwrap().migrate(Phase::Contract, &data.target()).await.unwrap_err();
    assert!(data.shop.path("data/contracted").exists(), "{error}");
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    assert!(error.to_string().contains("verify"), "{error}");

    // The compose file is broken when the verify command's container is to be made.
    let data = Data::new(When::BeforeStart).await;
    let runtime = data.shop.runtime();
    let contract = ["sh", "-c", "echo 'services: [' > /data/compose.yaml"];
    std::fs::rename(data.shop.path("compose.yaml"), data.shop.path("data/compose.yaml")).unwrap();
    std::os::unix::fs::symlink("data/compose.yaml", data.shop.path("compose.yaml")).unwrap();
    let builder = ComposeMigrator::builder(&runtime, "api").expand(["true"]).contract(contract).verify(["true"]);
    let error = builder.build().unwrap().migrate(Phase::Contract, &data.target()).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error:?}");
    assert!(error.to_string().contains("verify"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_exits_as_a_missed_lock_would_has_run() {
    needs_docker!();
    let data = Data::new(When::BeforeStart).await;
    let builder = ComposeMigrator::builder(&data.shop.runtime(), "api").expand(["true"]);
    let script = "touch /data/contracted; exit 75";
    let migrator = builder.contract(["sh", "-c", script]).build().unwrap();
    let error = migrator.migrate(Phase::Contract, &data.target()).await.unwrap_err();
    assert!(data.shop.path("data/contracted").exists(), "{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unexpected, Effect::Unknown), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("exit status 75") && !error.is_retryable() && !text.contains("locked"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_which_nothing_can_be_learned_is_not_joined_by_another() {
    needs_docker!();
    let data = Data::new(When::AfterStart).await;
    let socket = data.shop.path("engine.sock");
    proxy(&socket, |line| if line.starts_with("GET /exec/") { Fate::Refused } else { Fate::Passes });
    let through = data.shop.builder().docker_host(format!("unix://{}", socket.display())).build().unwrap();
    let migrator = |runtime: &ComposeRuntime| {
        ComposeMigrator::builder(runtime, "api").when(When::AfterStart).expand(["sleep", "20"]).build().unwrap()
    };
    let (first, target) = (migrator(&data.shop.runtime()), data.target());
    let running = tokio::spawn(async move { first.migrate(Phase::Expand, &target).await });
    let container = data.shop.container(Slot::Green, "api");
    let count = || docker_ok(&["top", &container]).lines().filter(|line| line.contains("sleep 20")).count();
    eventually("the migration runs", async || count() == 1).await;
    running.abort();
    let _ = running.await;
    let (second, target) = (migrator(&through), data.target());
    let second = tokio::spawn(async move { second.migrate(Phase::Expand, &target).await });
    // A second one would run until its end, or be told of only then.
    let error = second.await.unwrap().unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error:?}");
    assert!(error.to_string().contains("refused by the test"), "{error}");
    assert_eq!(count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_cuts_off_a_migration_inside_the_failed_slot_and_not_one_in_a_container_of_its_own() {
    needs_docker!();
    for when in [When::AfterStart, When::BeforeStart] {
        let shop = Shop::new("services: {api: {image: 'IMAGES/app:1.0', volumes: ['./data:/data']}}");
        shop.publish("app:1.0", WAITS);
        std::fs::create_dir(shop.path("data")).unwrap();
        let runtime = shop.runtime();
        let builder = ComposeMigrator::builder(&runtime, "api").when(when);
        let script = "touch /data/begun; until [ -e /data/may-end ]; do sleep 0.1; done; touch /data/ended";
        let migrator = builder.expand(["sh", "-c", script]).timeout(LIMIT).build().unwrap();
        let pipeline = Pipeline::builder(&shop.name)
            .runtime(runtime)
            .migrator(migrator)
            .router(MemoryRouter::new())
            .store(MemoryStateStore::new())
            .health(ScriptedHealth::new([]))
            .verify(ScriptedHealth::new([]))
            .build()
            .unwrap();
        let error = pipeline.deploy(Release::new("1.0").unwrap()).await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "aborted", "{error:?}");
        assert!(error.chain().contains("did not end within") || error.chain().contains("still runs"), "{error:?}");
        assert!(shop.path("data/begun").exists() && !shop.path("data/ended").exists());
        match when {
            When::BeforeStart => {
                std::fs::write(shop.path("data/may-end"), "").unwrap();
                eventually("it ends by itself", async || shop.path("data/ended").exists()).await;
            }
            // Nothing is left in which it could go on.
            When::AfterStart => assert_eq!(shop.ps(Slot::Blue, &["-a", "-q"]), Vec::<String>::new()),
        }
    }
}
