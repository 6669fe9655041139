//! A whole deploy tool for one service on this machine: any program that listens on the port in `PORT`.
//!
//! ```text
//! cargo run --example shop -- deploy 1.0 ./hello
//! ```

use std::process::ExitCode;
use std::time::Duration;

use bluegreen::http::HttpCheck;
use bluegreen::local::{ProcessRuntime, ProxyRouter};
use bluegreen::observer::LineLog;
use bluegreen::pipeline::{Strategy, TrafficStep};
use bluegreen::{Error, FileStateStore, Pipeline, Release, Result};

fn pipeline() -> Result<Pipeline> {
    let address = std::env::var("SHOP_ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let public = HttpCheck::builder(format!("http://{address}/")).version_from_router();
    Pipeline::builder("shop")
        .runtime(ProcessRuntime::builder("state/processes").build()?)
        .router(ProxyRouter::new("state/proxy.socket"))
        .store(FileStateStore::new("state"))
        .health(HttpCheck::get("/")?) // Asks the new release itself.
        .verify(public.build()?) // Asks through the proxy, as a user does.
        .strategy(Strategy::canary([
            TrafficStep::new(10, Duration::from_secs(2)),
            TrafficStep::new(100, Duration::ZERO),
        ]))
        .observer(LineLog::stderr())
        .build()
}

async fn run(words: &[&str]) -> Result<()> {
    let pipeline = pipeline()?;
    match words {
        ["deploy", version, program] => {
            pipeline.recover().await?; // Finishes what a dead deployer left, if one did.
            println!("{}", pipeline.deploy(Release::new(*version)?.with_artifact(program)).await?);
        }
        ["stage", version, program] => {
            println!("{}", pipeline.stage(Release::new(*version)?.with_artifact(program)).await?);
        }
        ["promote"] => println!("{}", pipeline.promote().await?),
        ["rollback"] => println!("{}", pipeline.rollback().await?),
        ["recover"] => println!("{}", pipeline.recover().await?),
        ["retire"] => println!("{}", pipeline.retire_now().await?),
        ["status"] => print!("{}", pipeline.status().await?),
        _ => return Err(Error::config("deploy|stage VERSION PROGRAM, promote, rollback, recover, retire or status")),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.render()); // What failed, where, and how it was undone.
            ExitCode::FAILURE
        }
    }
}
