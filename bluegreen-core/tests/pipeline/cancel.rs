use std::time::Duration;

use bluegreen_core::pipeline::{Strategy, TrafficStep};
use bluegreen_core::testing::Fault;
use bluegreen_core::{ErrorKind, Slot};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::world::{World, release, seconds};

#[tokio::test(start_paused = true)]
async fn a_cancelled_deploy_unwinds_reports_and_gives_the_lease_back() {
    let steps =
        ["runtime.prepare", "runtime.start", "health.check green", "router.attach", "router.shift", "public.check"];
    for call in steps {
        let world = World::new();
        world.pipeline().deploy(release("1")).await.unwrap();
        world.faults.on(call, Fault::Hang);
        let cancel = CancellationToken::new();
        let pipeline = world.builder().cancel_on(cancel.clone()).check_timeout(seconds(600)).build().unwrap();
        let deploy = tokio::spawn(async move { pipeline.deploy(release("2")).await });
        tokio::time::sleep(seconds(20)).await;
        cancel.cancel();
        let error = deploy.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{call}: {error}");
        assert_eq!(world.live(), Some(Slot::Blue), "{call}");
        assert!(!world.runtime.instance(Slot::Green).is_running(), "{call}");
        world.assert_settled().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_soak_brings_the_traffic_back() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    let cancel = CancellationToken::new();
    let steps = [TrafficStep::new(10, seconds(600)), TrafficStep::new(100, Duration::ZERO)];
    let pipeline = world.builder().strategy(Strategy::canary(steps)).cancel_on(cancel.clone()).build().unwrap();
    let deploy = tokio::spawn(async move { pipeline.deploy(release("2")).await });
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(world.router.split().unwrap().share(Slot::Green), 10);
    cancel.cancel();
    let error = deploy.await.unwrap().unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back");
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_recovery_that_is_cancelled_leaves_the_dead_operation_for_the_next_one() {
    let world = World::new();
    world.pipeline().deploy(release("1")).await.unwrap();
    world.pipeline().deploy(release("2")).await.unwrap();
    world.faults.on("public.check", Fault::Die);
    assert!(world.faults.run(world.pipeline().rollback()).await.is_none());
    world.faults.on("public.check", Fault::Hang);
    let cancel = CancellationToken::new();
    let pipeline = world.builder().cancel_on(cancel.clone()).check_timeout(seconds(600)).build().unwrap();
    let recover = tokio::spawn(async move { pipeline.recover().await });
    tokio::time::sleep(seconds(40)).await;
    cancel.cancel();
    assert_eq!(recover.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(world.state().operation.is_some() && world.state().lease.is_none());
    world.recover().await.unwrap();
    assert_eq!(world.live(), Some(Slot::Blue));
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_cancelled_before_the_beginning_does_nothing() {
    let world = World::new();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = world.builder().cancel_on(cancel).build().unwrap().deploy(release("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(world.faults.log().calls_of(&["runtime.prepare", "runtime.start", "router.shift"]).is_empty());
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_of_one_operation_cancels_that_one_and_the_pipelines_own_cancels_all() {
    let world = World::new();
    let (of_all, of_one) = (CancellationToken::new(), CancellationToken::new());
    let pipeline = world.builder().cancel_on(of_all.clone()).build().unwrap();
    of_one.cancel();
    let error = pipeline.cancel_on(of_one).deploy(release("1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    pipeline.deploy(release("2")).await.unwrap();
    of_all.cancel();
    for pipeline in [pipeline.cancel_on(CancellationToken::new()), pipeline] {
        assert_eq!(pipeline.deploy(release("3")).await.unwrap_err().kind(), ErrorKind::Cancelled);
    }
    world.assert_settled().await;
}

#[tokio::test(start_paused = true)]
async fn logs_are_read_and_followed_through_the_pipeline() {
    let world = World::new();
    let pipeline = world.pipeline();
    pipeline.deploy(release("1")).await.unwrap();
    let read = pipeline.logs(Slot::Blue, 1).await.unwrap();
    let mut log = Box::pin(pipeline.follow_logs(Slot::Blue, 1));
    assert_eq!(log.next().await.unwrap().unwrap(), read[0]);
    world.runtime.log(Slot::Blue, "one more line");
    assert_eq!(log.next().await.unwrap().unwrap(), "one more line");
    world.faults.on("runtime.logs", Fault::Fail);
    world.runtime.log(Slot::Blue, "and another");
    assert!(log.next().await.unwrap().is_err());
    assert_eq!(log.next().await.unwrap().unwrap(), "and another", "the stream goes on after an error");
}
