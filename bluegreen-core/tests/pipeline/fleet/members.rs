use std::sync::{Arc, Mutex};

use bluegreen_core::fleet::{Fleet, FleetBuilder, Unreachable};
use bluegreen_core::testing::{CallLog, Fault, Faults, Faulty, RecordingMigrator};
use bluegreen_core::{Reason, Slot, When};

use super::yard::{Yard, deploy};
use crate::world::release;

#[tokio::test(start_paused = true)]
async fn a_new_member_is_brought_to_the_live_version_before_it_takes_part() {
    let yard = Yard::new(3);
    let two = yard.builder(yard.fleet_of(&yard.machines[..2], &yard.faults)).build().unwrap();
    deploy(&two, "1.0").await.unwrap();
    assert_eq!(yard.machines[2].serves(), None);
    let three = yard.pipeline();
    let plan = three.plan(&release("1.1")).await.unwrap();
    assert!(plan.to_string().contains("new in the fleet"), "{plan}");
    deploy(&three, "1.1").await.unwrap();
    yard.assert_all_serve("1.1");
    let calls = yard.faults.log().calls();
    let at = |call: &str| calls.iter().position(|have| have.starts_with(call)).unwrap_or_else(|| panic!("{call}"));
    assert!(at("m2.start blue 1.0") < at("m0.prepare green 1.1"));
}

#[tokio::test(start_paused = true)]
async fn a_second_server_is_brought_to_the_live_version_of_the_first() {
    let yard = Yard::new(2);
    let alone = yard.builder(yard.fleet_of(&yard.machines[..1], &yard.faults)).build().unwrap();
    deploy(&alone, "1.0").await.unwrap();
    assert!(yard.state().members.is_empty(), "one server is no fleet");
    deploy(&yard.pipeline(), "1.1").await.unwrap();
    yard.assert_all_serve("1.1");
    let calls = yard.faults.log().calls();
    let at = |call: &str| calls.iter().position(|have| have.starts_with(call)).unwrap_or_else(|| panic!("{call}"));
    assert!(at("m1.start blue 1.0") < at("m0.prepare green 1.1"));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_removed_is_left_alone_and_said_so() {
    let yard = Yard::new(3);
    deploy(&yard.pipeline(), "1.0").await.unwrap();
    let two = yard.builder(yard.fleet_of(&yard.machines[..2], &yard.faults)).build().unwrap();
    let report = deploy(&two, "1.1").await.unwrap();
    assert!(report.notes.iter().any(|note| note.contains("m2 is not in the fleet any more")), "{report}");
    assert_eq!(yard.machines[2].serves().as_deref(), Some("1.0"));
    assert_eq!(yard.state().members.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_operation_is_not_recovered_over_other_members() {
    let yard = Yard::new(3);
    deploy(&yard.pipeline(), "1.0").await.unwrap();
    yard.faults.on("m1.shift", Fault::ApplyThenDie);
    let pipeline = yard.pipeline();
    assert!(yard.faults.run(deploy(&pipeline, "1.1")).await.is_none());
    let two = yard.builder(yard.fleet_of(&yard.machines[..2], &Faults::new())).build().unwrap();
    let error = two.recover().await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error}");
    assert!(error.to_string().contains("begun over the members m0, m1, m2, and this fleet is m0, m1"), "{error}");
    yard.recover().await.unwrap();
    yard.assert_all_serve("1.0");
}

#[tokio::test(start_paused = true)]
async fn two_deployers_at_once_do_not_collide() {
    let yard = Yard::new(3);
    let (one, other) = (yard.pipeline(), yard.pipeline());
    let (first, second) = tokio::join!(deploy(&one, "1.0"), deploy(&other, "1.1"));
    let refused = [&first, &second].into_iter().filter_map(|result| result.as_ref().err());
    assert_eq!(refused.map(bluegreen_core::Error::reason).collect::<Vec<_>>(), [Some(Reason::LeaseHeld)]);
    yard.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn migrations_run_once_and_on_another_member_only_if_the_first_did_not_begin() {
    let yard = Yard::new(3);
    let ran: Arc<Mutex<Vec<(String, CallLog)>>> = Arc::default();
    let members = yard.machines.iter().map(|machine| {
        let log = CallLog::new();
        ran.lock().unwrap().push((machine.name.to_owned(), log.clone()));
        let migrator = Faulty::new(RecordingMigrator::new(When::BeforeStart, &log), &yard.faults);
        Yard::member(machine, &yard.faults).migrator(migrator)
    });
    let fleet = members.fold(Fleet::builder(), FleetBuilder::with_member).build().unwrap();
    let migrator = fleet.migrator().unwrap();
    let target = bluegreen_core::Target::new(
        crate::world::service(),
        Slot::Blue,
        release("1.0"),
        bluegreen_core::OperationId::new("x").unwrap(),
    );
    let runs = || -> Vec<usize> {
        ran.lock()
            .unwrap()
            .iter()
            .map(|(_, log)| log.calls().iter().filter(|call| call.contains("expand")).count())
            .collect()
    };
    use bluegreen_core::{Migrator, Phase};
    migrator.migrate(Phase::Expand, &target).await.unwrap();
    assert_eq!(runs(), [1, 0, 0]);
    yard.faults.on("migrator.migrate", Fault::LoseAnswer);
    migrator.migrate(Phase::Expand, &target).await.unwrap_err();
    assert_eq!(runs(), [2, 0, 0], "what may have begun is not run elsewhere");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_skipped_is_brought_along_by_the_next_deploy() {
    let yard = Yard::new(3);
    let skipping = || yard.builder(yard.fleet().max_failures(1).unreachable(Unreachable::Skip)).build().unwrap();
    deploy(&skipping(), "1.0").await.unwrap();
    yard.machines[0].set_reachable(false);
    deploy(&skipping(), "1.1").await.unwrap();
    yard.machines[0].set_reachable(true);
    deploy(&skipping(), "1.2").await.unwrap();
    yard.assert_all_serve("1.2");
}
