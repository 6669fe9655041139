//! `HttpHook` against servers that answer, refuse and hang.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::state::State;
use bluegreen_core::{Error, ErrorKind, HookStep, Pipeline, Release, Report, Secret, ServiceName};
use bluegreen_http::HttpHook;
use bluegreen_testkit::http::{Server, answer, read_request, refusing};
use serde_json::{Value, json};

fn builder() -> PipelineBuilder {
    let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
    Pipeline::builder("shop")
        .holder("ann")
        .runtime(runtime.clone())
        .router(router.clone())
        .store(MemoryStateStore::new())
        .health(MemoryHealth::new())
        .verify(MemoryPublic::new(&router, &runtime))
        .check_interval(Duration::from_millis(1))
}

async fn deploy(hook: HookStep) -> Result<Report, Error> {
    builder().hook(hook).build().unwrap().deploy(Release::new("2.0").unwrap().with_setting("workers", "4")).await
}

fn url(address: &str) -> Secret {
    Secret::new(format!("http://{address}/services/T0/s3cr3t-t0ken?key=hunter2-hunter2"))
}

/// A server that takes everything, and what it was sent.
async fn taking() -> (Server, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let server = Server::answering(move |request| {
        log.lock().unwrap().push(request.to_owned());
        answer("204 No Content", &[], "")
    });
    (server.await, seen)
}

fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A server that reads requests and never answers.
async fn hanging() -> Server {
    Server::raw(|mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            std::future::pending::<()>().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_program_is_sent_all_that_is_known_and_a_chat_one_line() {
    let (server, seen) = taking().await;
    let hook = HttpHook::builder(url(&server.address)).bearer(Secret::new("t0ken")).build().unwrap();
    deploy(HookStep::before_shift(100, "tell", hook)).await.unwrap();
    let request = seen.lock().unwrap().pop().unwrap();
    assert!(request.starts_with("POST /services/T0/s3cr3t-t0ken?key=hunter2-hunter2 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("content-type: application/json\r\n") && request.contains("Bearer t0ken\r\n"));
    let told = body(&request);
    assert!(told["operation"].as_str().unwrap().starts_with("deploy-"), "{told}");
    assert_eq!(
        told,
        json!({
            "service": "shop", "operation": told["operation"], "kind": "deploy", "by": "ann", "hook": "tell",
            "place": "before-shift-100", "percent": 100, "slot": "blue", "version": "2.0", "settings": {"workers": "4"},
            "from": null, "outcome": null, "text": "deploy of shop 2.0 (blue) by ann: before-shift-100",
        })
    );

    deploy(HookStep::after_success("tell", HttpHook::chat(url(&server.address)).unwrap())).await.unwrap();
    let message = body(&seen.lock().unwrap().pop().unwrap());
    assert_eq!(message, json!({"text": "deploy of shop 2.0 (blue) by ann: succeeded"}));
}

#[tokio::test]
async fn what_is_refused_or_unreachable_fails_and_shows_nothing_of_the_address_but_the_host() {
    let echoing = Server::answering(|request| {
        let line = request.lines().next().unwrap();
        answer("403 Forbidden", &[], format!("{line}: bad token s3cr3t-t0ken"))
    })
    .await;
    let gone = refusing();
    for (address, expected) in
        [(&echoing.address, "expected 200 to 299, got 403 Forbidden"), (&gone.address, "refused")]
    {
        let hook = HttpHook::json(url(address)).unwrap();
        let shown = format!("{hook} {hook:?}");
        let error = deploy(HookStep::before_shift(100, "tell", hook)).await.unwrap_err();
        let told = format!("{shown} {} {:?} {}", error.render(), error, error.chain());
        assert!(told.contains(expected) && told.contains(&format!("POST to http://{address}")), "{told}");
        assert!(!told.contains("s3cr3t") && !told.contains("hunter2"), "{told}");
    }
    for bad in ["hooks.example/s3cr3t", "https://ann:s3cr3t@hooks.example/", "ftp://hooks.example/s3cr3t", ""] {
        let error = HttpHook::json(Secret::new(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.render().contains("s3cr3t"), "{}", error.render());
    }
}

#[tokio::test]
async fn a_webhook_that_hangs_is_cut_off_by_its_own_time_or_by_that_of_the_hook() {
    let server = hanging().await;
    let hook = |millis| HttpHook::builder(url(&server.address)).timeout(Duration::from_millis(millis)).build().unwrap();
    for (own, of_the_hook) in [(50, 60_000), (60_000, 50)] {
        let step = HookStep::before_shift(100, "tell", hook(own)).timeout(Duration::from_millis(of_the_hook));
        let error = deploy(step).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.chain().contains("no answer within 50 ms"), "{}", error.chain());
    }
}

#[tokio::test]
async fn a_chat_that_hangs_neither_delays_nor_fails_a_deploy() {
    let gives_up = Arc::new(tokio::sync::Notify::new());
    let until = gives_up.clone();
    let server = Server::raw(move |mut stream| {
        let until = until.clone();
        async move {
            read_request(&mut stream).await;
            until.notified().await;
        }
    })
    .await;
    let store = MemoryStateStore::new();
    let step = HookStep::before_shift(100, "tell", HttpHook::chat(url(&server.address)).unwrap()).in_background(true);
    let pipeline = builder().store(store.clone()).hook(step).build().unwrap();
    let deploy = tokio::spawn(async move { pipeline.deploy(Release::new("2.0").unwrap()).await });
    let service = ServiceName::new("shop").unwrap();
    let is_over = |state: State| state.lease.is_none() && state.history.iter().any(|past| past.outcome.is_success());
    while server.connections() == 0 || !store.state(&service).is_some_and(is_over) {
        assert!(!deploy.is_finished(), "the last message is waited for");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gives_up.notify_one();
    let report = deploy.await.unwrap().unwrap();
    assert!(report.notes.iter().any(|note| note.contains("tell failed in the background")), "{report}");
}
