//! The deploy tool `examples/web-service.rs` as a process for tests. With `--crash-at STEP[+MILLISECONDS]` it kills itself when that
//! step begins, or so much later.

use std::path::Path;
use std::process::ExitCode;

use bluegreen_core::{Result, Version};
use bluegreen_tests::deployer::{killed_in, tool_or_crash};

#[path = "../../../examples/web-service.rs"]
mod tool;

fn main() -> ExitCode {
    tool_or_crash(tool::main, crash)
}

async fn crash(settings: &Path, step: &str, version: &str) -> Result<()> {
    let settings = tool::Settings::read(settings)?;
    let pipeline = killed_in(step, settings.pipeline(&settings.hosts()?)?)?;
    let version: Version = version.parse()?;
    pipeline.deploy(settings.build(&version).await?).await.map(drop)
}
