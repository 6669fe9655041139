use bluegreen_core::pipeline::{Strategy, TrafficStep};
use bluegreen_core::testing::{RecordingMigrator, ScriptedHealth};
use bluegreen_core::{Slot, When};

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
    assert_eq!(names, ["prepare", "start", "health", "attach", "shift-100", "verify"]);
}
