//! Hooks are steps: journalled, in the plan, in events and reports, with a time limit, recovered after a death.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::hook::{HookCall, HookPlace, HookStep, from_fn};
use bluegreen_core::pipeline::{PipelineBuilder, Retention, Strategy, TrafficStep};
use bluegreen_core::state::{Outcome, Step};
use bluegreen_core::testing::{Fault, Faults, Faulty, ScriptedGate};
use bluegreen_core::{Error, ErrorKind, Hook, Pipeline, Report, Slot, Verdict};
use tokio::time::{Instant, sleep};

use crate::world::{World, release, seconds};

/// What the hooks of a test were told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<HookCall>>>);

impl Told {
    /// A hook that does nothing but to be told.
    fn hook(&self) -> impl Hook + use<> {
        let told = self.clone();
        from_fn("be told", move |call| {
            told.0.lock().unwrap().push(call);
            std::future::ready(Ok(()))
        })
    }

    fn calls(&self) -> Vec<HookCall> {
        self.0.lock().unwrap().clone()
    }

    fn places(&self) -> Vec<String> {
        self.calls().iter().map(|call| call.place.to_string()).collect()
    }

    fn at_all_places(&self, builder: PipelineBuilder) -> PipelineBuilder {
        builder
            .hook(HookStep::before_deploy("a", self.hook()))
            .hook(HookStep::after_prepare("b", self.hook()))
            .hook(HookStep::after_health("c", self.hook()))
            .hook(HookStep::before_first_shift("first", self.hook()))
            .hook(HookStep::before_shift(100, "d", self.hook()))
            .hook(HookStep::before_each_shift("each", self.hook()))
            .hook(HookStep::after_shift(10, "e", self.hook()))
            .hook(HookStep::after_each_shift("every", self.hook()))
            .hook(HookStep::after_success("f", self.hook()))
            .hook(HookStep::after_failure("g", self.hook()))
            .hook(HookStep::after_rollback("h", self.hook()))
            .hook(HookStep::before_retire("i", self.hook()))
    }
}

fn fails() -> impl Hook {
    from_fn("fail", async |_| Err(Error::new(ErrorKind::Unexpected, "NOAUTH")))
}

fn never_ends() -> impl Hook {
    from_fn("wait", async |_| std::future::pending().await)
}

fn canary(world: &World) -> PipelineBuilder {
    let steps = [TrafficStep::new(10, seconds(3)), TrafficStep::new(100, Duration::ZERO)];
    world.builder().strategy(Strategy::canary(steps))
}

fn word(report: &Report) -> &'static str {
    report.outcome.word()
}

fn ran(report: &Report) -> Vec<String> {
    let hooks = report.steps.iter().filter(|step| matches!(step.step, Step::Hook(..)));
    hooks.map(|hook| format!("{}{}", hook.step, if hook.error.is_some() { " failed" } else { "" })).collect()
}

async fn world_with(version: &str) -> World {
    let world = World::new();
    world.pipeline().deploy(release(version)).await.unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn each_hook_is_a_step_at_its_place_in_plan_events_and_report() {
    let (world, told) = (world_with("1").await, Told::default());
    world.pipeline().deploy(release("2")).await.unwrap();
    let pipeline = told.at_all_places(canary(&world).retention(Retention::Retire)).build().unwrap();
    let plan = pipeline.plan(&release("3").with_setting("workers", "4")).await.unwrap();
    world.events.lock().unwrap().clear();
    let report = pipeline.deploy(release("3").with_setting("workers", "4")).await.unwrap();

    let planned: Vec<_> = plan.steps.iter().map(|step| step.step.to_string()).collect();
    assert_eq!(
        planned,
        [
            "before-deploy:a",
            "prepare",
            "after-prepare:b",
            "before-retire-blue:i",
            "stop-occupant",
            "start",
            "health",
            "after-health:c",
            "attach",
            "before-shift-10:first",
            "before-shift-10:each",
            "check-slots-10",
            "shift-10",
            "after-shift-10:e",
            "after-shift-10:every",
            "soak-10",
            "before-shift-100:d",
            "before-shift-100:each",
            "check-slots-100",
            "shift-100",
            "after-shift-100:every",
            "verify",
            "drain",
            "before-retire-green:i",
            "retire",
            "after-success:f",
        ]
    );
    let done: Vec<_> = report.steps.iter().map(|step| step.step.to_string()).filter(|step| step != "observe").collect();
    assert_eq!(done, planned, "the plan is what is done");
    let started = world.events.lock().unwrap().clone().into_iter().filter_map(|event| match event.what {
        EventKind::StepStarted { .. } => event.step.map(|step| step.to_string()).filter(|step| step != "observe"),
        _ => None,
    });
    assert_eq!(started.collect::<Vec<_>>(), planned, "each is an event");
    assert_eq!(plan.on_failure.len(), 1);
    assert!(plan.to_string().contains("after-failure:g"), "{plan}");

    let calls = told.calls();
    for call in &calls {
        let slot = if call.place == HookPlace::BeforeRetire(Slot::Green) { Slot::Green } else { Slot::Blue };
        let version = match call.place {
            HookPlace::BeforeRetire(Slot::Blue) => "1",
            HookPlace::BeforeRetire(Slot::Green) => "2",
            _ => "3",
        };
        assert_eq!((call.target.slot, call.target.version().as_str()), (slot, version), "{call}");
        assert_eq!(call.from.as_ref().map(|from| from.version().as_str()), Some("2"), "{call}");
        assert_eq!(call.by, "me");
        let ended = (call.place == HookPlace::AfterSuccess).then_some(Outcome::Succeeded);
        assert_eq!(call.outcome, ended, "{call}");
    }
    assert_eq!(calls[0].target.release.setting("workers"), Some("4"));
    assert_eq!(calls.last().unwrap().to_string(), "deploy of shop 3 (blue) by me: succeeded");
    assert_eq!(calls.last().unwrap().to_json()["from"]["version"], "2");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_deploy_has_one_move_of_traffic_and_stage_and_promote_share_the_places_of_a_deploy() {
    let (world, told) = (World::new(), Told::default());
    let pipeline = told.at_all_places(canary(&world)).build().unwrap();
    pipeline.stage(release("1")).await.unwrap();
    assert_eq!(told.places(), ["before-deploy", "after-prepare", "after-health"]);
    pipeline.promote().await.unwrap();
    let moves = ["before-shift-100", "before-shift-100", "before-shift-100", "after-shift-100", "after-success"];
    assert_eq!(told.places()[3..], moves);
    assert!(told.calls()[0].from.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_goes_on_with_a_canary_is_not_at_its_first_move() {
    let (world, told) = (world_with("1").await, Told::default());
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "more".into() }]);
    let held = told.at_all_places(canary(&world)).gate(gate).build().unwrap().deploy(release("2")).await;
    assert_eq!(word(held.unwrap_err().report().unwrap()), "held");
    let last = told.calls().pop().unwrap();
    assert_eq!((last.place, last.outcome.map(|ended| ended.word())), (HookPlace::AfterFailure, Some("held")));
    let report = told.at_all_places(canary(&world)).build().unwrap().promote().await.unwrap();
    let expected = ["before-shift-100:d", "before-shift-100:each", "after-shift-100:every", "after-success:f"];
    assert_eq!(ran(&report), expected);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_before_the_last_move_fails_the_deploy_which_is_undone_before_it_is_told() {
    let steps: [(HookStep, &str); 5] = [
        (HookStep::before_deploy("bad", fails()), "aborted"),
        (HookStep::after_health("bad", fails()), "aborted"),
        (HookStep::before_first_shift("bad", fails()), "aborted"),
        (HookStep::after_shift(10, "bad", fails()), "rolled back"),
        (HookStep::before_shift(100, "bad", fails()), "rolled back"),
    ];
    for (step, outcome) in steps {
        let world = world_with("1").await;
        let router = world.router.clone();
        let after = from_fn("look", move |call: HookCall| {
            assert_eq!(router.split().unwrap().share(Slot::Blue), 100, "what is undone was");
            assert_eq!(call.outcome.as_ref().map(Outcome::word), Some(outcome));
            std::future::ready(Ok(()))
        });
        let builder = canary(&world).hook(step.clone()).hook(HookStep::after_failure("look", after));
        let error = builder.build().unwrap().deploy(release("2")).await.unwrap_err();
        let report = error.report().unwrap();
        assert_eq!(word(report), outcome, "{step:?}");
        assert!(error.chain().contains("bad: NOAUTH"), "{}", error.chain());
        assert!(ran(report).contains(&"after-failure:look".to_owned()), "{report}");
        world.assert_settled().await;

        let noted = canary(&world).hook(step.only_noted(true)).build().unwrap().deploy(release("2")).await.unwrap();
        assert!(ran(&noted)[0].ends_with(":bad failed"), "{noted}");
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_after_the_last_move_undoes_nothing() {
    let world = world_with("1").await;
    let builder = canary(&world)
        .hook(HookStep::after_shift(100, "bad", fails()))
        .hook(HookStep::after_success("worse", fails()))
        .hook(HookStep::after_success("good", Told::default().hook()));
    let report = builder.build().unwrap().deploy(release("2")).await.unwrap();
    assert_eq!(ran(&report), ["after-shift-100:bad failed", "after-success:worse failed", "after-success:good"]);
    assert_eq!(world.live(), Some(Slot::Green));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_hook_that_fails_does_not_make_a_failed_deploy_any_worse() {
    let world = world_with("1").await;
    world.faults.on("runtime.start", Fault::Fail);
    let pipeline = world.builder().hook(HookStep::after_failure("bad", fails())).build().unwrap();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(word(error.report().unwrap()), "aborted");
    assert_eq!(ran(error.report().unwrap()), ["after-failure:bad failed"]);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_never_ends_is_cut_off_by_its_own_time() {
    for (step, outcome) in [
        (HookStep::before_first_shift("slow", never_ends()), "aborted"),
        (HookStep::before_first_shift("slow", never_ends()).only_noted(true), "succeeded"),
        (HookStep::after_success("slow", never_ends()), "succeeded"),
    ] {
        let world = world_with("1").await;
        let pipeline = world.builder().hook(step.timeout(seconds(7))).build().unwrap();
        let plan = pipeline.plan(&release("2")).await.unwrap();
        assert!(plan.steps.iter().any(|planned| planned.timeout == seconds(7)), "{plan}");
        let result = pipeline.deploy(release("2")).await;
        let report = result.unwrap_or_else(|error| error.report().unwrap().clone());
        assert_eq!(word(&report), outcome);
        let slow = report.steps.iter().find(|step| step.error.is_some()).unwrap();
        assert!(slow.error.as_ref().unwrap().contains("did not end within 7s"), "{report}");
        assert!(slow.duration < seconds(15), "{report}");
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_in_the_background_delays_neither_the_traffic_nor_the_next_operation_and_fails_nothing() {
    let world = world_with("1").await;
    let step = HookStep::before_first_shift("chat", never_ends()).in_background(true).timeout(seconds(600));
    let pipeline = world.builder().hook(step).build().unwrap();
    let (began, deploy) = (Instant::now(), tokio::spawn(async move { pipeline.deploy(release("2")).await }));
    while world.state().lease.is_some() || world.live() != Some(Slot::Green) {
        sleep(seconds(1)).await;
        assert!(began.elapsed() < seconds(60), "the deploy waits for its hook");
    }
    world.assert_settled().await;
    world.pipeline().rollback().await.unwrap();
    let report = deploy.await.unwrap().unwrap();
    assert!(report.duration < seconds(60), "{report}");
    let note = "before-shift-100:chat failed in the background: did not end within 600s";
    assert!(report.notes.iter().any(|text| text.starts_with(note)), "{report}");
    let last = world.events.lock().unwrap().last().cloned().unwrap();
    assert!(matches!(last.what, EventKind::Finished { .. }), "the end is the last event: {last:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_message_of_an_operation_is_sent_before_it_returns() {
    let (world, told) = (World::new(), Told::default());
    let inner = told.clone();
    let slow = from_fn("tell", move |call| {
        let told = inner.clone();
        async move {
            sleep(seconds(5)).await;
            told.0.lock().unwrap().push(call);
            Ok(())
        }
    });
    let step = HookStep::after_success("chat", slow).in_background(true);
    world.builder().hook(step).build().unwrap().deploy(release("1")).await.unwrap();
    assert_eq!(told.places(), ["after-success"]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_whose_hook_failed_is_kept_and_retire_now_tries_again() {
    let (world, told) = (world_with("1").await, Told::default());
    let flaky = HookStep::before_retire("dump", Faulty::new(told.hook(), &world.faults));
    let pipeline = world.builder().retention(Retention::Retire).hook(flaky).build().unwrap();
    world.faults.on("hook.run before-retire-blue:dump", Fault::Fail);
    let report = pipeline.deploy(release("2")).await.unwrap();
    assert!(world.runtime.instance(Slot::Blue).is_running(), "{report}");
    assert!(report.notes.iter().any(|note| note.contains("blue is kept")), "{report}");
    world.assert_settled().await;
    world.faults.on("hook.run before-retire-blue:dump", Fault::Fail);
    let error = pipeline.retire_now().await.unwrap_err();
    assert_eq!(word(error.report().unwrap()), "aborted");
    assert!(world.runtime.instance(Slot::Blue).is_running());
    pipeline.retire_now().await.unwrap();
    assert!(!world.runtime.instance(Slot::Blue).is_running());
    assert_eq!(told.calls().last().unwrap().target.version().as_str(), "1");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_runs_its_hooks_after_it_and_a_failed_one_says_so() {
    let (world, told) = (world_with("1").await, Told::default());
    world.pipeline().deploy(release("2")).await.unwrap();
    let pipeline = told.at_all_places(canary(&world)).build().unwrap();
    let report = pipeline.rollback().await.unwrap();
    assert_eq!(ran(&report), ["after-rollback:h"]);
    assert_eq!(told.calls()[0].target.version().as_str(), "1");
    world.faults.on("router.shift", Fault::Fail);
    let error = pipeline.rollback().await.unwrap_err();
    assert_eq!(ran(error.report().unwrap()), ["after-failure:g"]);
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_runs_no_hooks() {
    let (world, told) = (world_with("1").await, Told::default());
    let pipeline = told.at_all_places(canary(&world)).build().unwrap();
    pipeline.deploy(release("1")).await.unwrap_err();
    pipeline.promote().await.unwrap_err();
    pipeline.rollback().await.unwrap_err();
    pipeline.recover().await.unwrap();
    assert!(told.calls().is_empty(), "{:?}", told.places());
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_cannot_be_told_apart_or_never_runs_is_refused_when_the_pipeline_is_built() {
    let world = World::new();
    let hook = || Told::default().hook();
    let refused = |builder: PipelineBuilder| {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.chain()
    };
    let named = |name: &str| canary(&world).hook(HookStep::after_health(name, hook()));
    assert!(refused(named("clear the cache")).contains("is not the name of a hook"));
    let twice = named("a").hook(HookStep::after_health("a", hook()));
    assert!(refused(twice).contains("is there twice for after-health"));
    let twice =
        canary(&world).hook(HookStep::before_each_shift("a", hook())).hook(HookStep::before_shift(10, "a", hook()));
    assert!(refused(twice).contains("is there twice for before-shift-10"));
    let never = canary(&world).hook(HookStep::before_shift(50, "a", hook()));
    assert!(refused(never).contains("the strategy has steps at [10, 100]"));
    let timeless = canary(&world).hook(HookStep::after_health("a", hook()).timeout(Duration::ZERO));
    assert!(refused(timeless).contains("time limit"));
    let fine = named("a").hook(HookStep::after_success("a", hook())).hook(HookStep::before_shift(100, "b", hook()));
    fine.build().unwrap();
}

fn dies_in(world: &World, step: HookStep) -> Pipeline {
    world.builder().retention(Retention::Retire).hook(step).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_death_in_a_hook_before_traffic_moves_goes_back_and_does_not_run_it_again() {
    for repeatable in [false, true] {
        for fault in [Fault::Die, Fault::ApplyThenDie] {
            let (world, told) = (world_with("1").await, Told::default());
            let step = |faults: &Faults| {
                HookStep::before_first_shift("cut", Faulty::new(told.hook(), faults)).repeatable(repeatable)
            };
            world.faults.on("hook.run", fault);
            let pipeline = dies_in(&world, step(&world.faults));
            assert!(world.faults.run(pipeline.deploy(release("2"))).await.is_none());
            let ran_before = told.calls().len();
            let quiet = Faults::new();
            let after = HookStep::after_failure("tell", Faulty::new(told.hook(), &quiet));
            let rescuer = world.builder_for(&quiet, "rescuer").hook(step(&quiet)).hook(after).build().unwrap();
            let report = rescuer.recover().await.unwrap();
            assert_eq!(word(&report), "aborted");
            assert!(report.notes.iter().any(|note| note.starts_with("before-shift-100:cut may have run")), "{report}");
            assert_eq!(ran(&report), ["after-failure:tell"]);
            let last = told.calls().pop().unwrap();
            assert_eq!(told.calls().len(), ran_before + 1);
            // It is told of the operation that died.
            assert_eq!((last.kind.to_string().as_str(), last.by.as_str()), ("deploy", "me"));
            world.assert_settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_in_a_hook_after_the_confirmation_goes_on_and_repeats_only_what_may_be_repeated() {
    for (repeatable, fault) in
        [false, true].into_iter().flat_map(|may| [Fault::Die, Fault::ApplyThenDie].map(|fault| (may, fault)))
    {
        for place in ["before-retire", "after-success"] {
            let (world, told) = (world_with("1").await, Told::default());
            let step = |faults: &Faults| {
                let hook = Faulty::new(told.hook(), faults);
                let step = match place {
                    "before-retire" => HookStep::before_retire("cut", hook),
                    _ => HookStep::after_success("cut", hook),
                };
                step.repeatable(repeatable)
            };
            world.faults.on("hook.run", fault);
            assert!(world.faults.run(dies_in(&world, step(&world.faults)).deploy(release("2"))).await.is_none());
            let ran_before = told.calls().len();
            let quiet = Faults::new();
            let rescuer = world.builder_for(&quiet, "rescuer").retention(Retention::Retire).hook(step(&quiet));
            let report = rescuer.build().unwrap().recover().await.unwrap();
            assert_eq!(word(&report), "succeeded", "{report}");
            let again = usize::from(repeatable);
            assert_eq!(told.calls().len(), ran_before + again, "{place}, {repeatable}, {fault:?}: {report}");
            let noted = report.notes.iter().any(|note| note.contains("is not run again"));
            assert_eq!(noted, !repeatable, "{report}");
            assert_eq!(world.live(), Some(Slot::Green));
            world.assert_settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_dropped_when_the_operation_is_cancelled() {
    let world = world_with("1").await;
    let cancel = bluegreen_core::CancellationToken::new();
    let dropped = Arc::new(());
    let held = dropped.clone();
    let hook = from_fn("wait", move |_| {
        let held = held.clone();
        async move {
            let _held = held;
            std::future::pending().await
        }
    });
    let builder = world.builder().cancel_on(cancel.clone()).hook(HookStep::before_first_shift("slow", hook));
    let pipeline = builder.build().unwrap();
    let deploy = tokio::spawn(async move { pipeline.deploy(release("2")).await });
    while Arc::strong_count(&dropped) < 3 {
        sleep(Duration::from_millis(100)).await;
    }
    cancel.cancel();
    let error = deploy.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), word(error.report().unwrap())), (ErrorKind::Cancelled, "aborted"));
    assert_eq!(Arc::strong_count(&dropped), 1, "what the hook held is free");
    world.assert_settled().await;
}
