//! [`ComposeMigrator`]: migrations by commands of the release itself.

mod builder;
mod exec;
mod once;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::host::quote_all;
use bluegreen_core::{Error, ErrorKind, Migrator, Phase, Result, Target, When};

use crate::runtime::ComposeRuntime;

pub use builder::{ComposeMigratorBuilder, DEFAULT_MIGRATION_TIMEOUT};

/// Runs a release's migrations as commands in its own image: in a container of their own before the release is started, or
/// in the container that was started ([`when`](ComposeMigratorBuilder::when)).
///
/// Each command must be repeatable, as migration tools are: one that was cut off is run again. What a cut-off left
/// running in the slot is waited for first, so that no two of them run at a time.
///
/// # What is cut off
///
/// A command that is over its [timeout](ComposeMigratorBuilder::timeout), or whose deploy was cancelled, is not ended by the
/// migrator. But stopping its slot ends it, and a pipeline stops the slot of a deploy that failed once it had begun to
/// start it. So:
///
/// - With [`When::BeforeStart`], expand goes on in its own container, and the next attempt waits for it. Use this for
///   migrations that must not be cut off.
/// - With [`When::AfterStart`], such an expand is ended in the middle, with the container that it runs in.
/// - A contract phase goes on in either way: the pipeline stops nothing once it has begun.
///
/// ```no_run
/// use bluegreen_docker::{ComposeMigrator, ComposeRuntime};
///
/// # fn example(runtime: &ComposeRuntime) -> bluegreen_core::Result<()> {
/// let migrator = ComposeMigrator::builder(runtime, "api")
///     .expand(["pnpm", "db:migrate:deploy"])
///     .verify(["pnpm", "db:status"])
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ComposeMigrator {
    runtime: ComposeRuntime,
    service: String,
    when: When,
    commands: Commands,
    timeout: Duration,
}

#[derive(Debug, Clone, Default)]
struct Commands {
    expand: Vec<String>,
    contract: Option<Vec<String>>,
    verify: Option<Vec<String>>,
    revert: Option<Vec<String>>,
    pending: Option<Vec<String>>,
}

impl Commands {
    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        let others = [&self.contract, &self.verify, &self.revert, &self.pending];
        std::iter::once(&self.expand).chain(others.into_iter().flatten())
    }
}

/// How a command ended, with the last that it printed.
struct Ended {
    status: i64,
    /// Standard output alone.
    printed: String,
    /// The last lines of both.
    tail: String,
}

impl ComposeMigrator {
    /// A migrator whose commands run in the image of this compose service.
    pub fn builder(runtime: &ComposeRuntime, service: impl Into<String>) -> ComposeMigratorBuilder {
        ComposeMigratorBuilder::new(runtime.clone(), service.into())
    }

    async fn run(&self, command: &[String], target: &Target) -> Result<Ended> {
        match self.when {
            When::AfterStart => exec::run(self, command, target).await,
            When::BeforeStart => once::run(self, command, target).await,
        }
    }

    /// Runs a command that must succeed; returns what it printed.
    async fn must(&self, what: &str, command: &[String], target: &Target) -> Result<String> {
        let naming = |error: Error| {
            let error = error.with_operation(format!("{what} {target} by `{}`", quote_all(command)));
            error.with("compose service", &self.service).with("engine", self.runtime.engine())
        };
        let ended = self.run(command, target).await.map_err(naming)?;
        if ended.status == 0 {
            return Ok(ended.printed);
        }
        let tail = if ended.tail.is_empty() { "it printed nothing".to_owned() } else { ended.tail };
        Err(naming(Error::new(ErrorKind::Unexpected, format!("exit status {}: {tail}", ended.status))))
    }
}

#[async_trait]
impl Migrator for ComposeMigrator {
    fn when(&self) -> When {
        self.when
    }

    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>> {
        let Some(command) = &self.commands.pending else { return Ok(None) };
        match self.must("list what is pending for", command, target).await {
            Ok(printed) => {
                let lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
                Ok(Some(lines.map(str::to_owned).collect()))
            }
            // Not prepared, or not started yet: there is nothing that could be asked.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        let command = match phase {
            Phase::Expand => &self.commands.expand,
            Phase::Contract => match &self.commands.contract {
                Some(command) => command,
                None => return Ok(()),
            },
        };
        self.must(&format!("{phase} the data for"), command, target).await?;
        match &self.commands.verify {
            // Whatever keeps the verify command from its work, the phase itself has run.
            Some(command) => {
                let verified = self.must("verify the migration for", command, target).await;
                verified.map(drop).map_err(Error::maybe_applied)
            }
            None => Ok(()),
        }
    }

    async fn revert(&self, target: &Target) -> Result<()> {
        match &self.commands.revert {
            Some(command) => self.must("revert the migration for", command, target).await.map(drop),
            None => Err(Error::new(ErrorKind::Unsupported, "there is no command to revert by")
                .with_operation(format!("revert by {self}"))
                .with_hint("give one with `.revert(..)`")),
        }
    }
}

impl fmt::Display for ComposeMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.when {
            When::AfterStart => "in the container of",
            When::BeforeStart => "in a container made like those of",
        };
        write!(f, "`{}` {place} {}", quote_all(&self.commands.expand), self.service)
    }
}

const LINES_IN_ERROR: usize = 20;

/// The last lines of what was printed.
fn tail_of(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES_IN_ERROR)..].join(" | ")
}
