//! A command inside a container that runs, over the engine.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result, Target};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::InspectContainerOptions;
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::{ComposeMigrator, Ended, tail_of};
use crate::engine::{engine_error, if_found, quick};
use crate::mask::masked_output;

/// How much of what a command prints is kept.
const KEPT: usize = 64 << 10;

/// Between two looks at a command that a cut-off left running.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn run(migrator: &ComposeMigrator, command: &[String], target: &Target) -> Result<Ended> {
    let deadline = Instant::now() + migrator.timeout;
    let docker = migrator.runtime.engine().docker().await?;
    let container = migrator.runtime.running_container(target, &migrator.service).await?;
    wait_for_leftovers(migrator, docker, &container, deadline).await?;

    let options = CreateExecOptions {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let made = quick("prepare a command in a container", docker.create_exec(&container, options)).await;
    let id = made.map_err(Error::not_applied)?.id;
    let (mut printed, mut both) = (Kept::default(), Kept::default());
    let work = async {
        let started = docker.start_exec(&id, None).await.map_err(engine_error)?;
        let StartExecResults::Attached { mut output, .. } = started else { return Ok::<(), Error>(()) };
        while let Some(chunk) = output.next().await {
            let chunk = chunk.map_err(engine_error)?;
            if matches!(chunk, LogOutput::StdOut { .. } | LogOutput::Console { .. }) {
                printed.add(&chunk);
            }
            both.add(&chunk);
        }
        Ok(())
    };
    // From here on the command may have begun, whatever the engine answers.
    match timeout_at(deadline, work).await {
        Ok(done) => done.map_err(Error::maybe_applied)?,
        Err(_) => return Err(too_long(migrator.timeout)),
    }
    let ended = quick("ask how a command ended", docker.inspect_exec(&id)).await.map_err(Error::maybe_applied)?;
    let masked = |kept: &Kept| masked_output(&migrator.runtime.compose().mask, &kept.bytes, kept.is_cut);
    let tail = tail_of(&masked(&both));
    match (ended.running, ended.exit_code) {
        (Some(false), Some(status)) => Ok(Ended { status, printed: masked(&printed), tail }),
        _ => {
            Err(Error::new(ErrorKind::Unreachable, format!("the connection was lost before the command ended: {tail}"))
                .with_hint(STILL_RUNS))
        }
    }
}

/// The last that a command printed.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Kept {
    fn add(&mut self, chunk: &LogOutput) {
        self.bytes.extend_from_slice(chunk.as_ref());
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
            self.is_cut = true;
        }
    }
}

/// What becomes of a command that nobody waits for any more.
const STILL_RUNS: &str = "it still runs in the container, and ends with that: a pipeline stops the slot of a deploy that \
                          failed; give a migration that must not be cut off longer with `.timeout(..)`, or a container of \
                          its own with `.when(When::BeforeStart)`";

fn too_long(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("it did not end within {limit:?}")).retryable(false).with_hint(STILL_RUNS)
}

/// The engine does not end a command whose client has gone. One of ours that still runs must not be joined by another.
async fn wait_for_leftovers(
    migrator: &ComposeMigrator,
    docker: &Docker,
    container: &str,
    deadline: Instant,
) -> Result<()> {
    loop {
        let found = docker.inspect_container(container, None::<InspectContainerOptions>);
        let ids = quick("inspect a container", found).await.map_err(Error::not_applied)?.exec_ids.unwrap_or_default();
        let mut running = false;
        for id in ids {
            // One that has ended may be forgotten by the engine at any time. Any other error tells nothing of it.
            let found = if_found(quick("inspect a command", docker.inspect_exec(&id)).await);
            let Some(found) = found.map_err(Error::not_applied)? else { continue };
            let process = found.process_config.unwrap_or_default();
            let mut words: Vec<_> = process.entrypoint.into_iter().collect();
            words.extend(process.arguments.unwrap_or_default());
            running |= found.running == Some(true) && migrator.commands.all().any(|command| *command == words);
        }
        if !running {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(too_long(migrator.timeout).not_applied());
        }
        tracing::info!(service = migrator.service, "an earlier migration still runs; waiting for it");
        tokio::time::sleep(PAUSE).await;
    }
}
