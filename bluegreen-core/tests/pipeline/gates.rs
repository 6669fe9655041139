use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::gates::{BadRequests, RateGate};
use bluegreen_core::pipeline::{Strategy, TrafficStep, Undecided};
use bluegreen_core::testing::{Fault, Faulty, ScriptedGate};
use bluegreen_core::{
    Error, ErrorKind, Event, Gate, Instance, LogMatches, PerSlot, Result, Slot, Target, Verdict, Window,
};
use tokio::time::Instant;

use crate::world::{World, release, seconds};

fn pass() -> Verdict {
    Verdict::Pass { evidence: "0 of 4,000 requests failed".into() }
}

fn fail() -> Verdict {
    Verdict::Fail { reason: "9 of 180 requests failed".into() }
}

fn undecided() -> Verdict {
    Verdict::Undecided { needs: "at least 100 more requests".into() }
}

fn canary() -> Strategy {
    Strategy::canary([TrafficStep::new(10, seconds(60)), TrafficStep::new(100, Duration::ZERO)]).bake(seconds(300))
}

async fn live(world: &World) {
    world.pipeline().deploy(release("1")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_gate_rolls_back_at_once_and_says_why() {
    let world = World::new();
    live(&world).await;
    let gate = ScriptedGate::new([undecided(), undecided(), fail()]);
    let began = Instant::now();
    let error = world.builder().strategy(canary()).gate(gate).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert!(began.elapsed() < seconds(10), "not at the end of the soak: {:?}", began.elapsed());
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back");
    assert!(error.to_string().contains("9 of 180 requests failed"), "{error}");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_fails_during_the_bake_still_rolls_back() {
    let world = World::new();
    live(&world).await;
    let mut verdicts = vec![pass(); 100];
    verdicts.push(fail());
    let gate = ScriptedGate::new(verdicts);
    let error = world.builder().strategy(canary()).gate(gate).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("bake"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

/// Notes what it is asked.
#[derive(Debug, Clone, Default)]
struct Noting(Arc<Mutex<Vec<String>>>);

impl fmt::Display for Noting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("noting gate")
    }
}

#[async_trait::async_trait]
impl Gate for Noting {
    async fn judge(&self, _: &Window) -> Result<Verdict> {
        self.0.lock().unwrap().push("judge".to_owned());
        Ok(pass())
    }

    async fn learn(&self, live: &Target, instance: &Instance) -> Result<()> {
        assert!(instance.is_running());
        self.0.lock().unwrap().push(format!("learn {}", live.version()));
        Err(Error::new(ErrorKind::Unreachable, "connection refused"))
    }
}

#[tokio::test(start_paused = true)]
async fn gates_learn_from_the_live_release_while_the_new_one_is_brought_up_and_what_fails_there_stops_nothing() {
    let world = World::new();
    live(&world).await;
    let gate = Noting::default();
    let slow = world.builder().check_interval(seconds(5)).strategy(canary()).gate(gate.clone());
    slow.build().unwrap().deploy(release("2")).await.unwrap();
    let asked = gate.0.lock().unwrap();
    let learned = asked.iter().take_while(|what| *what == "learn 1").count();
    assert!(learned >= 5, "{asked:?}");
    assert!(asked[learned..].iter().all(|what| what == "judge"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_does_not_shorten_the_soak() {
    let world = World::new();
    live(&world).await;
    let began = Instant::now();
    let pipeline = world.builder().strategy(canary()).gate(ScriptedGate::new([pass()])).build().unwrap();
    pipeline.deploy(release("2")).await.unwrap();
    assert!(began.elapsed() >= seconds(360));
}

#[tokio::test(start_paused = true)]
async fn undecided_extends_the_soak_and_then_holds_aborts_or_accepts_by_policy() {
    for (policy, word) in
        [(Undecided::Hold, "held"), (Undecided::Abort, "rolled back"), (Undecided::Accept, "succeeded")]
    {
        let world = World::new();
        live(&world).await;
        let gate = ScriptedGate::new([undecided()]);
        let strategy = Strategy::canary([TrafficStep::new(10, seconds(60)), TrafficStep::new(100, Duration::ZERO)]);
        let pipeline = world.builder().strategy(strategy.when_undecided(policy)).gate(gate).build().unwrap();
        let began = Instant::now();
        let result = pipeline.deploy(release("2")).await;
        let took = began.elapsed();
        let report = match &result {
            Ok(report) => report,
            Err(error) => error.report().unwrap(),
        };
        assert_eq!(report.outcome.word(), word);
        assert!(took >= seconds(180) && took < seconds(200), "{took:?}");
        let events = world.events.lock().unwrap().clone();
        let extended = |event: &&Event| match &event.what {
            EventKind::Note { text } => text.contains("soak-10: extended by at most 2 min: scripted gate"),
            _ => false,
        };
        assert_eq!(events.iter().filter(extended).count(), 1, "who watches knows that it does not hang");
        if policy == Undecided::Accept {
            assert!(report.notes.iter().any(|note| note.contains("accepted without a verdict")), "{report}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_cannot_be_asked_or_hangs_never_passes() {
    for fault in [Fault::Fail, Fault::Hang] {
        let world = World::new();
        live(&world).await;
        let gate = Faulty::new(ScriptedGate::new([pass()]), &world.faults);
        for _ in 0..400 {
            world.faults.on("gate.judge", fault);
        }
        let error =
            world.builder().strategy(canary()).gate(gate).build().unwrap().deploy(release("2")).await.unwrap_err();
        assert_eq!(error.report().unwrap().outcome.word(), "held", "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_looks_that_fail_in_a_soak_say_nothing_about_the_release() {
    let world = World::new();
    live(&world).await;
    let faults = world.faults.clone();
    world.faults.witness(move |call| {
        if call == "after router.shift to 90 % blue / 10 % green" {
            faults.on("runtime.inspect green", Fault::Fail);
            faults.on("runtime.inspect green", Fault::Hang);
        }
    });
    world.builder().strategy(canary()).build().unwrap().deploy(release("2")).await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_environment_holds_the_traffic_where_it_is() {
    let world = World::new();
    live(&world).await;
    let gate = ScriptedGate::new([Verdict::Hold { reason: "both slots fail".into() }]);
    // Whatever the policy about a lack of evidence says.
    let strategy = canary().when_undecided(Undecided::Accept);
    let error = world.builder().strategy(strategy).gate(gate).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "held");
    assert_eq!(world.router.split().unwrap().share(Slot::Green), 10);
}

#[tokio::test(start_paused = true)]
async fn a_slot_of_which_a_part_dies_during_a_bake_fails_at_once_without_any_gate() {
    let world = World::new();
    live(&world).await;
    let runtime = world.runtime.clone();
    let degrade = bluegreen_core::observer::from_fn(move |event: &Event| {
        if matches!(event.what, EventKind::Soaking { .. }) {
            runtime.degrade(Slot::Green, "api: exit status 1");
        }
    });
    // What still runs answers the checks.
    let builder = world.builder().strategy(Strategy::blue_green().bake(seconds(60))).observer(degrade);
    let error = builder.build().unwrap().deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("green died under traffic: degraded 2 (api: exit status 1)"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_dies_during_a_soak_fails_at_once_without_any_gate() {
    let world = World::new();
    live(&world).await;
    let runtime = world.runtime.clone();
    world.faults.witness(move |call| {
        if call == "after router.shift to 90 % blue / 10 % green" {
            runtime.crash(Slot::Green, "killed by signal 9");
        }
    });
    let error = world.builder().strategy(canary()).build().unwrap().deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("green died under traffic"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back");
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

/// Each slot writes a line at each tick, and exceptions at so many a minute of all traffic, by its share of it.
fn write_exceptions(world: &World, rates: PerSlot<f64>) -> tokio::task::JoinHandle<()> {
    const TICK: Duration = Duration::from_millis(500);
    let (runtime, router) = (world.runtime.clone(), world.router.clone());
    tokio::spawn(async move {
        let mut due = PerSlot::new(0.0, 0.0);
        for number in 0_u64.. {
            tokio::time::sleep(TICK).await;
            for slot in Slot::BOTH {
                runtime.log(slot, &format!("{number} GET /cart 200"));
                let share = router.split().map_or(0, |split| split.share(slot));
                due[slot] += rates[slot] * f64::from(share) / 100.0 * TICK.as_secs_f64() / 60.0;
                while due[slot] >= 1.0 {
                    due[slot] -= 1.0;
                    runtime.log(slot, &format!("{number} [error] no such item"));
                }
            }
        }
    })
}

async fn deploy_under_exceptions(rates: PerSlot<f64>) -> Result<bluegreen_core::Report> {
    let world = World::new();
    live(&world).await;
    let writes = write_exceptions(&world, rates);
    let source = LogMatches::per_minute(world.runtime.clone(), world.router.clone(), |line| line.contains("[error]"));
    let exceptions = BadRequests::PerMinute("exceptions".into());
    let gate = RateGate::builder(exceptions, source).limit_per_minute(2.0).build().unwrap();
    let half = TrafficStep::new(50, seconds(60)).max_soak(seconds(3600));
    let strategy = Strategy::canary([half, TrafficStep::new(100, Duration::ZERO)]);
    let ended = world.builder().strategy(strategy).gate(gate).build().unwrap().deploy(release("2")).await;
    writes.abort();
    ended
}

#[tokio::test(start_paused = true)]
async fn a_release_that_writes_more_exceptions_than_its_limit_and_the_old_one_is_rolled_back() {
    let error = deploy_under_exceptions(PerSlot::new(0.5, 30.0)).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back");
    let told = error.chain();
    assert!(told.contains("of all traffic") && !told.contains("requests"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_writes_as_few_exceptions_as_the_old_one_gets_all_traffic() {
    let report = deploy_under_exceptions(PerSlot::new(0.2, 0.2)).await.unwrap();
    assert!(report.to_string().contains("the limit is 2 a minute"), "{report}");
}
