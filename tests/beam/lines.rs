//! A connection that is lost in the middle of a step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bluegreen_core::event::What;
use bluegreen_core::{Event, observer};
use tokio::sync::Mutex;

use crate::crashes::STEPS;
use crate::setup::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_is_killed_in_any_step_costs_no_request_and_the_deploy_ends_or_is_recovered() {
    let Some(server) = Server::start() else { return };
    server.deploy("0.1.0").await.unwrap();
    server.deploy("0.2.0").await.unwrap();
    let clients = server.clients();
    let server = Arc::new(Mutex::new(server));
    let mut live = "0.2.0".to_owned();
    for (number, (step, _)) in STEPS.iter().enumerate() {
        let version = format!("1.{number}.0");
        let killer = {
            let (server, done) = (server.clone(), AtomicBool::new(false));
            observer::from_fn(move |event: &Event| {
                let now = event.step.is_some_and(|now| now.to_string() == *step);
                let begins = now && matches!(event.what, What::StepStarted { .. });
                // The recovery has the same steps.
                if begins && !done.swap(true, Ordering::Relaxed) {
                    let server = server.clone();
                    std::thread::spawn(move || {
                        std::thread::sleep(Duration::from_millis(15));
                        server.blocking_lock().sshd.restart();
                    });
                }
            })
        };
        let (pipeline, release) = {
            let server = server.lock().await;
            (server.builder().observer(killer).build().unwrap(), server.release(&version, ""))
        };
        let deployed = pipeline.deploy(release).await;
        if let Err(error) = &deployed {
            println!("{step}: {}", error.chain());
            let recovered = pipeline.recover().await;
            recovered.unwrap_or_else(|error| panic!("{step}: {}", error.chain()));
        }
        let now = pipeline.status().await.unwrap();
        let answering = now.observed.slot(now.observed.live.unwrap()).version().unwrap().to_string();
        assert!(answering == live || answering == version, "{step}: {now}");
        if deployed.is_ok() {
            assert_eq!(answering, version, "{step}: a deploy that succeeded is live");
        }
        let server = server.lock().await;
        server.is_settled_on(&answering).await;
        live = answering;
    }
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}
