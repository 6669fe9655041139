//! From `customers(id, name)` to `people(id, first_name, last_name)`, under traffic.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::{Error, ErrorKind, Migrator, Phase, Result, Target, When};
use rusqlite::{Connection, TransactionBehavior};

use super::stage::Stage;
use super::table::open;

/// Rows that are copied at once. Writers wait for that long and no longer.
const BATCH: i64 = 100;

/// Between two batches, so that those who wait get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the new table for 2.0, fills it for 3.0, and removes the old one for 4.0.
///
/// Each part is applied once, and only after the one before: what was made for a version is there when the next one comes.
/// Where 1.0 or 2.0 is deployed again, the copy is made again for the next 3.0.
/// Which version is live a migration cannot see: 3.0 is to be deployed while 2.0 is, since 1.0 writes past the copy.
#[derive(Debug, Clone)]
pub struct PeopleMigration {
    database: PathBuf,
}

/// The parts of expand, by which they are known in the table `migrations`.
const CREATE: &str = "create people";
const COPY: &str = "copy customers to people";

impl PeopleMigration {
    /// The migration of a database file.
    pub fn new(database: impl Into<PathBuf>) -> Self {
        Self { database: database.into() }
    }

    /// The database as 1.0 needs it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn first_tables(&self) -> Result<()> {
        self.write("make the first tables", |database| {
            database.execute_batch(
                "CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
                 CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY)",
            )
        })
        .await
    }

    async fn create(&self) -> Result<()> {
        self.write(CREATE, |database| {
            database.execute_batch(
                "CREATE TABLE IF NOT EXISTS people
                     (id INTEGER PRIMARY KEY, first_name TEXT NOT NULL, last_name TEXT NOT NULL)",
            )?;
            forget_copy(database)?;
            applied(database, CREATE)
        })
        .await
    }

    /// Whatever is in the new table already was written by 2.0, or by it before 1.0 had the traffic once more: the old
    /// table is what counts, row by row, while each writer still writes it.
    async fn copy(&self) -> Result<()> {
        let mut last = Some(i64::MIN);
        while let Some(after) = last {
            last = self
                .write(COPY, move |database| {
                    let batch = "SELECT id FROM customers WHERE id > ?1 ORDER BY id LIMIT ?2";
                    let end: Option<i64> =
                        database
                            .query_row(&format!("SELECT max(id) FROM ({batch})"), (after, BATCH), |row| row.get(0))?;
                    database.execute(
                        "INSERT OR REPLACE INTO people (id, first_name, last_name)
                         SELECT id, substr(name, 1, instr(name, ' ') - 1), substr(name, instr(name, ' ') + 1)
                         FROM customers WHERE id > ?1 AND id <= ?2",
                        (after, end),
                    )?;
                    if end.is_none() {
                        applied(database, COPY)?;
                    }
                    Ok(end)
                })
                .await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn drop_old(&self) -> Result<()> {
        self.write("drop customers", |database| database.execute_batch("DROP TABLE IF EXISTS customers")).await
    }

    async fn is_applied(&self, name: &'static str) -> Result<bool> {
        self.write("look what is applied", move |database| {
            database.query_row("SELECT count(*) FROM migrations WHERE name = ?1", [name], |row| row.get(0))
        })
        .await
    }

    /// One transaction, which is never left half done.
    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let file = self.database.clone();
        let work = move || {
            let mut database = open(&file)?;
            let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| {
            Error::new(ErrorKind::Unexpected, "it was cut off").with_operation(what).with_source(error)
        })?;
        done.map_err(|error: rusqlite::Error| {
            Error::new(ErrorKind::Unexpected, error.to_string())
                .with_operation(what)
                .with("database", self.database.display())
        })
    }
}

fn applied(database: &Connection, name: &str) -> rusqlite::Result<()> {
    database.execute("INSERT OR IGNORE INTO migrations (name) VALUES (?1)", [name]).map(drop)
}

/// 1.0 writes past a copy: what was copied for a 3.0 that did not stay is copied anew for the next one. Without the old
/// table there is nothing to copy.
fn forget_copy(database: &Connection) -> rusqlite::Result<()> {
    let old_table = "EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'customers')";
    database.execute(&format!("DELETE FROM migrations WHERE name = ?1 AND {old_table}"), [COPY]).map(drop)
}

fn too_early(target: &Target, what: &str, first: Stage) -> Error {
    Error::new(ErrorKind::Conflict, format!("{} needs {what}", target.version()))
        .not_applied()
        .with_hint(format!("deploy {first} first"))
}

impl fmt::Display for PeopleMigration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "customers to people in {}", self.database.display())
    }
}

#[async_trait]
impl Migrator for PeopleMigration {
    fn when(&self) -> When {
        When::BeforeStart
    }

    async fn pending(&self, target: &Target) -> Result<Option<Vec<String>>> {
        let stage = Stage::of(target.version())?;
        let mut pending = Vec::new();
        for (name, needed) in [(CREATE, stage.writes_new()), (COPY, stage.reads_new())] {
            if needed && !self.is_applied(name).await? {
                pending.push(name.to_owned());
            }
        }
        Ok(Some(pending))
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        match (phase, Stage::of(target.version())?) {
            (Phase::Expand, Stage::Old) => self.write("forget the copy", forget_copy).await,
            (Phase::Expand, Stage::WritesBoth) => self.create().await,
            (Phase::Expand, _) if self.is_applied(COPY).await? => Ok(()),
            // While a version writes the old table alone, a copy is never complete.
            (Phase::Expand, Stage::ReadsNew) if self.is_applied(CREATE).await? => self.copy().await,
            (Phase::Expand, Stage::ReadsNew) => {
                Err(too_early(target, "a version that writes both tables before it", Stage::WritesBoth))
            }
            (Phase::Expand, Stage::New) => {
                Err(too_early(target, "a version that reads the new table before it", Stage::ReadsNew))
            }
            (Phase::Contract, Stage::New) => self.drop_old().await,
            (Phase::Contract, _) => Err(too_early(target, "the old table: it writes there", Stage::New)),
        }
    }
}
