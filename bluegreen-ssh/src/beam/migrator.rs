//! [`BeamMigrator`]: migrations by functions of the release itself.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Migrator, Output, Phase, Result, Target, When};

use super::{BeamRuntime, script};

/// Runs migrations by `bin/<app> eval`, in the release that is being deployed, before it is started.
///
/// The expression is evaluated in a system of its own that starts neither the application nor a node, with the
/// environment of the service: it disturbs nothing that runs. It is repeated after a cut-off, as Ecto's migrations can
/// be. It is in the server's list of processes while it runs: put no secret into it.
///
/// ```no_run
/// use bluegreen_ssh::{BeamMigrator, BeamRuntime, SshHost};
///
/// # fn example() -> bluegreen_core::Result<()> {
/// let host = SshHost::builder("deploy@web1.example.com").build()?;
/// let runtime = BeamRuntime::builder(host, "shop").directory("/srv/shop").build()?;
/// let migrator = BeamMigrator::builder(&runtime, "Shop.Release.migrate()")
///     .revert("Shop.Release.rollback(Shop.Repo, 20240101120000)")
///     .build();
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct BeamMigrator {
    runtime: BeamRuntime,
    expand: String,
    contract: Option<String>,
    revert: Option<String>,
    pending: Option<String>,
    timeout: Duration,
}

/// Makes a [`BeamMigrator`].
#[derive(Debug)]
#[must_use]
pub struct BeamMigratorBuilder(BeamMigrator);

impl BeamMigrator {
    /// A migrator for the releases of this runtime, whose expand phase is this expression: `Shop.Release.migrate()`.
    pub fn builder(runtime: &BeamRuntime, expand: impl Into<String>) -> BeamMigratorBuilder {
        BeamMigratorBuilder(Self {
            runtime: runtime.clone(),
            expand: expand.into(),
            contract: None,
            revert: None,
            pending: None,
            timeout: bluegreen_core::host::DEFAULT_TIMEOUT,
        })
    }

    async fn eval(&self, target: &Target, expression: &str) -> Result<Output> {
        let runtime = &self.runtime;
        let (host, slot) = (&*runtime.host, target.slot);
        runtime.claim(target).await?;
        let script = script::in_slot(&runtime.settings, slot, script::EVAL, Duration::ZERO)
            .args([target.version().to_string(), runtime.settings.port(slot).to_string(), runtime.node(slot)])
            .arg(expression)
            .timeout(self.timeout);
        let output = host.run(&script.command()).await?;
        match output.status {
            Some(0) => Ok(output),
            Some(script::NO_RELEASE) => {
                Err(Error::new(ErrorKind::NotFound, "the release is not prepared on the server")
                    .not_applied()
                    .with("host", host)
                    .with_hint("deploy this version again: a deploy prepares it"))
            }
            _ => Err(script::failed(host, &output).with("expression", expression)),
        }
    }
}

impl fmt::Display for BeamMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.expand, self.runtime.host)
    }
}

impl BeamMigratorBuilder {
    /// The expression that removes what only the old version needs. Default: none; there is nothing to contract.
    pub fn contract(mut self, expression: impl Into<String>) -> Self {
        self.0.contract = Some(expression.into());
        self
    }

    /// The expression that undoes the expand phase. Default: none; reverting is not supported.
    pub fn revert(mut self, expression: impl Into<String>) -> Self {
        self.0.revert = Some(expression.into());
        self
    }

    /// An expression that prints the names of pending migrations, one on a line, and nothing else. Default: none; what is
    /// pending is not known.
    pub fn pending(mut self, expression: impl Into<String>) -> Self {
        self.0.pending = Some(expression.into());
        self
    }

    /// How long an expression may take before it is ended. Default: 15 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }

    /// The migrator.
    pub fn build(self) -> BeamMigrator {
        self.0
    }
}

#[async_trait]
impl Migrator for BeamMigrator {
    fn when(&self) -> When {
        When::BeforeStart
    }

    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>> {
        let Some(expression) = &self.pending else { return Ok(None) };
        let about =
            |error: Error| error.not_applied().with_operation(format!("list the pending migrations of {target}"));
        let output = self.eval(target, expression).await.map_err(about)?;
        let text = output.text();
        Ok(Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()))
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        let expression = match phase {
            Phase::Expand => &self.expand,
            Phase::Contract => match &self.contract {
                Some(expression) => expression,
                None => return Ok(()),
            },
        };
        let done = self.eval(target, expression).await;
        done.map(drop).map_err(|error| error.with_operation(format!("migrate ({phase}) for {target}")))
    }

    async fn revert(&self, target: &Target) -> Result<()> {
        let about = |error: Error| error.with_operation(format!("revert the migrations of {target}"));
        match &self.revert {
            Some(expression) => self.eval(target, expression).await.map(drop).map_err(about),
            None => Err(about(
                Error::new(ErrorKind::Unsupported, "no expression that reverts is set")
                    .with_hint("BeamMigrator::revert_by sets one"),
            )),
        }
    }
}
