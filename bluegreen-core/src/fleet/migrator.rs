use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::shared::{Shared, is_away};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::migrator::{Migrator, Phase, When};
use crate::types::Target;

/// Runs migrations once, on one member that takes part. Made by [`Fleet::migrator`](super::Fleet::migrator).
///
/// When a member is out of reach before anything was done there, the next one is asked. After that, none is: the error is the
/// operation's, and a recovery or the next deploy runs the phase again.
#[derive(Debug)]
pub struct FleetMigrator {
    pub(super) shared: Arc<Shared>,
    pub(super) label: Option<String>,
    pub(super) migrators: Vec<Arc<dyn Migrator>>,
}

impl FleetMigrator {
    fn candidates(&self) -> Result<Vec<usize>> {
        let labelled = |member: &usize| match &self.label {
            Some(label) => self.shared.members[*member].labels.contains(label),
            None => true,
        };
        let candidates: Vec<_> = self.shared.roster.active().into_iter().filter(labelled).collect();
        match (candidates.is_empty(), &self.label) {
            (false, _) => Ok(candidates),
            (true, Some(label)) => Err(Error::new(
                ErrorKind::NotFound,
                format!("no member with the label {label} takes part, so migrations cannot run"),
            )
            .not_applied()),
            (true, None) => Err(Error::new(ErrorKind::NotFound, "no member takes part").not_applied()),
        }
    }
}

impl fmt::Display for FleetMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.migrators.first() {
            Some(migrator) => write!(f, "{migrator}, on one of {} members", self.migrators.len()),
            None => f.write_str("no migrator"),
        }
    }
}

#[async_trait]
impl Migrator for FleetMigrator {
    fn when(&self) -> When {
        self.migrators.first().map_or(When::BeforeStart, |migrator| migrator.when())
    }

    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>> {
        let first = self.candidates()?.into_iter().next();
        match first {
            Some(member) => self.migrators[member].pending(target).await,
            None => Ok(None),
        }
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        let mut last = None;
        for member in self.candidates()? {
            match self.migrators[member].migrate(phase, target).await {
                Err(error) if is_away(&error) && error.effect() == Effect::NotApplied => last = Some(error),
                result => return result.map_err(|error| error.with("member", &self.shared.names[member])),
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "no member takes part").not_applied()))
    }

    async fn revert(&self, target: &Target) -> Result<()> {
        match self.candidates()?.first() {
            Some(member) => self.migrators[*member].revert(target).await,
            None => Ok(()),
        }
    }
}
