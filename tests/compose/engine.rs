//! An engine that is restarted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bluegreen_core::event::What;
use bluegreen_core::{Event, Pipeline, Slot, observer};
use bluegreen_docker::{ComposeMigrator, Engine};

use crate::own_engine::OwnEngine;
use crate::parts::{Images, get, parts_are_here, turn};
use crate::server::{Server, ending, eventually, none_failed};

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
    let server = Server::with(Images::new(Engine::local().at(&address)), turn);
    let pipeline = || {
        let runtime = server.shop.runtime().docker_host(&address).build().unwrap();
        let migrator = ComposeMigrator::exec(&runtime, "api").expand(["/shop", "migrate"]).build().unwrap();
        server.builder().runtime(runtime).migrator(migrator)
    };
    server.deploy_by(&pipeline().build().unwrap(), "1.0.0", "none").await.unwrap();
    server.images.publish("1.1.0", "none").await;
    server.images.publish("1.2.0", "none").await;

    let (engine, done) = (Arc::new(Mutex::new(engine)), AtomicBool::new(false));
    let restarts = engine.clone();
    let restarter = observer::from_fn(move |event: &Event| {
        let starts = event.step.is_some_and(|step| step.to_string() == "start");
        if starts && matches!(event.what, What::StepStarted { .. }) && !done.swap(true, Ordering::Relaxed) {
            let engine = restarts.clone();
            std::thread::spawn(move || {
                let mut engine = engine.lock().unwrap();
                engine.wait_for_containers(4);
                engine.restart();
            });
        }
    });
    let interrupted = pipeline().observer(restarter).build().unwrap();
    let result = interrupted.deploy(server.shop.release("1.1.0").unwrap()).await;
    let (word, error) = ending(result);
    assert!(["aborted", "STUCK"].contains(&word), "{}", error.chain());
    eventually("the live slot is up again", async || {
        get(server.shop.public, "/version").is_ok_and(|answer| answer.ends_with("1.0.0"))
    })
    .await;

    let whole: Pipeline = pipeline().build().unwrap();
    whole.recover().await.unwrap();
    let status = whole.status().await.unwrap();
    assert!(status.agrees() && status.observed.live == Some(Slot::Blue), "{status}");
    let clients = server.clients(150);
    whole.deploy(server.shop.release("1.2.0").unwrap()).await.unwrap();
    let status = whole.status().await.unwrap();
    assert!(status.agrees() && status.observed.live == Some(Slot::Green), "{status}");
    assert_eq!(server.public_version(), "1.2.0");
    none_failed(clients).await;
}
