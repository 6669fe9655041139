use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::migrator::{Migrator, Phase, When};
use crate::testing::CallLog;
use crate::types::Target;

/// A migrator that migrates nothing, and records each phase in a [`CallLog`] as `migrate expand 2.0`.
#[derive(Debug, Clone)]
pub struct RecordingMigrator {
    when: When,
    log: CallLog,
    pending: Option<Vec<String>>,
}

impl RecordingMigrator {
    /// Records into `log`.
    pub fn new(when: When, log: &CallLog) -> Self {
        Self { when, log: log.clone(), pending: None }
    }

    /// Says which migrations are pending; unless said, it cannot tell.
    #[must_use]
    pub fn pending_are(mut self, names: &[&str]) -> Self {
        self.pending = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }
}

impl fmt::Display for RecordingMigrator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("recording migrator")
    }
}

#[async_trait]
impl Migrator for RecordingMigrator {
    fn when(&self) -> When {
        self.when
    }

    async fn pending(&self, _target: &Target) -> Result<Option<Vec<String>>> {
        Ok(self.pending.clone())
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        self.log.record(format!("migrate {phase} {}", target.version()));
        Ok(())
    }

    async fn revert(&self, target: &Target) -> Result<()> {
        self.log.record(format!("revert {}", target.version()));
        Ok(())
    }
}
