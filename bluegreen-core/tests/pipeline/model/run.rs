//! Plays one case.

use bluegreen_core::testing::Faults;
use bluegreen_core::{Effect, Error, Phase, Pipeline, Result, Slot};
use tokio::time::sleep;

use super::case::{Act, Case, Deployer, Turn};
use super::stage::Stage;
use super::way_out;
use crate::world::{release, seconds, service};

pub(super) async fn run(case: Case) {
    let stage = Stage::new(&case);
    let drifts = !case.meanwhile.is_empty()
        || case
            .turns
            .iter()
            .any(|turn| !turn.before.is_empty() || turn.recoveries.iter().any(|(drifts, _)| !drifts.is_empty()));
    let ann = stage.watched(Deployer::Ann, case.meanwhile.clone());
    let bob = stage.watched(Deployer::Bob, Vec::new());
    for (call, fault) in &case.faults {
        ann.at(*call, *fault);
    }
    for (number, turn) in case.turns.iter().enumerate() {
        for drift in &turn.before {
            drift.pass(&stage).await;
        }
        let (own, other) = if turn.by == Deployer::Ann { (&ann, &bob) } else { (&bob, &ann) };
        let first = play(&stage, turn.by, own, turn.act, number, drifts || turn.beside.is_some());
        match turn.beside {
            None => first.await,
            Some((later, act)) => {
                let by = if turn.by == Deployer::Ann { Deployer::Bob } else { Deployer::Ann };
                let second = async {
                    sleep(seconds(later)).await;
                    play(&stage, by, other, act, number + 100, true).await;
                };
                tokio::join!(first, second);
            }
        }
        recover(&stage, turn, drifts).await;
    }
    ann.clear();
    way_out::find(&stage).await;
    stage.world.assert_hooks_ran_once();
    if !drifts {
        stage.world.assert_settled().await;
    }
}

/// One act of one deployer, which may die in it.
async fn play(stage: &Stage, by: Deployer, faults: &Faults, todo: Act, number: usize, changes: bool) {
    let world = &stage.world;
    let pipeline = stage.builder(by, faults).build().unwrap();
    let seen = || (world.router.split(), world.runtime.instance(Slot::Blue), world.runtime.instance(Slot::Green));
    let before = seen();
    let result = faults.run(act(&pipeline, todo, number)).await;
    match result {
        Some(Ok(true)) if todo == Act::Deploy && !changes => {
            let live = world.live().expect("success means that all traffic has moved");
            assert_eq!(world.runtime.instance(live).version().unwrap().as_str(), format!("1.{number}"));
        }
        Some(Err(error)) if error.effect() == Effect::NotApplied && is_refused(&error) && !changes => {
            assert_eq!(before, seen(), "refused, and nothing changed: {error}");
        }
        _ => {}
    }
}

fn is_refused(error: &Error) -> bool {
    error.report().is_none_or(|report| report.outcome.word() == "refused")
}

async fn act(pipeline: &Pipeline, act: Act, number: usize) -> Result<bool> {
    let version = format!("1.{number}");
    let report = match act {
        Act::Deploy => pipeline.deploy(release(&version)).await?,
        Act::Stage => pipeline.stage(release(&version)).await?,
        Act::Promote => pipeline.promote().await?,
        Act::Rollback => pipeline.rollback().await?,
        Act::Restore => pipeline.restore().await?,
        Act::Retire => pipeline.retire().await?,
        Act::RetireNow => pipeline.retire_now().await?,
        Act::Expand => pipeline.migrate(Phase::Expand).await?,
        Act::Contract => pipeline.migrate(Phase::Contract).await?,
        Act::Recover => pipeline.recover().await?,
        Act::Unlock => {
            pipeline.unlock().await?;
            return Ok(true);
        }
    };
    Ok(report.outcome.is_success())
}

/// Recovers from what died, with recoveries that die themselves and drift before each. The last one is left in peace: it must
/// end what it took over.
async fn recover(stage: &Stage, turn: &Turn, drifts: bool) {
    for (before, death) in &turn.recoveries {
        if !is_unfinished(stage) {
            return;
        }
        for drift in before {
            drift.pass(stage).await;
        }
        let faults = stage.watched(turn.by, Vec::new());
        if let Some((call, fault)) = death {
            faults.at(*call, *fault);
        }
        let pipeline = stage.builder(turn.by, &faults).build().unwrap();
        let result = faults.run(pipeline.recover()).await;
        if let (Some(result), None) = (result, death) {
            assert_ended(stage, result.map(|_| ()), drifts);
        }
    }
    if is_unfinished(stage) {
        assert_ended(stage, quiet(stage, turn.by).recover().await.map(|_| ()), drifts);
    }
}

/// A pipeline that nothing goes wrong for.
pub(super) fn quiet(stage: &Stage, by: Deployer) -> Pipeline {
    let faults = stage.watched(by, Vec::new());
    stage.builder(by, &faults).build().unwrap()
}

fn is_unfinished(stage: &Stage) -> bool {
    stage.world.store.state(&service()).is_some_and(|state| state.operation.is_some() || state.lease.is_some())
}

/// A recovery ends what it took over, however that ends, unless it could not look at all.
fn assert_ended(stage: &Stage, result: Result<(), Error>, drifts: bool) {
    // Without drift, only a gate or a missing migrator keeps a recovery from what it is there for.
    let word = |error: &Error| error.report().map(|report| report.outcome.word());
    let expected = [Some("failed, kept"), Some("held"), Some("frozen")];
    assert!(drifts || result.as_ref().map_or_else(|error| expected.contains(&word(error)), |()| true), "{result:?}");
    let state = stage.world.state();
    assert!(state.lease.is_none(), "the lease is free: {result:?}");
    let looked = !matches!(&result, Err(error) if error.report().is_none());
    assert!(state.operation.is_none() || !looked, "nothing is unfinished: {result:?}\n{:?}", state.operation);
    assert!(looked || both_away(&result), "a recovery that ends nothing could not look: {result:?}");
}

fn both_away(result: &Result<(), Error>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == bluegreen_core::ErrorKind::Unreachable)
}
