use bluegreen_core::testing::Fault;
use bluegreen_core::{ErrorKind, Slot};

use super::yard::{Yard, deploy};
use crate::world::release;

async fn with_m1_behind() -> (Yard, bluegreen_core::Pipeline) {
    let yard = Yard::new(3);
    let pipeline = yard.lenient(1);
    deploy(&pipeline, "1.0").await.unwrap();
    yard.faults.on("m1.start", Fault::Fail);
    deploy(&pipeline, "1.1").await.unwrap();
    assert_eq!(yard.set_aside(), ["m1"]);
    (yard, pipeline)
}

#[tokio::test(start_paused = true)]
async fn resume_brings_up_the_members_that_are_behind_and_touches_no_other() {
    let (yard, pipeline) = with_m1_behind().await;
    let before = yard.faults.log().calls().len();
    let report = pipeline.resume(release("1.1")).await.unwrap();
    yard.assert_all_serve("1.1");
    assert!(report.to_string().contains("1 member brought to 1.1"), "{report}");
    let acts = [".prepare", ".start", ".stop", ".shift", ".attach"];
    let others = yard.faults.log().calls().into_iter().skip(before).filter(|call| !call.starts_with("m1"));
    let touched: Vec<_> = others.filter(|call| acts.iter().any(|act| call.contains(act))).collect();
    assert_eq!(touched, Vec::<String>::new());
    let again = pipeline.resume(release("1.1")).await.unwrap();
    assert!(!again.steps.iter().any(|step| step.step.to_string() == "catch-up"), "{again}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_behind_still_is_named_with_the_new_reason() {
    let (yard, pipeline) = with_m1_behind().await;
    yard.faults.on("m1.start", Fault::ApplyThenFail);
    let error = pipeline.resume(release("1.1")).await.unwrap_err();
    assert!(error.render().contains("still behind: m1"), "{}", error.render());
    assert!(error.render().contains("done, and reported as failed"), "{}", error.render());
    assert_eq!(yard.set_aside(), ["m1"]);
    pipeline.resume(release("1.1")).await.unwrap();
    yard.assert_all_serve("1.1");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_live_is_refused_and_the_live_one_points_to_resume() {
    let (_yard, pipeline) = with_m1_behind().await;
    let error = pipeline.resume(release("1.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let error = deploy(&pipeline, "1.1").await.unwrap_err();
    assert!(error.to_string().contains("`resume` brings it to the members that were left behind"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_next_deploy_brings_up_first_who_is_behind() {
    let (yard, pipeline) = with_m1_behind().await;
    let plan = pipeline.plan(&release("1.2")).await.unwrap();
    assert_eq!(plan.steps[0].step.to_string(), "catch-up", "{plan}");
    let report = deploy(&pipeline, "1.2").await.unwrap();
    let planned: Vec<_> = plan.steps.iter().map(|step| step.step).collect();
    let taken: Vec<_> = report.steps.iter().map(|step| step.step).filter(|step| planned.contains(step)).collect();
    assert_eq!(planned, taken);
    yard.assert_all_serve("1.2");
    assert_eq!(yard.machines[1].runtime.instance(Slot::Green).version().unwrap().as_str(), "1.1");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_put_right_by_hand_takes_part_again_by_itself() {
    let (yard, pipeline) = with_m1_behind().await;
    yard.machines[1].runtime.start_by_hand(Slot::Green, crate::world::version("1.1"));
    yard.machines[1].router.switch_by_hand(yard.machines[0].router.split());
    pipeline.recover().await.unwrap();
    assert_eq!(yard.set_aside(), Vec::<String>::new());
    yard.assert_all_serve("1.1");
}
