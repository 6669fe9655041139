use std::time::Duration;

use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::defaults::{LONGEST, LONGEST_LEASE_TTL};
use bluegreen_core::pipeline::{PipelineBuilder, Retention, Strategy, TrafficStep};
use bluegreen_core::testing::{Fault, ScriptedHealth};
use bluegreen_core::{Effect, Error, ErrorKind, Granularity, Health, Pipeline, Reason, Release, Slot, Split};

use crate::world::{World, release, seconds, version};

const ACTS: [&str; 5] = ["runtime.prepare", "runtime.start", "runtime.stop", "router.shift", "router.attach"];

fn assert_refused(world: &World, error: &Error, kind: ErrorKind, part: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(error.effect(), Effect::NotApplied, "{error}");
    assert!(error.to_string().contains(part), "{error}");
    assert_eq!(error.report().map(|report| report.outcome.word()), Some("refused"), "nothing was begun");
    assert_eq!(world.faults.log().calls_of(&ACTS), Vec::<String>::new(), "nothing was done");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_live_is_refused() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    world.faults.log().clear();
    let error = pipeline.deploy(release("1")).await.unwrap_err();
    assert_refused(&world, &error, ErrorKind::Conflict, "1 is live already, in blue");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_staged_is_refused_and_promote_is_offered() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.stage(release("2")).await.unwrap();
    world.faults.log().clear();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_refused(&world, &error, ErrorKind::Conflict, "`promote`");
}

#[tokio::test(start_paused = true)]
async fn the_version_that_is_retained_is_refused_and_rollback_is_offered() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.faults.log().clear();
    let error = pipeline.deploy(release("1")).await.unwrap_err();
    assert_refused(&world, &error, ErrorKind::Conflict, "`rollback`");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_present_with_other_content_is_refused() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1").with_artifact("one")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    pipeline.deploy(release("3")).await.unwrap();
    world.faults.log().clear();
    let error = pipeline.deploy(release("1").with_artifact("another")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("other content"), "{error}");
    assert_eq!(world.faults.log().calls_of(&ACTS), ["runtime.prepare green 1"]);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_while_traffic_is_divided_by_hand_is_refused() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    world.router.switch_by_hand(Some(Split::toward(Slot::Blue, 30).unwrap()));
    world.faults.log().clear();
    let error = pipeline.deploy(release("3")).await.unwrap_err();
    assert_refused(&world, &error, ErrorKind::Conflict, "traffic is divided: 30 % blue / 70 % green");
}

#[tokio::test(start_paused = true)]
async fn a_public_address_that_cannot_tell_its_version_is_refused_before_anything_is_done() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let pipeline = world.builder().verify(ScriptedHealth::new([Health::healthy()])).build().unwrap();
    world.faults.log().clear();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_refused(&world, &error, ErrorKind::Config, "does not report a version");
}

#[tokio::test(start_paused = true)]
async fn an_operation_whose_process_died_must_be_recovered_first() {
    let world = World::new();
    let pipeline = world.pipeline();
    world.faults.on("runtime.start", Fault::Die);
    assert!(world.faults.run(pipeline.deploy(release("1"))).await.is_none());
    pipeline.unlock().await.unwrap();
    world.faults.log().clear();
    let error = pipeline.deploy(release("1")).await.unwrap_err();
    assert_refused(&world, &error, ErrorKind::Conflict, "stopped in step start");
    assert!(error.to_string().contains("`recover`"), "{error}");
}

fn memory_builder() -> PipelineBuilder {
    let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
    Pipeline::builder("shop")
        .verify(MemoryPublic::new(&router, &runtime))
        .runtime(runtime)
        .router(router)
        .store(MemoryStateStore::new())
        .health(MemoryHealth::new())
}

#[test]
fn a_release_name_that_could_be_misread_is_refused() {
    assert_eq!(Release::new("1.0; rm -rf /").unwrap_err().kind(), ErrorKind::Config);
    let error = Pipeline::builder("my shop").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[test]
fn a_canary_on_an_all_or_nothing_router_is_refused() {
    let canary = Strategy::canary([TrafficStep::new(10, seconds(1)), TrafficStep::new(100, Duration::ZERO)]);
    let router = MemoryRouter::with_granularity(Granularity::AllOrNothing);
    let error = memory_builder().router(router).strategy(canary).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn zero_intervals_limits_and_streaks_are_refused() {
    type Set = fn(PipelineBuilder) -> PipelineBuilder;
    let zeros: [(&str, Set); 12] = [
        ("check_interval", |builder| builder.check_interval(Duration::ZERO)),
        ("check_timeout", |builder| builder.check_timeout(Duration::ZERO)),
        ("start_deadline", |builder| builder.start_deadline(Duration::ZERO)),
        ("verify_deadline", |builder| builder.verify_deadline(Duration::ZERO)),
        ("gate_interval", |builder| builder.gate_interval(Duration::ZERO)),
        ("lease_ttl", |builder| builder.lease_ttl(Duration::ZERO)),
        ("prepare_timeout", |builder| builder.prepare_timeout(Duration::ZERO)),
        ("migrate_timeout", |builder| builder.migrate_timeout(Duration::ZERO)),
        ("shift_timeout", |builder| builder.shift_timeout(Duration::ZERO)),
        ("smoke_timeout", |builder| builder.smoke_timeout(Duration::ZERO)),
        ("streak", |builder| builder.healthy_streak(0)),
        ("streak", |builder| builder.verify_streak(0)),
    ];
    for (name, set) in zeros {
        let error = set(memory_builder()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    assert!(memory_builder().drain(Duration::ZERO).build().is_ok(), "no drain is a choice");
}

#[test]
fn steps_that_do_not_rise_to_100_are_refused() {
    let steps = Strategy::canary([TrafficStep::new(50, seconds(1)), TrafficStep::new(10, seconds(1))]);
    assert_eq!(memory_builder().strategy(steps).build().unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn a_pipeline_without_a_required_part_says_which_one() {
    let error = Pipeline::builder("shop").build().unwrap_err();
    assert!(error.to_string().contains(".runtime(...)"), "{error}");
    let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
    let error = Pipeline::builder("shop")
        .runtime(runtime)
        .router(router)
        .store(MemoryStateStore::new())
        .health(MemoryHealth::new())
        .build()
        .unwrap_err();
    assert!(error.to_string().contains(".verify(...)"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_deploy_has_its_reason_and_its_version_in_the_error_the_report_and_the_history() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    for _ in 0..3 {
        let error = pipeline.deploy(release("1")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::AlreadyLive), "{error}");
        let report = error.report().unwrap();
        assert_eq!((report.outcome.word(), report.version.as_ref()), ("refused", Some(&version("1"))));
        assert_eq!(
            error.render(),
            "deploy of shop 1: refused; nothing was changed\n  observe       0 µs  ok\n  total         0 µs\n  traffic: 100 % blue\n  \
             cause: 1 is live already, in blue\n  to do: there is nothing to deploy\n"
        );
    }
    let history = pipeline.history().await.unwrap();
    let told: Vec<_> = history.iter().map(|past| (past.outcome.word(), past.version.as_ref())).collect();
    assert_eq!(told, [("succeeded", Some(&version("1"))), ("refused", Some(&version("1")))], "once");
}

#[tokio::test(start_paused = true)]
async fn a_deploy_beside_another_is_refused_with_a_reason() {
    let world = World::new();
    world.faults.on("runtime.start", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("1"))).await.is_none());
    let held = world.pipeline().deploy(release("2")).await.unwrap_err();
    assert_eq!(held.reason(), Some(Reason::LeaseHeld), "{held}");
    assert_eq!(held.report().unwrap().outcome.word(), "refused");
    world.pipeline().unlock().await.unwrap();
    let unfinished = world.pipeline().deploy(release("2")).await.unwrap_err();
    assert_eq!(unfinished.reason(), Some(Reason::Unfinished), "{unfinished}");
}

type Set = fn(PipelineBuilder, Duration) -> PipelineBuilder;

#[tokio::test(start_paused = true)]
async fn times_that_no_clock_can_count_to_are_refused_and_the_longest_do_no_harm() {
    let world = World::new();
    let setters: [(&str, Set); 11] = [
        ("check_interval", PipelineBuilder::check_interval),
        ("check_timeout", PipelineBuilder::check_timeout),
        ("start_deadline", PipelineBuilder::start_deadline),
        ("verify_deadline", PipelineBuilder::verify_deadline),
        ("drain", PipelineBuilder::drain),
        ("stop_grace", PipelineBuilder::stop_grace),
        ("gate_interval", PipelineBuilder::gate_interval),
        ("prepare_timeout", PipelineBuilder::prepare_timeout),
        ("migrate_timeout", PipelineBuilder::migrate_timeout),
        ("undo_timeout", PipelineBuilder::undo_timeout),
        ("lease_ttl", PipelineBuilder::lease_ttl),
    ];
    for (name, set) in setters {
        let error = set(world.builder(), Duration::MAX).build().unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(name), "{name}: {error}");
    }
    for strategy in [
        Strategy::blue_green().bake(Duration::MAX),
        Strategy::blue_green().bake(seconds(1)).max_bake(Duration::MAX),
        Strategy::canary([TrafficStep::new(100, Duration::MAX)]),
        Strategy::canary([TrafficStep::new(100, seconds(1)).max_soak(Duration::MAX)]),
    ] {
        assert_eq!(world.builder().strategy(strategy).build().unwrap_err().kind(), ErrorKind::Config);
    }
    let forever = world.builder().retention(Retention::For(Duration::MAX)).build().unwrap_err();
    assert_eq!(forever.kind(), ErrorKind::Config);

    let longest = world
        .builder()
        .start_deadline(LONGEST)
        .verify_deadline(LONGEST)
        .drain(LONGEST)
        .stop_grace(LONGEST)
        .undo_timeout(LONGEST)
        .lease_ttl(LONGEST_LEASE_TTL)
        .retention(Retention::For(LONGEST))
        .build()
        .unwrap();
    longest.deploy(release("1")).await.unwrap();
    longest.deploy(release("2")).await.unwrap();
    longest.rollback().await.unwrap();
    world.faults.on("router.shift to 100 % green", Fault::ApplyThenFail);
    longest.deploy(release("3")).await.unwrap_err();
    world.assert_settled().await;
}

/// A check that looks at the status alone.
#[derive(Debug)]
struct Mute;

impl std::fmt::Display for Mute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GET https://shop.example.com/")
    }
}

#[async_trait::async_trait]
impl bluegreen_core::HealthCheck for Mute {
    async fn check(
        &self,
        _target: &bluegreen_core::Target,
        _instance: &bluegreen_core::Instance,
    ) -> bluegreen_core::Result<Health> {
        Ok(Health::healthy())
    }

    fn tells_version(&self) -> bool {
        false
    }
}

#[test]
fn a_public_address_that_could_never_tell_its_version_is_refused_when_the_pipeline_is_built() {
    let error = World::new().builder().verify(Mute).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("GET https://shop.example.com/") && text.contains("version_from_header"), "{text}");
}
