//! A program that cannot tell its version, deployed as it is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{FileStateStore, Pipeline, Release, Runtime, Slot};
use bluegreen_http::HttpCheck;
use bluegreen_local::{ProcessRuntime, Proxy};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_cannot_tell_its_version_is_confirmed_by_the_router() {
    let has_busybox = std::process::Command::new("busybox").arg("true").status().is_ok_and(|status| status.success());
    if !part_is_here("busybox", has_busybox, "install busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let public = format!("http://{}/", listener.local_addr().unwrap());
    let proxy = Proxy::builder().release_headers(true).build().unwrap();
    let router = proxy.router();
    let serving = tokio::spawn(async move { proxy.serve(listener, std::future::pending()).await });

    let runtime = ProcessRuntime::builder(folder.path().join("services"))
        .program("busybox")
        .args(["httpd", "-f", "-p", "127.0.0.1:{port}", "-h", "{artifact}"])
        .build()
        .unwrap();
    let pipeline = Pipeline::builder("site")
        .runtime(runtime.clone())
        .router(router)
        .store(FileStateStore::new(folder.path().join("state")))
        .health(HttpCheck::get("/").unwrap())
        .verify(HttpCheck::builder(&public).version_from_router().build().unwrap())
        .build()
        .unwrap();
    let mut outcomes = Vec::new();
    for version in ["1.0", "2.0"] {
        let pages = folder.path().join(version);
        std::fs::create_dir(&pages).unwrap();
        std::fs::write(pages.join("index.html"), "the same page").unwrap();
        outcomes.push(pipeline.deploy(Release::new(version).unwrap().with_artifact(pages)).await);
    }
    for slot in Slot::BOTH {
        runtime.stop(slot, Duration::from_secs(5)).await.unwrap();
    }
    serving.abort();
    for (outcome, version) in outcomes.into_iter().zip(["1.0", "2.0"]) {
        let report = outcome.unwrap();
        let verified = report.steps.iter().find(|step| step.step.to_string() == "verify").unwrap();
        assert!(verified.detail.as_ref().unwrap().contains(&format!("answers in a row as {version}")), "{report}");
    }
}
