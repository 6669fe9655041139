//! A connection that is lost in the middle of a step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::testing::sample;
use bluegreen_core::{Event, observer};
use tokio::sync::Mutex;

use crate::crashes::STEPS;
use crate::setup::Server;
use crate::web_socket::WebSocket;

#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_is_killed_in_any_step_costs_no_request_and_the_deploy_ends_or_is_recovered() {
    let Some(server) = Server::start() else { return };
    server.deploy("0.1.0").await.unwrap();
    server.deploy("0.2.0").await.unwrap();
    let (clients, mut socket) = (server.clients(), WebSocket::open(&server).await);
    let server = Arc::new(Mutex::new(server));
    let mut live = "0.2.0".to_owned();
    let mut in_the_middle = 0;
    // The others are over within milliseconds.
    let is_long = |step: &str| ["prepare", "expand-before-start", "stop-occupant", "start", "health"].contains(&step);
    let steps = sample(STEPS, 3, |(step, _)| is_long(step));
    for (number, (step, _)) in steps.iter().copied().enumerate() {
        let version = format!("1.{number}.0");
        let after = Duration::from_millis(if is_long(step) { 40 } else { 3 });
        let (begun, over, cut) = (Flag::default(), Flag::default(), Flag::default());
        let killer = {
            let (server, begun, over, cut) = (server.clone(), begun.clone(), over.clone(), cut.clone());
            observer::from_fn(move |event: &Event| {
                if event.step.is_none_or(|now| now.to_string() != step) {
                    return;
                }
                // The recovery has the same steps.
                if matches!(event.what, EventKind::StepStarted { .. }) && !begun.swap(true, Ordering::Relaxed) {
                    let (server, over, cut) = (server.clone(), over.clone(), cut.clone());
                    std::thread::spawn(move || {
                        std::thread::sleep(after);
                        cut.store(!over.load(Ordering::Relaxed), Ordering::Relaxed);
                        server.blocking_lock().sshd.restart();
                    });
                } else if matches!(event.what, EventKind::StepDone { .. }) {
                    over.store(true, Ordering::Relaxed);
                }
            })
        };
        let (pipeline, release) = {
            let server = server.lock().await;
            // The WebSocket outlasts each drain.
            let builder = server.builder().drain(Duration::from_millis(500));
            (builder.observer(killer).build().unwrap(), server.release(&version, ""))
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
        assert!(begun.load(Ordering::Relaxed), "{step} is no step of a deploy");
        in_the_middle += usize::from(cut.load(Ordering::Relaxed));
        let server = server.lock().await;
        server.is_settled_on(&answering).await;
        socket.is_held(&server).await;
        live = answering;
    }
    assert!(in_the_middle * 2 >= steps.len(), "only {in_the_middle} of {} were cut off before their end", steps.len());
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tarball_that_is_cut_off_in_transfer_is_sent_again_and_no_half_of_it_is_unpacked_or_left() {
    let Some(server) = Server::start() else { return };
    server.deploy("1.0.0").await.unwrap();
    let clients = server.clients();
    let release = server.release("2.0.0", "");
    let size = std::fs::metadata(release.artifact().unwrap()).unwrap().len();
    let server = Arc::new(Mutex::new(server));
    let cut_at = Arc::new(AtomicU64::new(0));
    let killer = {
        let (server, cut_at) = (server.clone(), cut_at.clone());
        observer::from_fn(move |event: &Event| {
            let EventKind::Transfer { done, .. } = event.what else { return };
            if done >= size / 4 && cut_at.compare_exchange(0, done, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                let server = server.clone();
                // Nothing more is sent until the line is down.
                std::thread::spawn(move || server.blocking_lock().sshd.restart()).join().unwrap();
            }
        })
    };
    let pipeline = server.lock().await.builder().observer(killer).build().unwrap();
    // The host connects again, and begins the upload anew.
    pipeline.deploy(release).await.unwrap();
    let cut_at = cut_at.load(Ordering::Relaxed);
    assert!(cut_at > 0 && cut_at < size, "{cut_at} of {size}");
    let server = server.lock().await;
    server.is_settled_on("2.0.0").await;
    assert_eq!(std::fs::read_dir(server.path("app/incoming")).unwrap().count(), 0, "no half of it is left");
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
}

type Flag = Arc<AtomicBool>;
