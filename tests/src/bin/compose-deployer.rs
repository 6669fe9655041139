//! The example `compose-shop.rs` as a process for tests: `compose-deployer SHOP VERB [VERSION] STEP[+MILLISECONDS]`, which
//! kills itself when that step begins, or so much later. The shop is JSON. A step may also be `download`: when the first
//! bytes of an image are here. The verbs are `deploy`, `deploy-migrated-first` (the migration is run before the release is
//! started), `deploy-refused` (by a gate), `rollback`, `retire`; and `recover`, which takes no step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::ExitCode;
use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::pipeline::{PipelineBuilder, Strategy, TrafficStep};
use bluegreen_core::testing::ScriptedGate;
use bluegreen_core::{Event, Result, Verdict, observer};
use bluegreen_docker::ComposeMigrator;
use bluegreen_tests::killer::{die, killer};

#[path = "../../../examples/compose-shop.rs"]
#[allow(dead_code, reason = "its story is told by its own run")]
mod tool;

use tool::Shop;

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [shop, "recover"] => recover(&serde_json::from_str(shop).unwrap()).await,
        [shop, verb, ref version @ .., step] => {
            crash(&serde_json::from_str(shop).unwrap(), verb, version.first().copied(), step).await
        }
        _ => unreachable!("{words:?}"),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn crash(shop: &Shop, verb: &str, version: Option<&str>, step: &str) -> Result<()> {
    let pipeline = killed_in(stepwise(shop)?, step)?;
    let refusal = Verdict::Fail { reason: "nobody likes it".to_owned() };
    let pipeline = match verb {
        "deploy-migrated-first" => {
            let migrator = ComposeMigrator::builder(&shop.runtime().build()?, "api").expand(["migrate"]);
            pipeline.migrator(migrator.build()?)
        }
        "deploy-refused" => pipeline.gate(ScriptedGate::new([refusal])),
        _ => pipeline,
    };
    let pipeline = pipeline.build()?;
    let report = match (verb, version) {
        ("rollback", None) => pipeline.rollback().await?,
        ("retire", None) => pipeline.retire_now().await?,
        (_, version) => pipeline.deploy(shop.release(version.unwrap())?).await?,
    };
    println!("it was not killed: {report}");
    Ok(())
}

fn killed_in(pipeline: PipelineBuilder, step: &str) -> Result<PipelineBuilder> {
    if step != "download" {
        return Ok(pipeline.observer(killer(step)?));
    }
    Ok(pipeline.observer(observer::from_fn(|event: &Event| {
        if matches!(event.what, EventKind::Transfer { done: 1.., .. }) {
            die();
        }
    })))
}

async fn recover(shop: &Shop) -> Result<()> {
    println!("{}", stepwise(shop)?.build()?.recover().await?);
    Ok(())
}

/// All steps of the document, with short waits.
fn stepwise(shop: &Shop) -> Result<PipelineBuilder> {
    let soak = Duration::from_millis(300);
    let steps = [TrafficStep::new(10, soak), TrafficStep::new(50, soak), TrafficStep::new(100, Duration::ZERO)];
    let pipeline = shop.pipeline()?.strategy(Strategy::canary(steps).bake(soak));
    // Kept on a busy machine too. A recovery does not wait for it: the process of the holder is gone.
    let pipeline = pipeline.check_interval(Duration::from_millis(100)).drain(Duration::from_secs(2));
    Ok(pipeline.lease_ttl(Duration::from_secs(10)))
}
