//! What the pipeline itself costs: its own time per deploy with memory adapters and without configured waits, and 1,000
//! services deployed at the same time in one process.
//!
//! `cargo run --release -p bluegreen-examples --bin bench-pipeline`

use std::time::{Duration, Instant};

use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::{Strategy, TrafficStep};
use bluegreen_core::{Pipeline, Release, Result};

const DEPLOYS: usize = 1_000;
const SERVICES: usize = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    one_service().await?;
    many_services().await
}

/// A canary of three steps, with one healthy answer instead of three, since the waits between those are configured ones.
fn pipeline(name: &str) -> Result<Pipeline> {
    let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new());
    let steps = [10, 50, 100].map(|percent| TrafficStep::new(percent, Duration::ZERO));
    Pipeline::builder(name)
        .verify(MemoryPublic::new(&router, &runtime))
        .runtime(runtime)
        .router(router)
        .store(MemoryStateStore::new())
        .health(MemoryHealth::new())
        .healthy_streak(1)
        .strategy(Strategy::canary(steps))
        .build()
}

async fn one_service() -> Result<()> {
    let pipeline = pipeline("shop")?;
    let mut times = Vec::with_capacity(DEPLOYS);
    let mut steps = 0;
    for number in 0..DEPLOYS {
        let release = Release::new(format!("1.{number}"))?;
        let began = Instant::now();
        steps = pipeline.deploy(release).await?.steps.len();
        times.push(began.elapsed());
    }
    times.sort();
    println!("{DEPLOYS} deploys of one service, {steps} journalled steps each, memory adapters, no waits:");
    println!(
        "  median {:.1?}, 99 % within {:.1?}, longest {:.1?}",
        times[DEPLOYS / 2],
        times[DEPLOYS * 99 / 100],
        times[DEPLOYS - 1]
    );
    Ok(())
}

async fn many_services() -> Result<()> {
    let pipelines = (0..SERVICES).map(|number| pipeline(&format!("service-{number}"))).collect::<Result<Vec<_>>>()?;
    let before = peak_memory();
    let began = Instant::now();
    let deploys: Vec<_> = pipelines
        .iter()
        .cloned()
        .map(|pipeline| {
            tokio::spawn(async move {
                for version in ["1.0", "1.1"] {
                    pipeline.deploy(Release::new(version)?).await?;
                }
                Ok::<_, bluegreen_core::Error>(())
            })
        })
        .collect();
    let mut failed = 0;
    for deploy in deploys {
        failed += usize::from(!matches!(deploy.await, Ok(Ok(()))));
    }
    let took = began.elapsed();
    println!("{SERVICES} services deployed twice each, all at the same time, in one process:");
    println!("  {took:.1?} in all, {failed} failed");
    match (before, peak_memory()) {
        (Some(before), Some(peak)) => {
            println!("  peak memory {} MiB, of which {} MiB before", peak / 1024, before / 1024)
        }
        _ => println!("  peak memory cannot be told on this system"),
    }
    Ok(())
}

/// The largest resident size of this process so far, in KiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
