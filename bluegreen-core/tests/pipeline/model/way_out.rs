//! From every state some verbs lead back to one slot that has all traffic, answers, and is on record as that, with the lease
//! free; where only a person can act, the errors name the machine that must come back.

use bluegreen_core::memory::MemoryPublic;
use bluegreen_core::{Error, ErrorKind, Health, HealthCheck, Instance, OperationId, Pipeline, Slot, Split, Target};

use super::case::Deployer;
use super::run::quiet;
use super::stage::Stage;
use crate::world::{release, service};

const VERBS: [&str; 7] =
    ["recover", "rollback", "restore", "promote", "promote without a way back", "deploy", "deploy without a way back"];

pub(super) async fn find(stage: &Stage) {
    let errors = match try_verbs(stage, "2").await {
        Ok(()) => return check_what_was_not_confirmed(stage).await,
        Err(errors) => errors,
    };
    if act_as_told(stage, &errors) && try_verbs(stage, "3").await.is_ok() {
        return;
    }
    // A machine that was gone may have hidden what else a person has to do.
    match try_verbs(stage, "4").await {
        Ok(()) => {}
        Err(errors) if act_as_told(stage, &errors) && try_verbs(stage, "5").await.is_ok() => {}
        Err(errors) => panic!("no verb leads out:\n{}", told(&errors)),
    }
}

/// Does what the errors ask a person to do; whether they ask for anything.
fn act_as_told(stage: &Stage, errors: &[Error]) -> bool {
    let chains: Vec<_> = errors.iter().map(Error::chain).collect();
    let away = errors.iter().any(|error| error.kind() == ErrorKind::Unreachable);
    if away && chains.iter().any(|error| error.contains("no route to host")) {
        Slot::BOTH.into_iter().for_each(|slot| stage.world.runtime.set_reachable(slot, true));
        return true;
    }
    let by_hand =
        |slot: &Slot| chains.iter().any(|error| error.contains(&format!("direct all traffic to {slot} by hand")));
    let slot = Slot::BOTH.into_iter().find(by_hand);
    if let Some(slot) = slot {
        stage.world.router.switch_by_hand(Some(Split::all(slot)));
    }
    slot.is_some()
}

fn told(errors: &[Error]) -> String {
    errors.iter().map(Error::chain).collect::<Vec<_>>().join("\n")
}

/// Calls one verb after the other until one has led out.
async fn try_verbs(stage: &Stage, version: &str) -> Result<(), Vec<Error>> {
    let mut errors = Vec::new();
    for round in 0..2 {
        for verb in VERBS {
            // Bob has no gates, and new releases are well.
            let new = release(&format!("{version}.{round}.{}", verb.len()));
            let pipeline = quiet(stage, Deployer::Bob);
            let result = match verb {
                "recover" => pipeline.recover().await,
                "rollback" => pipeline.rollback().await,
                "restore" => pipeline.restore().await,
                "promote" => pipeline.promote().await,
                "deploy" => pipeline.deploy(new).await,
                "promote without a way back" => without_a_way_back(stage).promote().await,
                _ => without_a_way_back(stage).deploy(new).await,
            };
            errors.extend(result.err());
            if is_settled(stage).await {
                return Ok(());
            }
        }
    }
    Err(errors)
}

fn without_a_way_back(stage: &Stage) -> Pipeline {
    let faults = stage.watched(Deployer::Bob, Vec::new());
    stage.builder(Deployer::Bob, &faults).require_healthy_rollback_target(false).build().unwrap()
}

async fn is_settled(stage: &Stage) -> bool {
    let world = &stage.world;
    let Some(state) = world.store.state(&service()) else { return false };
    let Some(live) = world.live() else { return false };
    let answers = matches!(public(stage).await, Health::Healthy { version } if version.as_ref() == state.slot(live).version.as_ref());
    let agrees = state.split == world.router.split() && state.live == Some(live);
    state.lease.is_none() && state.operation.is_none() && agrees && answers
}

async fn public(stage: &Stage) -> Health {
    let address = MemoryPublic::new(&stage.world.router, &stage.world.runtime);
    let target = Target::new(service(), Slot::Blue, release("x"), OperationId::new("x").unwrap());
    address.check(&target, &Instance::Absent).await.unwrap()
}

/// What was never seen to answer is told, whatever else is fine.
async fn check_what_was_not_confirmed(stage: &Stage) {
    let Ok(report) = quiet(stage, Deployer::Bob).recover().await else { return };
    if let Some(live) = stage.world.live() {
        let told = report.notes.iter().any(|note| note.contains("was not confirmed at the public address"));
        let confirmed = stage.world.state().slot(live).confirmed.is_some();
        assert!(told || confirmed, "{live} was never confirmed: {report}");
    }
}
