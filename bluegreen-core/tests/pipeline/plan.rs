use bluegreen_core::event::EventKind;
use bluegreen_core::gates::RateGate;
use bluegreen_core::pipeline::{Contract, PipelineBuilder, Retention, Strategy, TrafficStep};
use bluegreen_core::testing::{Fault, RecordingMigrator, ScriptedHealth};
use bluegreen_core::{Health, Instance, MetricSource, Sample, Slot, Target, When};

use crate::world::{World, release, seconds};

#[tokio::test(start_paused = true)]
async fn a_plan_touches_nothing_and_shows_what_a_deploy_does() {
    let world = World::new();
    let steps = [(10, 60), (50, 120), (100, 0)].map(|(percent, soak)| TrafficStep::new(percent, seconds(soak)));
    let migrator = RecordingMigrator::new(When::BeforeStart, &world.migrations).pending_are(&["add_orders"]);
    let pipeline = world
        .builder()
        .strategy(Strategy::canary(steps).bake(seconds(300)))
        .migrator(migrator)
        .smoke(ScriptedHealth::new([]))
        .build()
        .unwrap();
    pipeline.deploy(release("1")).await.unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    let before = world.state();
    world.faults.log().clear();
    let plan = pipeline.plan(&release("3")).await.unwrap();
    let changes = ["runtime.prepare", "runtime.start", "runtime.stop", "router.shift", "router.attach", "store.commit"];
    assert_eq!(world.faults.log().calls_of(&changes), Vec::<String>::new());
    assert_eq!(world.state(), before);
    assert_eq!((plan.slot, plan.live.as_ref().unwrap().as_str()), (Some(Slot::Blue), "2"));
    insta::assert_snapshot!(plan.to_string());

    let report = pipeline.deploy(release("3")).await.unwrap();
    let done: Vec<_> = report.steps.iter().map(|step| step.step).skip(1).collect();
    let planned: Vec<_> = plan.steps.iter().map(|step| step.step).collect();
    assert_eq!(planned, done, "what was planned is what is done");
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_why_a_deploy_would_be_refused() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    let plan = pipeline.plan(&release("1")).await.unwrap();
    assert!(plan.to_string().contains("REFUSED: 1 is live already, in blue"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_a_first_deploy_moves_all_traffic_at_once() {
    let world = World::new();
    let steps = [TrafficStep::new(10, seconds(60)), TrafficStep::new(100, seconds(0))];
    let plan = world.builder().strategy(Strategy::canary(steps)).build().unwrap().plan(&release("1")).await.unwrap();
    let names: Vec<_> = plan.steps.iter().map(|step| step.step.to_string()).collect();
    assert_eq!(names, ["prepare", "start", "health", "attach", "check-slots-100", "shift-100", "verify"]);
}

/// What a plan names, and what the deploy then does.
async fn planned_and_done(
    world: &World,
    builder: impl Fn() -> PipelineBuilder,
    version: &str,
) -> (Vec<String>, Vec<String>) {
    let names =
        |steps: Vec<bluegreen_core::state::Step>| -> Vec<String> { steps.iter().map(ToString::to_string).collect() };
    let plan = builder().build().unwrap().plan(&release(version)).await.unwrap();
    assert!(plan.refusal.is_none(), "{plan}");
    let report = builder().build().unwrap().deploy(release(version)).await.unwrap();
    let done = report.steps.iter().map(|step| step.step).filter(|step| *step != bluegreen_core::state::Step::Observe);
    let limits = world
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event.what {
            EventKind::StepStarted { timeout_millis } => Some((event.step.unwrap(), timeout_millis)),
            _ => None,
        })
        .collect::<std::collections::HashMap<_, _>>();
    for planned in &plan.steps {
        assert_eq!(
            limits.get(&planned.step).copied(),
            Some(u64::try_from(planned.timeout.as_millis()).unwrap()),
            "{}: an observer is told the limit of the plan",
            planned.step
        );
    }
    (names(plan.steps.iter().map(|step| step.step).collect()), names(done.collect()))
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_the_very_steps_that_the_deploy_then_does_on_every_path() {
    let canary = || {
        let steps =
            [TrafficStep::new(10, seconds(2)), TrafficStep::new(50, seconds(0)), TrafficStep::new(100, seconds(0))];
        Strategy::canary(steps).bake(seconds(2))
    };
    type Setting = fn(&World, PipelineBuilder) -> PipelineBuilder;
    let settings: [(&str, Setting); 8] = [
        ("plain", |_, builder| builder),
        ("migrates before the start", |world, builder| builder.migrator(world.migrator(When::BeforeStart))),
        ("migrates after the start", |world, builder| builder.migrator(world.migrator(When::AfterStart))),
        ("contracts", |world, builder| {
            builder.migrator(world.migrator(When::BeforeStart)).contract(Contract::AfterBake)
        }),
        ("retires", |_, builder| builder.retention(Retention::Retire)),
        ("keeps until the next deploy", |_, builder| builder.retention(Retention::UntilNextDeploy)),
        ("smoke tests", |_, builder| builder.smoke(ScriptedHealth::new([Health::healthy()]))),
        ("stages only", |_, builder| builder.strategy(Strategy::blue_green().auto_promote(false))),
    ];
    for earlier in 0..3 {
        for (name, set) in settings {
            for strategy in [Strategy::blue_green(), canary()] {
                let world = World::new();
                for version in 0..earlier {
                    world.pipeline().deploy(release(&version.to_string())).await.unwrap();
                }
                world.events.lock().unwrap().clear();
                let builder = || set(&world, world.builder().strategy(strategy.clone()));
                let (planned, done) = planned_and_done(&world, builder, "9").await;
                assert_eq!(planned, done, "{name}, after {earlier} deploys");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_the_very_steps_where_the_live_release_is_down_or_not_healthy() {
    for is_down in [true, false] {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        world.faults.witness(|_| {});
        if is_down {
            world.runtime.crash(Slot::Blue, "exit status 1");
        } else {
            world.runtime.degrade(Slot::Blue, "one of two");
        }
        world.events.lock().unwrap().clear();
        let steps = [TrafficStep::new(10, seconds(2)), TrafficStep::new(100, seconds(0))];
        let builder =
            || world.builder().strategy(Strategy::canary(steps.clone())).require_healthy_rollback_target(false);
        let (planned, done) = planned_and_done(&world, builder, "2").await;
        assert_eq!(planned, done, "down: {is_down}");
        assert!(!planned.contains(&"shift-10".to_owned()), "{planned:?}");
    }
}

/// A page that has nothing to read.
#[derive(Debug)]
struct NoMetrics;

impl std::fmt::Display for NoMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no metrics")
    }
}

#[async_trait::async_trait]
impl MetricSource for NoMetrics {
    async fn sample(&self, _: &Target, _: &Instance) -> bluegreen_core::Result<Sample> {
        Ok(Sample::NoData { reason: "there is no http_requests_total on the page".to_owned() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_names_metrics_that_cannot_be_read() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let pipeline = world.builder().gate(RateGate::errors(NoMetrics)).build().unwrap();
    let plan = pipeline.plan(&release("2")).await.unwrap();
    assert_eq!(plan.refusal, None, "{plan}");
    let named = "cannot be judged on blue: there is no http_requests_total on the page";
    assert!(plan.notes.iter().any(|note| note.contains(named)), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_refused_by_what_the_adapters_find_before_anything_is_changed() {
    for part in ["runtime.preview", "router.preview"] {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        world.faults.on(part, Fault::Fail);
        let plan = world.pipeline().plan(&release("2")).await.unwrap();
        assert!(plan.refusal.is_some(), "{part}: {plan}");
    }
}
