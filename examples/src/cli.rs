//! What the command lines of the examples have in common.

use std::path::Path;
use std::process::ExitCode;

use bluegreen_core::{Error, Pipeline, Result};
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
