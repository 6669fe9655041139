//! A deploy tool of the examples as a process for tests, which can kill itself.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::{Error, Pipeline, Result};

use crate::killer::killer;

/// The steps of a deploy without migrations into a slot that is occupied, and how the recovery from a death in each ends.
pub const STEPS: [(&str, &str); 11] = [
    ("observe", "succeeded"),
    ("prepare", "aborted"),
    ("stop-occupant", "aborted"),
    ("start", "aborted"),
    ("health", "aborted"),
    ("attach", "aborted"),
    ("check-slots-100", "aborted"),
    ("shift-100", "rolled back"),
    ("verify", "rolled back"),
    ("drain", "succeeded"),
    ("retain", "succeeded"),
];

/// The tool itself; or, for `--settings FILE --crash-at STEP[+MILLISECONDS] deploy VERSION`, the crash, which is given these
/// three.
pub fn tool_or_crash(tool: fn() -> ExitCode, crash: impl AsyncFnOnce(&Path, &str, &str) -> Result<()>) -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let [_, "--settings", settings, "--crash-at", step, "deploy", version] = words[..] else { return tool() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let survived = runtime.map_err(Error::from).map(|it| it.block_on(crash(Path::new(settings), step, version)));
    eprintln!("it was not killed: {survived:?}");
    ExitCode::FAILURE
}

/// A pipeline with short waits, which kills this process in a step.
///
/// # Errors
/// `Config` when there is no such step, and those of building it.
pub fn killed_in(step: &str, pipeline: PipelineBuilder) -> Result<Pipeline> {
    pipeline
        .observer(killer(step)?)
        .check_interval(Duration::from_millis(100))
        .drain(Duration::from_secs(2))
        // Kept on a busy machine too. A recovery does not wait for it: the process of the holder is gone.
        .lease_ttl(Duration::from_secs(10))
        .build()
}
