//! An engine that is restarted, and one whose disk is full.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bluegreen_core::event::EventKind;
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::{Event, Host, LocalHost, Pipeline, Slot, observer};
use bluegreen_testkit::http::get;
use bluegreen_testkit::patience::eventually;

use crate::own_engine::OwnEngine;
use crate::parts::{Images, parts_are_here, turn};
use crate::server::{Server, ending, none_failed, quick};

/// The example's pipeline on another engine of this machine.
fn on(server: &Server, engine: &str) -> PipelineBuilder {
    let here: Arc<dyn Host> = Arc::new(LocalHost::new());
    quick(server.shop.pipeline_on(&here, server.shop.runtime().docker_host(engine)).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_ends_the_deploy_before_anything_is_changed_and_says_what_to_do() {
    if !parts_are_here() {
        return;
    }
    let turn = turn().await;
    let Some(engine) = OwnEngine::with_disk(40) else { return };
    let server = Server::with(Images::new(), turn);
    let pipeline = on(&server, &engine.address()).build().unwrap();
    server.deploy_by(&pipeline, "1.0.0", "none").await.unwrap();
    server.deploy_by(&pipeline, "1.1.0", "none").await.unwrap();
    let clients = server.clients(150);

    server.images.publish_noise("2.0.0", 60 << 20).await;
    let (word, error) = ending(pipeline.deploy(server.shop.release("2.0.0").unwrap()).await);
    assert_eq!(word, "aborted", "{}", error.chain());
    assert!(error.chain().contains("no space left") && error.chain().contains("free disk space"), "{}", error.chain());
    let status = pipeline.status().await.unwrap();
    assert!(status.agrees() && status.observed.live == Some(Slot::Green), "{status}");
    assert!(status.observed.slot(Slot::Blue).is_running(), "the way back is still there: {status}");

    // What arrived of it is not left behind.
    server.deploy_by(&pipeline, "1.2.0", "none").await.unwrap();
    assert_eq!(server.public_version(), "1.2.0");
    none_failed(clients).await;
}

/// The live slot goes down with its engine, and comes up with it: that is what its users notice. What is tested is that
/// the tool says what happened, and leaves nothing that stands in the way.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_restarted_in_the_middle_of_a_deploy_is_told_and_the_next_deploy_goes_well() {
    if !parts_are_here() {
        return;
    }
    let turn = turn().await;
    let Some(engine) = OwnEngine::start() else { return };
    let address = engine.address();
    let server = Server::with(Images::by(&address), turn);
    let pipeline = || on(&server, &address);
    server.deploy_by(&pipeline().build().unwrap(), "1.0.0", "none").await.unwrap();
    server.images.publish("1.1.0", "none").await;
    server.images.publish("1.2.0", "none").await;

    let (engine, done) = (Arc::new(Mutex::new(engine)), AtomicBool::new(false));
    let (restarted, is_restarted) = std::sync::mpsc::channel();
    let restarts = engine.clone();
    let restarter = observer::from_fn(move |event: &Event| {
        let starts = event.step.is_some_and(|step| step.to_string() == "start");
        if starts && matches!(event.what, EventKind::StepStarted { .. }) && !done.swap(true, Ordering::Relaxed) {
            let (engine, restarted) = (restarts.clone(), restarted.clone());
            std::thread::spawn(move || {
                let mut engine = engine.lock().unwrap();
                engine.wait_for_containers(4);
                engine.restart();
                restarted.send(()).unwrap();
            });
        }
    });
    let interrupted = pipeline().observer(restarter).build().unwrap();
    let result = interrupted.deploy(server.shop.release("1.1.0").unwrap()).await;
    tokio::task::spawn_blocking(move || is_restarted.recv().unwrap()).await.unwrap();
    // Where the restart is over before its health is asked for, the engine has brought it up again, and it is well.
    let (version, slot) = if result.is_ok() { ("1.1.0", Slot::Green) } else { ("1.0.0", Slot::Blue) };
    if result.is_err() {
        let (word, error) = ending(result);
        assert!(["aborted", "STUCK"].contains(&word), "{}", error.chain());
    }
    eventually("the live slot is up again", async || {
        get(server.shop.public, "/version").is_ok_and(|answer| answer.ends_with(version))
    })
    .await;

    let whole: Pipeline = pipeline().build().unwrap();
    whole.recover().await.unwrap();
    let status = whole.status().await.unwrap();
    assert!(status.agrees() && status.observed.live == Some(slot), "{status}");
    let clients = server.clients(150);
    whole.deploy(server.shop.release("1.2.0").unwrap()).await.unwrap();
    let status = whole.status().await.unwrap();
    assert!(status.agrees() && status.observed.live == Some(slot.other()), "{status}");
    assert_eq!(server.public_version(), "1.2.0");
    none_failed(clients).await;
}
