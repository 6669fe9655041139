//! What programs read: the JSON of events, reports and the state document is what `docs/json-schema.json` says.

use bluegreen_core::pipeline::{Strategy, TrafficStep};
use bluegreen_core::testing::{Fault, ScriptedGate};
use bluegreen_core::{Report, Slot, Verdict};
use jsonschema::Validator;
use serde::Serialize;
use serde_json::{Value, json};

use crate::world::{World, release, seconds};

const SCHEMA: &str = include_str!("../../../docs/json-schema.json");

/// The schema of one of the documents. Members that it does not name are errors.
fn schema_of(name: &str) -> Validator {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    schema["$ref"] = json!(format!("#/$defs/{name}"));
    jsonschema::validator_for(&schema).unwrap()
}

fn assert_valid(schema: &Validator, value: &impl Serialize) {
    let value = serde_json::to_value(value).unwrap();
    let errors: Vec<_> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{value:#}\n{}", errors.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn events_reports_and_state_are_what_the_schema_says() {
    let world = World::new();
    let mut reports: Vec<Report> = Vec::new();
    let mut states = Vec::new();
    let mut keep = async |result: bluegreen_core::Result<Report>| {
        reports.push(result.unwrap_or_else(|error| error.report().unwrap().clone()));
        states.push(world.state());
    };
    keep(world.pipeline().deploy(release("1")).await).await;
    let gate = ScriptedGate::new([Verdict::Undecided { needs: "needs 9 more requests".into() }]);
    let steps = [TrafficStep::new(10, seconds(60)), TrafficStep::new(100, seconds(0))];
    let canary = world.builder().strategy(Strategy::canary(steps)).gate(gate).build().unwrap();
    keep(canary.deploy(release("2")).await).await;
    keep(world.pipeline().rollback().await).await;
    world.router.set_in_flight(Slot::Blue, 3);
    for call in ["runtime.start", "public.check", "router.shift"] {
        world.faults.on(call, Fault::Fail);
        keep(world.pipeline().deploy(release("3")).await).await;
    }
    world.faults.on("runtime.prepare", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("4"))).await.is_none(), "it died");
    let dead = world.state();
    assert!(dead.operation.is_some() && dead.lease.is_some());
    keep(world.pipeline().recover().await).await;
    keep(world.pipeline().retire_now().await).await;
    keep(world.pipeline().deploy(release("1")).await).await;

    let (event, report, state) = (schema_of("event"), schema_of("report"), schema_of("state"));
    let events = world.events.lock().unwrap().clone();
    events.iter().for_each(|value| assert_valid(&event, value));
    reports.iter().for_each(|value| assert_valid(&report, value));
    states.iter().chain([&dead]).for_each(|value| assert_valid(&state, value));
    let mut kinds: Vec<_> = events.iter().map(|value| serde_json::to_value(value).unwrap()["event"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    kinds.dedup();
    for kind in
        ["begun", "checked", "draining", "finished", "shifted", "soaking", "step-done", "step-failed", "step-started"]
    {
        assert!(kinds.contains(&json!(kind)), "no {kind} in {kinds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_a_fleet_is_what_the_schema_says() {
    let yard = crate::fleet::yard::Yard::new(3);
    let pipeline = yard.lenient(1);
    let mut reports = vec![pipeline.deploy(release("1")).await.unwrap()];
    yard.faults.on("m1.start", Fault::Fail);
    reports.push(pipeline.deploy(release("2")).await.unwrap());
    let behind = yard.state();
    reports.push(pipeline.resume(release("2")).await.unwrap());
    let (event, report, state) = (schema_of("event"), schema_of("report"), schema_of("state"));
    let events = yard.events.lock().unwrap().clone();
    events.iter().for_each(|value| assert_valid(&event, value));
    reports.iter().for_each(|value| assert_valid(&report, value));
    [behind, yard.state()].iter().for_each(|value| assert_valid(&state, value));
    let changes: Vec<_> = events.iter().map(|value| serde_json::to_value(value).unwrap()["change"].clone()).collect();
    for change in ["set-aside", "rejoined", "switched"] {
        assert!(changes.contains(&json!(change)), "no {change}");
    }
}

#[test]
fn the_schema_refuses_what_is_not_documented() {
    let event = json!({
        "at": "2026-11-30T08:00:00.000Z", "service": "shop", "operation": "op-1", "kind": "deploy", "event": "begun",
    });
    let schema = schema_of("event");
    assert!(schema.is_valid(&event));
    for (name, value) in [("at", json!("2026-11-30T08:00:00Z")), ("surprise", json!(1)), ("slot", json!("red"))] {
        let mut other = event.clone();
        other[name] = value;
        assert!(!schema.is_valid(&other), "{other}");
    }
}
