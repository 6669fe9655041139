//! [`CommandMigrator`]: migrations by commands of the release itself.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::host::quote_all;
use bluegreen_core::{Error, ErrorKind, Migrator, Output, Phase, Result, Target, When};

use crate::slots::{NO_RELEASE, Slots};

/// Runs migrations by commands in the release that is being deployed, in its directory and with its environment, as the user who
/// deploys.
///
/// Each command must be safe to repeat: one that was cut off is run again.
///
/// ```
/// use bluegreen_core::LocalHost;
/// use bluegreen_release::{CommandMigrator, SystemdRuntime};
///
/// let runtime = SystemdRuntime::builder(LocalHost::new(), "shop").user("deploy").build()?;
/// let migrator = CommandMigrator::builder(&runtime, ["bin/rails", "db:migrate"])
///     .pending(["bin/pending-migrations"])
///     .build();
/// assert_eq!(migrator.to_string(), "bin/rails db:migrate on this machine");
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CommandMigrator {
    slots: Slots,
    when: When,
    expand: Vec<String>,
    contract: Option<Vec<String>>,
    revert: Option<Vec<String>>,
    pending: Option<Vec<String>>,
    timeout: Duration,
}

/// A runtime whose releases are directories in which commands can be run:
/// [`SystemdRuntime`](crate::SystemdRuntime) and [`DetachedRuntime`](crate::DetachedRuntime).
pub trait CommandsInReleases: sealed::HasSlots {}

impl<R: sealed::HasSlots> CommandsInReleases for R {}

pub(crate) mod sealed {
    pub trait HasSlots {
        fn slots(&self) -> &crate::slots::Slots;
    }
}

/// Makes a [`CommandMigrator`].
#[derive(Debug)]
#[must_use]
pub struct CommandMigratorBuilder(CommandMigrator);

impl CommandMigrator {
    /// A migrator for the releases of this runtime, whose expand phase is this command: `["bin/rails", "db:migrate"]`.
    pub fn builder<W: Into<String>>(
        runtime: &impl CommandsInReleases,
        expand: impl IntoIterator<Item = W>,
    ) -> CommandMigratorBuilder {
        CommandMigratorBuilder(Self {
            slots: runtime.slots().clone(),
            when: When::BeforeStart,
            expand: words(expand),
            contract: None,
            revert: None,
            pending: None,
            timeout: bluegreen_core::host::DEFAULT_TIMEOUT,
        })
    }

    async fn run(&self, target: &Target, words: &[String]) -> Result<Output> {
        let host = &*self.slots.host;
        self.slots.claim(target).await?;
        let command = self.slots.exec(target.slot, Some(target.version())).args(words).timeout(self.timeout);
        let output = host.run(&command).await?;
        match output.status {
            Some(NO_RELEASE) => Err(Error::new(ErrorKind::NotFound, "the release is not prepared on the server")
                .not_applied()
                .with("host", host)
                .with_hint("deploy this version again: a deploy prepares it")),
            _ => output.ok(&command.called(quote_all(words)), host),
        }
    }
}

impl CommandMigratorBuilder {
    /// When the expand phase runs. Default: before the new release is started.
    pub fn when(mut self, when: When) -> Self {
        self.0.when = when;
        self
    }

    /// The command that removes what only the old version needs. Default: none; there is nothing to contract.
    pub fn contract<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.0.contract = Some(words(command));
        self
    }

    /// The command that undoes the expand phase. Default: none; reverting is not supported.
    pub fn revert<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.0.revert = Some(words(command));
        self
    }

    /// A command that prints the names of pending migrations, one on a line, and nothing else. Default: none; what is pending is
    /// not known.
    pub fn pending<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.0.pending = Some(words(command));
        self
    }

    /// How long a command may take before it is ended. Default: 15 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }

    /// The migrator.
    pub fn build(self) -> CommandMigrator {
        self.0
    }
}

fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Vec<String> {
    words.into_iter().map(Into::into).collect()
}

impl fmt::Display for CommandMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", quote_all(&self.expand), self.slots.host)
    }
}

#[async_trait]
impl Migrator for CommandMigrator {
    fn when(&self) -> When {
        self.when
    }

    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>> {
        let Some(command) = &self.pending else { return Ok(None) };
        let about =
            |error: Error| error.not_applied().with_operation(format!("list the pending migrations of {target}"));
        let text = self.run(target, command).await.map_err(about)?.text();
        Ok(Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()))
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        let command = match (phase, &self.contract) {
            (Phase::Expand, _) => &self.expand,
            (Phase::Contract, Some(command)) => command,
            (Phase::Contract, None) => return Ok(()),
        };
        let done = self.run(target, command).await;
        done.map(drop).map_err(|error| error.with_operation(format!("migrate ({phase}) for {target}")))
    }

    async fn revert(&self, target: &Target) -> Result<()> {
        let about = |error: Error| error.with_operation(format!("revert the migrations of {target}"));
        match &self.revert {
            Some(command) => self.run(target, command).await.map(drop).map_err(about),
            None => Err(about(
                Error::new(ErrorKind::Unsupported, "no command that reverts is set")
                    .with_hint("CommandMigratorBuilder::revert sets one"),
            )),
        }
    }
}
