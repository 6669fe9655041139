use std::sync::atomic::{AtomicBool, Ordering};

use bluegreen_core::testing::{Fault, Faults};
use bluegreen_core::{ErrorKind, Slot};

use crate::world::{World, release, seconds, service};

#[tokio::test(start_paused = true)]
async fn a_second_deployer_is_refused_and_told_who_since_when_and_which_step() {
    let world = World::new();
    world.faults.on("runtime.prepare", Fault::Hang);
    let first = tokio::spawn({
        let pipeline = world.builder().prepare_limit(seconds(600)).build().unwrap();
        async move { pipeline.deploy(release("1")).await }
    });
    tokio::time::sleep(seconds(100)).await;
    let quiet = Faults::new();
    let second = world.builder_for(&quiet, "you@elsewhere").build().unwrap();
    let error = second.deploy(release("2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let text = error.to_string();
    for part in ["me holds the lease since 2030-01-01T00:00:00", "deploy of 1", "step prepare"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error = second.recover().await.unwrap_err();
    assert!(error.to_string().contains("me holds the lease"), "a holder that is alive is not taken over: {error}");
    first.abort();
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_taken_over_only_after_a_whole_ttl() {
    let world = World::new();
    world.faults.on("runtime.start", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("1"))).await.is_none());
    let began = tokio::time::Instant::now();
    world.recover().await.unwrap();
    assert!(began.elapsed() >= seconds(15), "{:?}", began.elapsed());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_goes_on_for_as_long_as_a_step_takes() {
    let world = World::new();
    world.faults.on("runtime.prepare", Fault::Hang);
    let error = world.builder().prepare_limit(seconds(3600)).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "aborted");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_lease_was_taken_stops_before_its_next_side_effect() {
    let world = World::new();
    let store = world.store.clone();
    world.faults.witness(move |call| {
        if call == "after runtime.prepare blue 1" {
            store.edit(&service(), |state| state.lease = None);
        }
    });
    let error = world.pipeline().deploy(release("1")).await.unwrap_err();
    assert!(error.to_string().contains("the lease is lost"), "{error}");
    assert!(world.faults.log().calls_of(&["runtime.start", "router.shift", "runtime.stop"]).is_empty());
    world.recover().await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_another_has_taken_over_from_stops_and_says_who_that_is() {
    let world = World::new();
    let store = world.store.clone();
    world.faults.witness(move |call| {
        if call == "after runtime.prepare blue 1" {
            store.edit(&service(), |state| {
                state.epoch += 1;
                if let Some(lease) = &mut state.lease {
                    lease.epoch = state.epoch;
                    lease.holder = "you@elsewhere".into();
                }
            });
        }
    });
    let error = world.pipeline().deploy(release("1")).await.unwrap_err();
    assert!(error.to_string().contains("you@elsewhere holds it now"), "{error}");
    assert!(world.faults.log().calls_of(&["runtime.start", "router.shift", "runtime.stop"]).is_empty());
    assert_eq!(world.state().lease.unwrap().holder, "you@elsewhere", "the other's lease is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_write_its_heartbeat_stops_before_anyone_may_take_over() {
    let world = World::new();
    // From some call on, the store hangs: no heartbeat arrives, while a long step runs.
    world.faults.on("runtime.prepare", Fault::Hang);
    for _ in 0..50 {
        world.faults.on("store.commit", Fault::Hang);
    }
    // The claim itself must get through.
    let quiet = Faults::new();
    let pipeline = world.builder_for(&quiet, "me").build().unwrap();
    pipeline.deploy(release("0")).await.unwrap();

    let began = tokio::time::Instant::now();
    let pipeline = world.builder().prepare_limit(seconds(3600)).build().unwrap();
    let error = pipeline.deploy(release("1")).await.unwrap_err();
    assert!(began.elapsed() <= seconds(15 + 5), "{:?}", began.elapsed());
    assert!(error.kind() == ErrorKind::Timeout || error.to_string().contains("lease"), "{error}");
    assert_eq!(world.live(), Some(Slot::Blue));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_gone_for_good_counts_as_a_lost_lease() {
    let world = World::new();
    world.faults.on("runtime.prepare", Fault::Hang);
    let reached = AtomicBool::new(false);
    world.faults.witness(move |call| match call {
        "before runtime.prepare blue 1" => reached.store(true, Ordering::Relaxed),
        "before store.commit" if reached.load(Ordering::Relaxed) => {
            panic!("a store that panics, as this test wants it")
        }
        _ => {}
    });
    let began = tokio::time::Instant::now();
    let error = world.builder().prepare_limit(seconds(3600)).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert!(error.to_string().contains("the lease is lost"), "{error}");
    assert!(began.elapsed() <= seconds(15), "before anyone may take over: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_stops_the_pipeline_before_the_side_effect() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    let store = world.faults.clone();
    let log = world.faults.log().clone();
    log.clear();
    world.faults.witness(move |call| {
        if call == "after runtime.prepare green 2" {
            for _ in 0..20 {
                store.on("store.commit", Fault::Fail);
            }
        }
    });
    let error = pipeline.deploy(release("2")).await.unwrap_err();
    assert!(error.to_string().contains("write the journal"), "{error}");
    assert_eq!(error.report().unwrap().outcome.word(), "STUCK");
    assert!(log.calls_of(&["runtime.start", "router.shift", "runtime.stop"]).is_empty());
    world.faults.clear();
    world.recover().await.unwrap();
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_store_is_not_a_lost_lease() {
    let world = World::new();
    for number in [2, 5, 9] {
        world.faults.at(number, Fault::ApplyThenFail);
    }
    world.faults.on("store.commit", Fault::ApplyThenFail);
    let result = world.pipeline().deploy(release("1")).await;
    if let Err(error) = result {
        assert!(!error.to_string().contains("lease is lost"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn unlock_takes_the_lease_away_and_says_whose_it_was() {
    let world = World::new();
    let pipeline = world.pipeline();
    assert_eq!(pipeline.unlock().await.unwrap(), None);
    world.faults.on("runtime.start", Fault::Die);
    assert!(world.faults.run(pipeline.deploy(release("1"))).await.is_none());
    assert_eq!(pipeline.unlock().await.unwrap().as_deref(), Some("me"));
    let began = tokio::time::Instant::now();
    world.recover().await.unwrap();
    assert!(began.elapsed() < seconds(10), "no ttl to wait for: {:?}", began.elapsed());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn of_many_that_begin_at_the_same_time_exactly_one_deploys() {
    let world = World::new();
    let contenders = (0..20).map(|number| {
        let pipeline = world.pipeline();
        tokio::spawn(async move { pipeline.deploy(release(&format!("1.{number}"))).await })
    });
    let results = futures::future::join_all(contenders.collect::<Vec<_>>()).await;
    let won = results.iter().filter(|result| result.as_ref().unwrap().is_ok()).count();
    assert_eq!(won, 1);
    assert_eq!(world.faults.log().calls_of(&["runtime.start"]).len(), 1);
    world.assert_settled().await;
}
