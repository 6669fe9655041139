use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bluegreen_core::event::EventKind;
use bluegreen_core::memory::MemoryRouter;
use bluegreen_core::state::State;
use bluegreen_core::testing::{Fault, Faults};
use bluegreen_core::{
    Error, ErrorKind, Granularity, Instance, Reason, Result, Revision, Router, ServiceName, Slot, Split, StateStore,
    Versioned,
};

use crate::world::{World, release, seconds, service, version};

#[tokio::test(start_paused = true)]
async fn a_second_deployer_is_refused_and_told_who_since_when_and_which_step() {
    let world = World::new();
    world.faults.on("runtime.prepare", Fault::Hang);
    let first = tokio::spawn({
        let pipeline = world.builder().prepare_timeout(seconds(600)).build().unwrap();
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
    let error = world.builder().prepare_timeout(seconds(3600)).build().unwrap().deploy(release("1")).await.unwrap_err();
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
                    lease.id = bluegreen_core::OperationId::new("lease-of-another").unwrap();
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
    let pipeline = world.builder().prepare_timeout(seconds(3600)).build().unwrap();
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
    let error = world.builder().prepare_timeout(seconds(3600)).build().unwrap().deploy(release("1")).await.unwrap_err();
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
    assert_eq!(error.report().unwrap().outcome.word(), "aborted");
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
async fn of_two_holders_after_a_lost_document_only_the_later_one_acts() {
    let world = World::new();
    world.faults.on("runtime.prepare", Fault::Hang);
    let first = tokio::spawn({
        let pipeline = world.builder().prepare_timeout(seconds(20)).build().unwrap();
        async move { pipeline.deploy(release("1")).await }
    });
    tokio::time::sleep(seconds(2)).await;
    // Both are the first holder of their document.
    world.store.lose(&service());
    let quiet = Faults::new();
    world.builder_for(&quiet, "you").build().unwrap().deploy(release("2")).await.unwrap();
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::LeaseLost), "{error}");
    assert!(world.faults.log().calls_of(&["runtime.start", "router.shift", "runtime.stop"]).is_empty());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_document_that_vanishes_under_its_holder_is_an_error_for_it() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let store = world.store.clone();
    world.faults.witness(move |call| {
        if call == "after runtime.prepare green 2" {
            store.lose(&service());
        }
    });
    world.faults.log().clear();
    let error = world.pipeline().deploy(release("2")).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::LeaseLost), "{error}");
    assert!(error.to_string().contains("the state document is gone"), "{error}");
    assert!(world.faults.log().calls_of(&["runtime.start", "router.shift", "runtime.stop"]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_claim_on_a_missing_document_whose_service_runs_says_so() {
    let world = World::new();
    world.runtime.start_by_hand(Slot::Blue, version("1"));
    let report = world.pipeline().deploy(release("2")).await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("there is no record")), "{report}");
}

/// A router that takes longer to answer, once, than a lease lasts, as for a process that is stopped meanwhile. The timers and
/// the answer are due at the same moment when it goes on.
#[derive(Debug)]
struct Suspending {
    inner: MemoryRouter,
    next: Arc<AtomicBool>,
}

impl std::fmt::Display for Suspending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("router")
    }
}

#[async_trait::async_trait]
impl Router for Suspending {
    fn granularity(&self) -> Granularity {
        self.inner.granularity()
    }

    async fn current(&self) -> Result<Option<Split>> {
        if self.next.swap(false, Ordering::Relaxed) {
            tokio::time::advance(seconds(60)).await;
        }
        self.inner.current().await
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        self.inner.attach(slot, instance).await
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        self.inner.shift(from, to).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        self.inner.in_flight(slot).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_suspended_for_longer_than_the_ttl_does_not_finish_what_it_was_about_to_do() {
    let world = World::new();
    for version in ["1", "2"] {
        world.pipeline().deploy(release(version)).await.unwrap();
    }
    let next = Arc::new(AtomicBool::new(false));
    let armed = next.clone();
    world.faults.witness(move |call| {
        if call == "after runtime.prepare blue 3" {
            // The next question is whether the retained release, which is to be stopped, has traffic.
            armed.store(true, Ordering::Relaxed);
        }
    });
    let router = Suspending { inner: world.router.clone(), next };
    world.faults.log().clear();
    let error = world.builder().router(router).build().unwrap().deploy(release("3")).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::LeaseLost), "{error}");
    assert!(world.faults.log().calls_of(&["runtime.stop"]).is_empty(), "{:?}", world.faults.log().calls());
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_process_is_gone_from_this_machine_is_taken_over_at_once() {
    let world = World::new();
    world.faults.on("runtime.start", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("1"))).await.is_none());
    world.store.edit(&service(), |state| {
        let lease = state.lease.as_mut().unwrap();
        let mut json = serde_json::to_value(&*lease).unwrap();
        // As of a process of this boot that has this process's number and began at another time.
        let process = json["process"].as_str().unwrap().rsplit_once(' ').unwrap().0.to_owned();
        json["process"] = format!("{process} 1").into();
        *lease = serde_json::from_value(json).unwrap();
    });
    let began = tokio::time::Instant::now();
    let report = world.recover().await.unwrap();
    assert!(began.elapsed() < seconds(5), "{:?}", began.elapsed());
    assert!(report.notes.iter().any(|note| note.contains("gone from this machine")), "{report}");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_recovery_says_how_long_it_waits_and_for_whom() {
    let world = World::new();
    world.faults.on("runtime.start", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("1"))).await.is_none());
    world.events.lock().unwrap().clear();
    let report = world.recover().await.unwrap();
    let events = world.events.lock().unwrap();
    let first = events.first().map(|event| event.what.clone());
    assert!(
        matches!(&first, Some(EventKind::Note { text }) if text.starts_with("waiting 15.0 s to see whether me, who holds the lease")),
        "{first:?}"
    );
    let text = report.to_string();
    assert!(text.starts_with("recovered shop 1 (blue): undone; no traffic had moved\n"), "{text}");
    assert!(text.contains("cause: the deployer me died in start\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn recoveries_that_fail_again_and_again_do_not_make_the_document_grow() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.faults.on("runtime.start", Fault::Die);
    assert!(world.faults.run(world.pipeline().deploy(release("2"))).await.is_none());
    let mut sizes = Vec::new();
    for _ in 0..20 {
        for slot in Slot::BOTH {
            world.runtime.set_reachable(slot, false);
        }
        world.recover().await.unwrap_err();
        sizes.push(world.state().to_bytes().unwrap().len());
    }
    // The epoch gets longer.
    assert!(sizes[19] <= sizes[1] + 5, "{sizes:?}");
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

/// Says who holds its lock, once it has waited for it.
#[derive(Debug)]
struct Locked<S>(S);

impl<S: StateStore> std::fmt::Display for Locked<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a store that is locked")
    }
}

#[async_trait::async_trait]
impl<S: StateStore> StateStore for Locked<S> {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        self.0.load(service).await
    }

    async fn commit(&self, _: &ServiceName, _: Option<&Revision>, _: &State) -> Result<Revision> {
        tokio::time::sleep(seconds(10)).await;
        Err(Error::new(ErrorKind::Timeout, "another process has held the lock").not_applied().with_hint("end it"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_waits_long_enough_to_hear_from_the_store_who_holds_its_lock() {
    let world = World::new();
    let store = Locked(world.store.clone());
    let pipeline = world.builder().store(store).lease_ttl(seconds(6)).build().unwrap();
    let error = pipeline.deploy(release("1")).await.unwrap_err();
    assert!(error.chain().contains("another process has held the lock"), "{}", error.chain());
}
