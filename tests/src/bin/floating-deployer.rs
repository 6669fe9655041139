//! The deploy tool `examples/floating-ip.rs` as a process for tests, with shorter waits. With `--crash-at STEP` it kills
//! itself inside that step.
use std::process::ExitCode;
use std::time::Duration;

use bluegreen_core::{Result, observer};
use bluegreen_examples::cli::{exit_code, read_toml};
use bluegreen_tests::killer::killer;
use clap::Parser;

#[path = "../../../examples/floating-ip.rs"]
#[allow(dead_code, reason = "its own beginning")]
mod tool;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words: Vec<_> = std::env::args().collect();
    let crash_at = words.iter().position(|word| word == "--crash-at").map(|at| {
        let step = words.remove(at + 1);
        words.remove(at);
        step
    });
    exit_code(run(tool::Arguments::parse_from(words), crash_at).await)
}

async fn run(arguments: tool::Arguments, crash_at: Option<String>) -> Result<()> {
    let servers = read_toml(&arguments.settings)?;
    let router = tool::router(&servers, arguments.provider)?
        .poll_every(Duration::from_millis(20), Duration::from_millis(60))
        .lost_reply(Duration::from_millis(300))
        .deadline(Duration::from_secs(5))
        .build();
    let pipeline = tool::pipeline(&servers, router)?
        .check_interval(Duration::from_millis(100))
        .verify_deadline(Duration::from_secs(5))
        .undo_timeout(Duration::from_secs(3))
        // Kept on a busy machine too. A recovery does not wait for it: the process of the holder is gone.
        .lease_ttl(Duration::from_secs(10))
        .observer(observer::LineLog::stderr());
    let pipeline = match crash_at {
        Some(step) => pipeline.observer(killer(&step)?),
        None => pipeline,
    };
    tool::act(arguments.verb, &tool::runtime(&servers)?, &pipeline.build()?).await
}
