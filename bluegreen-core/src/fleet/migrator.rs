use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::member::Member;
use super::shared::{Shared, is_away};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::migrator::{Migrator, Phase, When};
use crate::types::Target;

/// Runs migrations once, on one member that takes part. Made by
/// [`Fleet::migrator`](super::Fleet::migrator).
///
/// When a member is out of reach before anything was done there, the next one is asked. After that, none is: the error is the
/// operation's, and a recovery or the next deploy runs the phase again.
#[derive(Debug)]
pub struct FleetMigrator {
    pub(super) shared: Arc<Shared>,
    pub(super) label: Option<String>,
}

impl FleetMigrator {
    fn candidates(&self) -> Result<Vec<usize>> {
        let is_meant = |member: &usize| {
            let Member { labels, migrator, .. } = &self.shared.members[*member];
            migrator.is_some() && self.label.as_ref().is_none_or(|label| labels.contains(label))
        };
        let candidates: Vec<_> = self.shared.roster.active().into_iter().filter(is_meant).collect();
        match (candidates.is_empty(), &self.label) {
            (false, _) => Ok(candidates),
            (true, Some(label)) => Err(Error::new(
                ErrorKind::NotFound,
                format!("no member with the label {label} takes part, so migrations cannot run"),
            )
            .not_applied()),
            (true, None) => Err(nobody()),
        }
    }
}

impl FleetMigrator {
    fn of(&self, member: usize) -> Result<Arc<dyn Migrator>> {
        self.shared.members[member].migrator.clone().ok_or_else(nobody)
    }

    fn first(&self) -> Option<&Arc<dyn Migrator>> {
        self.shared.members.iter().find_map(|member| member.migrator.as_ref())
    }
}

fn nobody() -> Error {
    Error::new(ErrorKind::NotFound, "no member that has a migrator takes part").not_applied()
}

impl fmt::Display for FleetMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first() {
            Some(migrator) => write!(f, "{migrator}, on one of {} members", self.shared.members.len()),
            None => f.write_str("no migrator"),
        }
    }
}

#[async_trait]
impl Migrator for FleetMigrator {
    fn when(&self) -> When {
        self.first().map_or(When::BeforeStart, |migrator| migrator.when())
    }

    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>> {
        let first = self.candidates()?.into_iter().next().ok_or_else(nobody)?;
        self.of(first)?.pending(target).await
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        let mut last = None;
        for member in self.candidates()? {
            match self.of(member)?.migrate(phase, target).await {
                Err(error) if is_away(&error) && error.effect() == Effect::NotApplied => last = Some(error),
                result => return result.map_err(|error| error.with("member", &self.shared.names[member])),
            }
        }
        Err(last.unwrap_or_else(nobody))
    }

    async fn revert(&self, target: &Target) -> Result<()> {
        let first = self.candidates()?.into_iter().next().ok_or_else(nobody)?;
        self.of(first)?.revert(target).await
    }
}
