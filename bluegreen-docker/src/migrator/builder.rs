//! How a [`ComposeMigrator`] is made.

use std::time::Duration;

use bluegreen_core::{Error, Result, When};

use super::{Commands, ComposeMigrator};
use crate::runtime::ComposeRuntime;

/// How long one command may take: as long as any command of a host, 15 minutes.
pub const DEFAULT_MIGRATION_TIMEOUT: Duration = bluegreen_core::host::DEFAULT_TIMEOUT;

/// Configures a [`ComposeMigrator`]. A command is given as its words; no shell is involved unless it is `sh`.
#[derive(Debug)]
#[must_use]
pub struct ComposeMigratorBuilder {
    runtime: ComposeRuntime,
    service: String,
    when: When,
    commands: Commands,
    timeout: Duration,
}

impl ComposeMigratorBuilder {
    pub(super) fn new(runtime: ComposeRuntime, service: String) -> Self {
        let (when, timeout) = (When::BeforeStart, DEFAULT_MIGRATION_TIMEOUT);
        Self { runtime, service, when, commands: Commands::default(), timeout }
    }

    /// Where and when the commands run. Default: [`When::BeforeStart`].
    ///
    /// - [`When::BeforeStart`]: each command in a container of its own, made like those of the service and removed
    ///   afterwards, before the new release is started. The services that it depends on are not started for it.
    /// - [`When::AfterStart`]: in the running container of the service, after the new release is healthy.
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// The command that adds what the new version needs. The old version must be able to live with what it does.
    pub fn expand<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.commands.expand = words(command);
        self
    }

    /// The command that removes what only the old version needs. Without it, there is nothing to contract.
    pub fn contract<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.commands.contract = Some(words(command));
        self
    }

    /// A command that must succeed after each phase.
    pub fn verify<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.commands.verify = Some(words(command));
        self
    }

    /// The command that undoes expand. Without it, the migrator cannot revert.
    pub fn revert<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.commands.revert = Some(words(command));
        self
    }

    /// A command that prints the names of what expand would apply, one on each line, and applies none. Without it, what
    /// is pending cannot be told.
    pub fn pending<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.commands.pending = Some(words(command));
        self
    }

    /// How long one command may take. Default: 15 minutes ([`DEFAULT_MIGRATION_TIMEOUT`]). One that takes longer is an
    /// error. The migrator does not end it, since nobody can tell what that would leave: it goes on for as long as its container
    /// does, and the next call waits for it. See [`ComposeMigrator`] for how long that is.
    ///
    /// The pipeline's own `migrate_timeout` bounds a whole phase.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks the settings and makes the migrator.
    ///
    /// # Errors
    /// `Config` when a command has no words.
    pub fn build(self) -> Result<ComposeMigrator> {
        if self.commands.all().any(Vec::is_empty) {
            return Err(
                Error::config("a command of a migration has no words").with_hint("give at least `.expand([..])`")
            );
        }
        let Self { runtime, service, when, commands, timeout } = self;
        Ok(ComposeMigrator { runtime, service, when, commands, timeout })
    }
}

fn words<W: Into<String>>(command: impl IntoIterator<Item = W>) -> Vec<String> {
    command.into_iter().map(Into::into).collect()
}
