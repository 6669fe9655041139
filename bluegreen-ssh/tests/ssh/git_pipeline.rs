//! What a pipeline makes of deployed commits.

use std::fs;
use std::time::Duration;

use bluegreen_core::memory::{MemoryRouter, MemoryStateStore};
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::testing::ScriptedHealth;
use bluegreen_core::{Health, Pipeline, Release, Slot, Split};
use bluegreen_ssh::GitRuntime;
use bluegreen_testkit::ssh::Sshd;

use crate::git_lab::Lab;
use crate::reach::Reach;

/// A pipeline that finds every slot well; the public address answers as it is told.
fn pipeline(runtime: GitRuntime, router: &MemoryRouter, public: Health) -> PipelineBuilder {
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

#[tokio::test]
async fn a_first_deploy_that_is_not_confirmed_goes_back_to_the_site_that_was_there_before() {
    needs_git!();
    needs_sshd!();
    let (lab, sshd) = (Lab::new(), Sshd::start());
    let site = lab.web_root(Slot::Blue);
    fs::create_dir_all(&site).unwrap();
    fs::write(site.join("index.html"), "by hand").unwrap();
    let (router, runtime) = (MemoryRouter::new(), lab.builder_on(&sshd.host()).build().unwrap());
    router.switch_by_hand(Some(Split::all(Slot::Blue)));
    let pipeline = pipeline(runtime, &router, Health::unhealthy("502")).build().unwrap();
    let error = pipeline.deploy(Release::new("1.0.0").unwrap()).await.unwrap_err();
    assert_eq!(error.report().unwrap().outcome.word(), "rolled back", "{error}");
    assert_eq!(router.split().unwrap().sole(), Some(Slot::Blue));
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("by hand"));
}
