//! Undoing a deploy while the parts that it needs are away themselves.

use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::pipeline::{Outcome, PipelineBuilder};
use bluegreen_core::testing::{Fault, Faults, ScriptedHealth};
use bluegreen_core::{Error, Health, Slot, Split};
use tokio::time::Instant;

use crate::world::{World, release, seconds};

/// A pipeline whose public address never shows the new version: every deploy after the first is undone.
async fn failing(world: &World) -> PipelineBuilder {
    world.pipeline().deploy(release("1")).await.unwrap();
    world.builder().verify(ScriptedHealth::new([Health::unhealthy("bad gateway")])).verify_deadline(seconds(1))
}

fn fail(world: &World, call: &str, times: usize) {
    for _ in 0..times {
        world.faults.on(call, Fault::Fail);
    }
}

fn outcome(error: &Error) -> &Outcome {
    &error.report().unwrap().outcome
}

fn notes(world: &World) -> Vec<String> {
    let events = world.events.lock().unwrap();
    let noted = events.iter().filter_map(|event| match &event.what {
        EventKind::Note { text } => Some(text.clone()),
        _ => None,
    });
    noted.collect()
}

#[tokio::test(start_paused = true)]
async fn an_undo_outlasts_a_part_that_is_away_for_half_a_minute() {
    // Pauses of 1, 2, 4, 5, 5, 5, 5 and 5 seconds.
    for call in ["router.current", "runtime.inspect blue", "router.shift to 100 % blue", "runtime.stop green"] {
        let world = World::new();
        let pipeline = failing(&world).await.build().unwrap();
        let faults = world.faults.clone();
        world.faults.witness(move |now| {
            if now == "after router.shift to 100 % green" {
                (0..8).for_each(|_| faults.on(call, Fault::Fail));
            }
        });
        let began = Instant::now();
        let error = pipeline.deploy(release("2")).await.unwrap_err();
        assert_eq!(outcome(&error).word(), "rolled back", "{call}: {error}");
        assert!(began.elapsed() >= seconds(32), "{call}: {:?}", began.elapsed());
        assert_eq!(world.live(), Some(Slot::Blue), "{call}");
        assert!(!world.runtime.instance(Slot::Green).is_running(), "{call}");
        world.assert_settled().await;

        let told = notes(&world);
        assert_eq!(told.iter().filter(|note| note.contains("the undo is tried again in")).count(), 8, "{told:?}");
        assert!(told.iter().any(|note| note.contains("injected fault")), "with the reason: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_kept_alive_while_an_undo_waits() {
    let world = World::new();
    let pipeline = failing(&world).await.build().unwrap();
    fail(&world, "router.shift to 100 % blue", 10);
    let deploy = tokio::spawn(async move { pipeline.deploy(release("2")).await });
    tokio::time::sleep(seconds(40)).await;
    let rescuer = world.builder_for(&Faults::new(), "rescuer").build().unwrap();
    let refused = rescuer.recover().await.unwrap_err();
    assert!(refused.to_string().contains("me holds the lease"), "{refused}");
    let error = deploy.await.unwrap().unwrap_err();
    assert_eq!(outcome(&error).word(), "rolled back", "{error}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_undo_whose_lease_is_lost_while_it_waits_stops() {
    let world = World::new();
    let pipeline = failing(&world).await.build().unwrap();
    fail(&world, "router.shift to 100 % blue", 100);
    let deploy = tokio::spawn(async move { pipeline.deploy(release("2")).await });
    tokio::time::sleep(seconds(10)).await;
    world.pipeline().unlock().await.unwrap();
    let error = deploy.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("the lease is lost"), "{error}");
    let moves = world.faults.log().calls_of(&["router.shift to 100 % blue"]).len();
    world.faults.clear();
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(world.faults.log().calls_of(&["router.shift to 100 % blue"]).len(), moves, "nothing more is done");
    world.recover().await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_cannot_be_done_in_time_is_stuck_and_names_both_errors() {
    for (limit, least) in [(None, seconds(60)), (Some(seconds(7)), seconds(7)), (Some(Duration::ZERO), seconds(0))] {
        let world = World::new();
        let builder = failing(&world).await;
        let builder = limit.map_or(builder, |limit| failing_for(&world, limit));
        fail(&world, "router.shift to 100 % blue", 100);
        let began = Instant::now();
        let error = builder.build().unwrap().deploy(release("2")).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(outcome(&error).word(), "STUCK");
        assert!(text.contains("bad gateway") && text.contains("injected fault") && error.hint().is_some(), "{text}");
        assert!(began.elapsed() >= least && began.elapsed() < least + seconds(10), "{:?}", began.elapsed());
        assert!(world.runtime.instance(Slot::Green).is_running(), "what has traffic is not stopped");
        world.assert_settled().await;
    }
}

fn failing_for(world: &World, limit: Duration) -> PipelineBuilder {
    let verify = ScriptedHealth::new([Health::unhealthy("bad gateway")]);
    world.builder().verify(verify).verify_deadline(seconds(1)).undo_timeout(limit)
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_hung_once_is_tried_again() {
    let world = World::new();
    let pipeline = failing(&world).await.build().unwrap();
    world.faults.on("router.shift to 100 % blue", Fault::Hang);
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(outcome(&error).word(), "rolled back", "{error}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_ends_an_undo_at_once() {
    let world = World::new();
    let pipeline = failing(&world).await.build().unwrap();
    let router = world.router.clone();
    world.faults.witness(move |call| {
        // Someone else moves the traffic, in the moment of the undo.
        if call == "before router.shift to 100 % blue" {
            router.switch_by_hand(Some(Split::toward(Slot::Green, 30).unwrap()));
        }
    });
    let began = Instant::now();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(outcome(&error).word(), "STUCK", "{error}");
    assert!(error.to_string().contains("found 70 % blue / 30 % green"), "{error}");
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());

    let world = World::new();
    let pipeline = failing(&world).await.build().unwrap();
    let runtime = world.runtime.clone();
    world.faults.witness(move |call| {
        if call == "after router.shift to 100 % green" {
            runtime.crash(Slot::Blue, "exit status 137");
        }
    });
    let began = Instant::now();
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(outcome(&error).word(), "STUCK", "{error}");
    assert!(error.to_string().contains("traffic cannot go back to blue, which is stopped 1"), "{error}");
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_report_holds_as_many_lines_of_the_failed_slot_as_asked_for() {
    for (lines, kept) in [(None, 100), (Some(3), 3)] {
        let world = World::new();
        let builder = failing(&world).await;
        let pipeline = lines.map_or(builder, |lines| failing_for(&world, seconds(1)).log_lines(lines)).build().unwrap();
        let runtime = world.runtime.clone();
        world.faults.witness(move |call| {
            if call == "after router.shift to 100 % green" {
                (0..200).for_each(|number| runtime.log(Slot::Green, &format!("GET /{number}")));
            }
        });
        let error = pipeline.deploy(release("2")).await.unwrap_err();
        let logs = &error.report().unwrap().logs;
        assert_eq!((logs.len(), logs.last().map(String::as_str)), (kept, Some("GET /199")));
    }
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_does_not_keep_an_undo_from_its_end() {
    let world = World::new();
    let pipeline = failing(&world).await.build().unwrap();
    world.faults.on("router.shift to 100 % blue", Fault::ApplyThenFail);
    world.faults.on("runtime.stop green", Fault::Fail);
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert_eq!(outcome(&error).word(), "rolled back", "{error}");
    world.assert_settled().await;
}
