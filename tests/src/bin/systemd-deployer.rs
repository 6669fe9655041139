//! The deploy tool of the examples as a process for tests. With `--crash-at STEP[+MILLISECONDS]` it kills itself when that
//! step begins, or so much later.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bluegreen_core::{Result, Version};
use bluegreen_tests::killer::killer;

#[path = "../../../examples/web-service.rs"]
mod tool;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words[..] {
        [_, "--settings", settings, "--crash-at", step, "deploy", version] => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let survived = runtime.block_on(crash(Path::new(settings), step, version));
            eprintln!("it was not killed: {survived:?}");
            ExitCode::FAILURE
        }
        _ => tool::main(),
    }
}

async fn crash(settings: &Path, step: &str, version: &str) -> Result<()> {
    let settings = tool::Settings::read(settings)?;
    let pipeline = settings.pipeline(&settings.host()?)?.observer(killer(step)?);
    // Kept on a busy machine too. A recovery does not wait for it: the process of the holder is gone.
    let pipeline = pipeline.check_interval(Duration::from_millis(100)).drain(Duration::from_secs(2));
    let pipeline = pipeline.lease_ttl(Duration::from_secs(10)).build()?;
    let version: Version = version.parse()?;
    pipeline.deploy(settings.build(&version).await?).await.map(drop)
}
