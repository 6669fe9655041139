//! What the command lines of the examples have in common.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bluegreen_core::state::{HistoryEntry, HistoryFilter, Outcome};
use bluegreen_core::{Error, ErrorKind, Pipeline, Result, Timestamp, Version, parse_duration};
use serde::de::DeserializeOwned;

/// Says what went wrong, if something did.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{}", error.render());
            ExitCode::FAILURE
        }
    }
}

/// Reads settings in TOML.
///
/// # Errors
/// When they cannot be read, with the file and the place in it.
pub fn read_toml<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let about = |error: Error| error.with_operation("read the settings").with("file", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| about(error.into()))?;
    toml::from_str(&text).map_err(|error| about(Error::config(error.to_string())))
}

/// Shows what is where, and what was done last.
///
/// # Errors
/// When that cannot be seen.
pub async fn print_status(pipeline: &Pipeline) -> Result<()> {
    print!("{}", pipeline.status().await?);
    for past in pipeline.history().await?.iter().rev().take(10) {
        println!("{past}");
    }
    Ok(())
}

/// Takes the lease from whoever holds it, and says who that was.
///
/// # Errors
/// When the state store does not answer.
pub async fn unlock(pipeline: &Pipeline) -> Result<()> {
    match pipeline.unlock().await? {
        Some(holder) => println!("the lease was taken from {holder}: `recover` brings what it left to an end"),
        None => println!("nobody holds the lease"),
    }
    Ok(())
}

/// Which operations of the history are shown. What is not said does not matter.
#[derive(Debug, Clone, clap::Args)]
pub struct Wanted {
    #[arg(long)]
    version: Option<Version>,
    /// The person, as in `ann@web1`, or `ann` on any machine.
    #[arg(long)]
    by: Option<String>,
    #[arg(long, value_parser = Outcome::NAMES)]
    outcome: Option<String>,
    /// Those of the last 12h, 7d or 2w.
    #[arg(long, value_parser = parse_duration)]
    since: Option<Duration>,
    /// A JSON object on each line.
    #[arg(long)]
    json: bool,
}

/// Shows what was done, the last first.
///
/// # Errors
/// When it cannot be read.
pub async fn print_history(pipeline: &Pipeline, wanted: Wanted) -> Result<()> {
    history(pipeline, wanted).await?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// What was done, one line each, the last first.
///
/// # Errors
/// When it cannot be read.
pub async fn history(pipeline: &Pipeline, wanted: Wanted) -> Result<Vec<String>> {
    let mut filter = HistoryFilter::default();
    (filter.version, filter.by, filter.outcome) = (wanted.version, wanted.by, wanted.outcome);
    filter.since = wanted.since.and_then(|age| SystemTime::now().checked_sub(age)).map(Timestamp::from_system);
    let entries = pipeline.history().await?.into_iter().rev().filter(|entry| filter.matches(entry));
    let line = |entry: HistoryEntry| if wanted.json { serde_json::json!(entry).to_string() } else { entry.to_string() };
    Ok(entries.map(line).collect())
}

/// One line on the last deploy; fails if it is too long ago.
///
/// # Errors
/// When it is, or cannot be told.
pub async fn check_age(pipeline: &Pipeline, max_age: Duration) -> Result<()> {
    let (service, now) = (pipeline.service(), Timestamp::from_system(SystemTime::now()));
    match pipeline.last_deploy().await? {
        Some(last) if last.age(now) <= max_age => println!("{service}: {}", last.describe(now)),
        Some(last) => return Err(too_old(format!("{service}: {}", last.describe(now)))),
        None => return Err(too_old(format!("{service} was never deployed"))),
    }
    Ok(())
}

fn too_old(what: String) -> Error {
    Error::new(ErrorKind::Unhealthy, what)
}
