//! What a pipeline makes of deployed commits.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use bluegreen_core::memory::{MemoryRouter, MemoryStateStore};
use bluegreen_core::pipeline::Builder;
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::{Health, Pipeline, Release, Slot, Split};
use bluegreen_ssh::GitRuntime;
use common::git::Lab;

/// A pipeline that finds every slot well; the public address answers as it is told.
fn pipeline(runtime: GitRuntime, router: &MemoryRouter, public: Health) -> Builder {
    Pipeline::builder("sample")
        .runtime(runtime)
        .router(router.clone())
        .store(MemoryStateStore::new())
        .health(ScriptedHealth::new([Health::healthy()]))
        .verify(ScriptedHealth::new([public]))
        .healthy_streak(1)
        .check_interval(Duration::from_millis(50))
        .verify_deadline(Duration::from_millis(300))
        .drain(Duration::from_millis(10))
}

#[tokio::test]
async fn commands_that_take_longer_than_the_pipelines_start_deadline_have_the_runtimes_own() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().run("sleep 1.5").build().unwrap();
    let public = Health::healthy_as("1.0.0".parse().unwrap());
    let pipeline = pipeline(runtime, &MemoryRouter::new(), public).start_deadline(Duration::from_secs(1));
    pipeline.build().unwrap().deploy(Release::new("1.0.0").unwrap()).await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
}
