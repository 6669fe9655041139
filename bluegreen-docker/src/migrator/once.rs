//! A command in a container of its own, by `compose run`.

use bluegreen_core::{Error, ErrorKind, Result, Target};
use bollard::query_parameters::{InspectContainerOptions, RemoveContainerOptionsBuilder, WaitContainerOptions};
use futures::StreamExt;

use super::{ComposeMigrator, Ended, tail_of};
use crate::engine::{engine_error, if_found, quick};
use crate::labels;

pub(super) async fn run(migrator: &ComposeMigrator, command: &[String], target: &Target) -> Result<Ended> {
    migrator.runtime.own_slot(target.slot).await?;
    // One name for all of them: the engine lets no second one run beside the first.
    let name = format!("{}-migration", migrator.runtime.project_name(target.slot));
    end_leftover(migrator, &name).await?;
    let service = &migrator.service;
    let label = format!("{}={}", labels::MIGRATION, target.operation);
    let compose = migrator.runtime.compose_command(target, service).await?;
    let compose = compose
        .args(["run", "--rm", "-T", "--no-deps", "--name", &name, "--label", &label, service])
        .args(command.iter().cloned())
        .timeout(migrator.timeout);
    let output = migrator.runtime.compose().run(&compose).await.map_err(|error| match error.kind() {
        ErrorKind::Timeout => error.retryable(false).with_hint(
            "it still runs in its container, and the next attempt waits for it; give it longer with `.timeout(..)`",
        ),
        _ => error,
    })?;
    let Some(status) = output.status else {
        return Err(Error::new(ErrorKind::Unexpected, output.ending()).with_hint("look at the container that it left"));
    };
    let both = format!("{}\n{}", output.text(), output.error_text());
    Ok(Ended { status: status.into(), printed: output.text(), tail: tail_of(&both) })
}

/// A container goes on when the one who waited for it was cut off. It is waited for, and removed.
async fn end_leftover(migrator: &ComposeMigrator, name: &str) -> Result<()> {
    let docker = migrator.runtime.engine().docker().await?;
    let wait = async {
        loop {
            let found = docker.inspect_container(name, None::<InspectContainerOptions>);
            let Some(found) = if_found(quick("look for an earlier migration", found).await)? else { return Ok(()) };
            if found.state.and_then(|state| state.running) == Some(true) {
                tracing::info!(container = name, "an earlier migration still runs; waiting for it");
                // It ends in an error also where the exit status is not zero; the next look tells.
                let mut ending = std::pin::pin!(docker.wait_container(name, None::<WaitContainerOptions>));
                let _ = ending.next().await;
                continue;
            }
            let options = RemoveContainerOptionsBuilder::default().force(true).build();
            match docker.remove_container(name, Some(options)).await.map_err(engine_error) {
                // The engine is removing it already.
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                removed => {
                    if_found(removed)?;
                }
            }
        }
    };
    match tokio::time::timeout(migrator.timeout, wait).await {
        Ok(done) => done.map_err(|error: Error| error.not_applied()),
        Err(_) => Err(Error::new(ErrorKind::Timeout, "an earlier migration does not end")
            .not_applied()
            .retryable(false)
            .with("container", name)
            .with_hint("look at it with `docker logs`, and stop it if it hangs")),
    }
}
