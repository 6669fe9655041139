use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

use super::memory::target;
use crate::durable;
use crate::error::Result;
use crate::migrator::{Migrator, Phase, When};
use crate::testing::conformance::{self, MigratorFixture};
use crate::types::{Slot, Target};

/// Migrates a file that lists columns, one step at a time.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    file: PathBuf,
    fault: Fault,
}

/// What is broken about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    CountsRepeats,
    RemovesTooEarly,
    TakesHalfForDone,
    PendingMigrates,
}

impl Columns {
    fn read(&self) -> BTreeSet<String> {
        std::fs::read_to_string(&self.file).unwrap().lines().map(str::to_owned).collect()
    }

    fn write(&self, columns: &BTreeSet<String>) -> Result<()> {
        let text: String = columns.iter().map(|column| format!("{column}\n")).collect();
        durable::replace(&self.file, text.as_bytes(), 0o600)
    }

    async fn add(&self, column: &str) -> Result<()> {
        let mut columns = self.read();
        columns.insert(column.to_owned());
        self.write(&columns)?;
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn remove(&self, column: &str) -> Result<()> {
        let mut columns = self.read();
        columns.remove(column);
        self.write(&columns)?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("columns in a file")
    }
}

#[async_trait]
impl Migrator for Columns {
    fn when(&self) -> When {
        When::BeforeStart
    }

    async fn pending(&self, _: &Target) -> Result<Option<Vec<String>>> {
        if self.fault == Fault::PendingMigrates {
            self.add("first_name").await?;
        }
        let have = self.read();
        Ok(Some(["first_name", "last_name"].into_iter().filter(|name| !have.contains(*name)).map(Into::into).collect()))
    }

    async fn migrate(&self, phase: Phase, _: &Target) -> Result<()> {
        match phase {
            Phase::Expand if self.fault == Fault::TakesHalfForDone && self.read().contains("first_name") => Ok(()),
            Phase::Expand => {
                self.add("first_name").await?;
                if self.fault == Fault::CountsRepeats {
                    self.add(&format!("run_{}", self.read().len())).await?;
                }
                if self.fault == Fault::RemovesTooEarly {
                    self.remove("name").await?;
                }
                self.add("last_name").await
            }
            Phase::Contract => self.remove("name").await,
        }
    }
}

struct Table {
    directory: tempfile::TempDir,
    fault: Fault,
}

impl Table {
    fn new(fault: Fault) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), fault }
    }

    fn columns(&self) -> Columns {
        Columns { file: self.directory.path().join("columns"), fault: self.fault }
    }
}

#[async_trait]
impl MigratorFixture for Table {
    type Migrator = Columns;

    async fn open(&self) -> Columns {
        self.columns()
    }

    fn target(&self) -> Target {
        target(Slot::Green, "2")
    }

    async fn reset(&self) {
        std::fs::write(self.columns().file, "name\n").unwrap();
    }

    async fn data(&self) -> String {
        std::fs::read_to_string(self.columns().file).unwrap()
    }

    async fn old_version_works(&self) -> bool {
        self.columns().read().contains("name")
    }

    async fn is_expanded(&self) -> bool {
        let columns = self.columns().read();
        columns.contains("first_name") && columns.contains("last_name")
    }

    async fn is_contracted(&self) -> bool {
        !self.columns().read().contains("name")
    }
}

#[tokio::test]
async fn a_migrator_of_small_repeatable_steps_keeps_the_contract() {
    conformance::migrator(&Table::new(Fault::None)).await;
}

#[tokio::test]
#[should_panic(expected = "repeating expand when it is complete changes nothing")]
async fn a_migrator_that_is_not_repeatable_is_noticed() {
    conformance::migrator(&Table::new(Fault::CountsRepeats)).await;
}

#[tokio::test]
#[should_panic(expected = "the old one lives with it")]
async fn a_migrator_that_breaks_the_old_version_is_noticed() {
    conformance::migrator(&Table::new(Fault::RemovesTooEarly)).await;
}

#[tokio::test]
#[should_panic(expected = "an expand that was cut off is completed by the next call")]
async fn a_migrator_that_takes_half_for_done_is_noticed() {
    conformance::migrator(&Table::new(Fault::TakesHalfForDone)).await;
}

#[tokio::test]
#[should_panic(expected = "pending names the migrations that expand would apply, and applies none")]
async fn a_migrator_that_migrates_when_asked_what_is_pending_is_noticed() {
    conformance::migrator(&Table::new(Fault::PendingMigrates)).await;
}
